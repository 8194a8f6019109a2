"""From the signer of a time stamp to a root somebody trusts, valid at that time.

Chains of images come in order and whole; those of time stamps have to be found. What
is found must meet the profile for time stamping, and nothing in it may be a rule that
is not applied here (RFC 5280, as far as it can matter to a TSA).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from enforcer.core.certificate import ChainError, parse_certificate
from enforcer.core.identity import subject_text
from enforcer.core.x509chain import Chain, not_valid_at, verify_timestamping_profile

MAX_STEPS = 64  # chains looked at; a real token has one to find, of 2 to 4
MAX_SHOWN = 3  # roots named in a message

_UNDERSTOOD = (
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.CERTIFICATE_POLICIES,  # any will do; none is asked for
)
# They limit whom a CA may vouch for, critical or not. No public TSA's chain has one.
_NOT_APPLIED = (x509.NameConstraints, x509.PolicyConstraints, x509.InhibitAnyPolicy)
_TIME_STAMPS = {
    ExtendedKeyUsageOID.TIME_STAMPING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


def find_tsa_chain(
    signer: bytes,
    carried: Sequence[bytes],
    roots: Sequence[bytes],
    times: Sequence[datetime],
) -> Chain:
    """Return a chain from `signer` over carried certificates to one of the roots.

    It meets the profile (X15), and all of it is valid at each of `times`.

    Raises:
        ChainError: There is none, or the first one found breaks this rule.
    """
    known = {
        der: parse_certificate(der, what=what)
        for what, ders in (
            ("a root trusted for time stamps", roots),
            ("a certificate in the countersignature", (*carried, signer)),
        )
        for der in ders
    }
    problem = None
    for path in _paths(signer, tuple(carried), tuple(roots), known):
        chain = Chain(tuple(known[der] for der in path), path)
        try:
            _require_usable(chain, times)
        except ChainError as error:
            problem = problem or error
        else:
            return chain
    raise problem or ChainError(
        f'signed by "{subject_text(known[signer].subject)}", which chains to none of '
        f"the roots trusted for time stamps ({_named(roots, known)})"
    )


def _paths(
    signer: bytes,
    carried: tuple[bytes, ...],
    roots: tuple[bytes, ...],
    known: Mapping[bytes, x509.Certificate],
) -> Iterator[tuple[bytes, ...]]:
    """Yield what may be chains going by names alone, the shortest first."""
    waiting: list[tuple[bytes, ...]] = [(signer,)]
    for step in range(MAX_STEPS):
        if step >= len(waiting):
            return
        path = waiting[step]
        issuer = known[path[-1]].issuer
        for der in dict.fromkeys((*roots, *carried)):
            if known[der].subject != issuer or der in path:
                continue
            if der in roots:
                yield (*path, der)
            else:
                waiting.append((*path, der))


def _require_usable(chain: Chain, times: Sequence[datetime]) -> None:
    verify_timestamping_profile(chain)
    for number, certificate in enumerate(chain.certificates, start=1):
        _require_understood(certificate, f"certificate #{number}")
    for number, ca in enumerate(chain.certificates[1:], start=2):
        _require_purpose(ca, f"certificate #{number}")
    for at in times:
        problem = not_valid_at(chain, at)
        if problem is not None:
            raise ChainError(problem)


def _require_understood(certificate: x509.Certificate, what: str) -> None:
    for extension in certificate.extensions:
        oid = extension.oid
        critical = extension.critical and oid not in _UNDERSTOOD
        if critical or isinstance(extension.value, _NOT_APPLIED):
            raise ChainError(
                f"{what} has the extension {oid.dotted_string}, which is not "
                "understood here"
            )


def _require_purpose(ca: x509.Certificate, what: str) -> None:
    """A CA that names purposes may only vouch for these (as Go, under notation)."""
    try:
        found = ca.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return
    if _TIME_STAMPS.isdisjoint(found.value):
        raise ChainError(f"{what} is a CA's that is not for time stamping")


def _named(roots: Sequence[bytes], known: Mapping[bytes, x509.Certificate]) -> str:
    shown = [f'"{subject_text(known[der].subject)}"' for der in roots[:MAX_SHOWN]]
    more = len(roots) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])]) or "none"
