"""CMS SignedData (RFC 5652) of the one kind that is a time stamp token (RFC 3161).

Reads the token and checks nothing; `core.cms_signature` says whether its signer signed
it. What a countersignature does not need is refused unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from enforcer.core.der import (
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    DerError,
    Element,
    Fields,
    encode,
    read_one,
    require_nesting,
)

MAX_CERTIFICATES = 16  # real tokens carry 1 to 4

WHAT = "the countersignature"  # for messages

TST_INFO = "1.2.840.113549.1.9.16.1.4"
_SIGNED_DATA = "1.2.840.113549.1.7.2"

# H5, H6: SHA-1 nowhere
HASH_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_HASH_NAMES = {oid: name for name, oid in HASH_OIDS.items()}

_CONTEXT_0 = 0xA0
_CONTEXT_1 = 0xA1


@dataclass(frozen=True, slots=True)
class SignedData:
    """A token's parts. Well-formed, and nothing more: no signature was checked.

    `signed` is what the signature is over, `attributes` the one value of each signed
    attribute in it; `issuer` and `serial` name the signer's certificate.
    """

    content: bytes
    certificates: tuple[bytes, ...]
    issuer: bytes
    serial: int
    digest_algorithm: str
    signature_algorithm: str
    signature: bytes
    signed: bytes
    attributes: Mapping[str, bytes]


def parse_signed_data(raw: bytes) -> SignedData:
    """Read a token, BER or DER, to its last byte.

    Raises:
        DerError: Not SignedData version 3 around a TSTInfo, signed by exactly one.
    """
    require_nesting(raw, what=WHAT)
    info = read_one(raw, tag=SEQUENCE, what=WHAT, ber=True)
    if info.oid("content type") != _SIGNED_DATA:
        raise DerError(f"{WHAT} is not CMS SignedData")
    explicit = info.inside(_CONTEXT_0, "content")
    info.end()
    fields = explicit.inside(SEQUENCE, "SignedData")
    explicit.end()
    _require_version(fields, 3)
    digests = fields.inside(SET, "digestAlgorithms")
    for _ in range(len(digests)):  # a hint, and the SignerInfo's is what counts
        _algorithm(digests, "digestAlgorithm")
    content = _content(fields)
    certificates = _certificates(fields)
    if fields.take_if(_CONTEXT_1) is not None:
        raise DerError(f"{WHAT} carries revocation lists, which are not read")
    signers = fields.inside(SET, "signerInfos")
    fields.end()
    if len(signers) != 1:
        # RFC 3161 2.4.2: no signatures other than the TSA's (facts 2.1.7)
        raise DerError(f"{WHAT} has {len(signers)} signers, expected one")
    return _signed_data(signers.inside(SEQUENCE, "SignerInfo"), content, certificates)


def hash_name(algorithm: bytes, *, what: str) -> str:
    """Return the hash an AlgorithmIdentifier's contents name: sha256, 384 or 512.

    Raises:
        DerError: Any other; SHA-1 never is allowed.
    """
    fields = Fields(algorithm, what=what, ber=True)
    found = fields.oid("hash algorithm")
    parameters = fields.take_if(NULL)  # RFC 5754 2: absent, or NULL
    fields.end()
    if found not in _HASH_NAMES or (parameters and parameters.contents):
        raise DerError(
            f"{what} uses hash algorithm {found}, expected SHA-256, SHA-384 or SHA-512"
        )
    return _HASH_NAMES[found]


def _content(fields: Fields) -> bytes:
    """Return the encapsulated TSTInfo."""
    wrapper = fields.inside(SEQUENCE, "encapContentInfo")
    type_ = wrapper.oid("content type")
    if type_ != TST_INFO:
        raise DerError(f"{WHAT} is about content of type {type_}, expected TSTInfo")
    explicit = wrapper.inside(_CONTEXT_0, "content")
    wrapper.end()
    content = explicit.take(OCTET_STRING, "octets").contents
    explicit.end()
    return content


def _certificates(fields: Fields) -> tuple[bytes, ...]:
    # H8: the request says certReq, so there is at least the signer's
    found = fields.inside(_CONTEXT_0, "certificates").rest()
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise DerError(
            f"{WHAT} carries {len(found)} certificates, expected 1 to "
            f"{MAX_CERTIFICATES}"
        )
    if any(element.tag != SEQUENCE for element in found):
        raise DerError(f"{WHAT} carries something else than X.509 certificates")
    return tuple(element.raw for element in found)


def _signed_data(
    info: Fields, content: bytes, certificates: tuple[bytes, ...]
) -> SignedData:
    _require_version(info, 1)  # H4: the signer is named by issuer and serial number
    sid = info.inside(SEQUENCE, "issuerAndSerialNumber")
    issuer, serial = sid.take(SEQUENCE, "issuer").raw, sid.integer("serial number")
    sid.end()
    digest = hash_name(info.take(SEQUENCE, "digestAlgorithm").contents, what=WHAT)
    attributes = info.take(_CONTEXT_0, "signed attributes").contents
    # Parameters are not looked at: for each algorithm only one set is ever tried.
    algorithm = _algorithm(info, "signatureAlgorithm")
    signature = info.take(OCTET_STRING, "signature").contents
    unsigned = info.take_if(_CONTEXT_1)  # nobody vouches for what they say
    what = f"{WHAT}'s unsigned attributes"
    extra = b"" if unsigned is None else unsigned.contents
    for element in Fields(extra, what=what, ber=True).rest():
        _attribute(element, what=what, ber=True)
    info.end()
    return SignedData(
        content=content,
        certificates=certificates,
        issuer=issuer,
        serial=serial,
        digest_algorithm=digest,
        signature_algorithm=algorithm,
        signature=signature,
        # RFC 5652 5.4: signed is the SET, though it is sent under another tag. Its
        # contents stay as they came.
        signed=encode(SET, attributes),
        attributes=_attributes(attributes),
    )


def _attributes(contents: bytes) -> Mapping[str, bytes]:
    """Return the contents of each attribute's value set, by type."""
    what = f"{WHAT}'s signed attributes"
    listed = Fields(contents, what=what).rest()
    raws = [element.raw for element in listed]
    if raws != sorted(raws):
        # RFC 5652 5.3: DER, even if the rest is BER. What is signed is the sorted set
        # to some readers (Go) and the sent one to others (OpenSSL).
        raise DerError(f"{what} are not in the order DER asks for")
    found: dict[str, bytes] = {}
    for element in listed:
        type_, values = _attribute(element, what=what)
        if type_ in found:
            raise DerError(f"{what} have {type_} twice")
        found[type_] = values
    return MappingProxyType(found)


def _attribute(element: Element, *, what: str, ber: bool = False) -> tuple[str, bytes]:
    attribute = read_one(element.raw, tag=SEQUENCE, what=what, ber=ber)
    type_ = attribute.oid("type")
    values = attribute.take(SET, "values").contents
    attribute.end()
    return type_, values


def _algorithm(fields: Fields, name: str) -> str:
    """Return the identifier of an algorithm; its parameters may be any one thing."""
    algorithm = fields.inside(SEQUENCE, name)
    found = algorithm.oid("algorithm")
    if len(algorithm) > 1:
        raise DerError(f"{algorithm.what} has more than parameters")
    return found


def _require_version(fields: Fields, expected: int) -> None:
    found = fields.integer("version")
    if found != expected:
        raise DerError(f"{fields.what} has version {found}, expected {expected}")
