"""What RFC 5280 forbids of any certificate, and Go, under notation, does not read.

The X.509 library reads these all the same. A certificate that one of two readers
refuses is refused here, so that no chain passes that notation denies (law 9).
"""

import re
from collections.abc import Iterable

from cryptography import x509

from enforcer.core.der import SEQUENCE, SET, Element, read_one
from enforcer.core.errors import clip

# RFC 5280 4.2.1.1, 4.2.1.2, 4.2.2.1: "MUST mark this extension as non-critical"
_NEVER_CRITICAL = (
    x509.AuthorityKeyIdentifier,
    x509.SubjectKeyIdentifier,
    x509.AuthorityInformationAccess,
)

# X.680 41, by tag. RFC 5280 4.1.2.4 has some of them, certificates have all.
_ANYTHING, _NOTHING = re.compile(r".*", re.DOTALL), re.compile(r"(?!)")
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?*&-]*")
_TEXTS = {
    0x0C: ("utf-8", _ANYTHING),
    0x12: ("ascii", re.compile(r"[0-9 ]*")),
    0x13: ("ascii", _PRINTABLE),
    0x14: ("ascii", _PRINTABLE),  # T.61 has letters of its own elsewhere
    0x16: ("ascii", _ANYTHING),
    0x1E: ("utf-16-be", _ANYTHING),
}

_POLICY_MAPPINGS = x509.ObjectIdentifier("2.5.29.33")

_HOST = r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*"
# RFC 3986, without the user names, ports and literal addresses Go is particular about
_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:(?://(?:{_HOST})?(?=[/?#]|\Z)|(?!//))"
    r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#-]|%[0-9A-Fa-f]{2})*"
)
_DOMAIN = re.compile(rf"(?:\.?{_HOST})?")
_MAILBOX = re.compile(rf"(?:[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+@{_HOST}|\.?{_HOST})?")
_CONSTRAINED = (x509.RFC822Name, x509.DNSName, x509.UniformResourceIdentifier)


def form_problem(certificate: x509.Certificate) -> str | None:
    """Say what about a certificate's form is not allowed, or None.

    Raises:
        DerError: An extension that the X.509 library passes over cannot be read.
    """
    if certificate.version is not x509.Version.v3:
        # 4.1.2.1: "When extensions are used ... version MUST be 3", and every
        # certificate allowed here has some
        return "is not of version 3"
    if certificate.serial_number < 0:  # 4.1.2.2: "MUST be a positive integer"
        return "has a negative serial number"
    for name in (certificate.subject, certificate.issuer):
        if not _is_text(name):
            return "has a name with something else than text"
    for extension in certificate.extensions:
        value = extension.value
        if extension.critical and isinstance(value, _NEVER_CRITICAL):
            return f"has a critical {type(value).__name__}"
        problem = _content_problem(value)
        if problem is not None:
            return problem
    return None


def _content_problem(value: x509.ExtensionType) -> str | None:
    if isinstance(value, x509.CertificatePolicies):
        # 4.2.1.4: "A certificate policy OID MUST NOT appear more than once"
        named = [information.policy_identifier for information in value]
        return "names a policy twice" if len(set(named)) != len(named) else None
    if isinstance(value, x509.SubjectAlternativeName):
        return _names_problem(value)
    if isinstance(value, x509.NameConstraints):
        both = (*(value.permitted_subtrees or ()), *(value.excluded_subtrees or ()))
        return _constraints_problem(both)
    if isinstance(value, x509.UnrecognizedExtension) and value.oid == _POLICY_MAPPINGS:
        _parse_policy_mappings(value.value)
    return None


def _is_text(name: x509.Name) -> bool:
    relative_names = read_one(name.public_bytes(), tag=SEQUENCE, what="a name")
    while len(relative_names):
        attributes = relative_names.inside(SET, "relative name")
        while len(attributes):
            attribute = attributes.inside(SEQUENCE, "attribute")
            attribute.oid("type")
            values = attribute.rest()
            if len(values) != 1 or not _reads_as_text(values[0]):
                return False
    return True


def _reads_as_text(element: Element) -> bool:
    encoding, pattern = _TEXTS.get(element.tag, ("ascii", _NOTHING))
    try:
        return bool(pattern.fullmatch(element.contents.decode(encoding)))
    except UnicodeDecodeError:
        return False


def _parse_policy_mappings(raw: bytes) -> None:
    # 4.2.1.5: SEQUENCE SIZE (1..MAX) OF SEQUENCE { two object identifiers }
    what = "the policy mappings extension"
    mappings = read_one(raw, tag=SEQUENCE, what=what)
    while True:
        mapping = mappings.inside(SEQUENCE, "mapping")
        mapping.oid("issuer's policy")
        mapping.oid("subject's policy")
        mapping.end()
        if not len(mappings):
            return


def _names_problem(names: Iterable[x509.GeneralName]) -> str | None:
    for name in names:
        is_uri = isinstance(name, x509.UniformResourceIdentifier)
        if is_uri and not _URI.fullmatch(name.value):
            return f'has the alternative name "{clip(name.value)}", which is no URI'
    return None


def _constraints_problem(names: Iterable[x509.GeneralName]) -> str | None:
    for name in names:
        if not isinstance(name, _CONSTRAINED):
            continue
        pattern = _MAILBOX if isinstance(name, x509.RFC822Name) else _DOMAIN
        if not pattern.fullmatch(name.value):
            return f'has the name constraint "{clip(name.value)}", which is no domain'
    return None
