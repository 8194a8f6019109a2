"""Who signed a time stamp token, and whether they did (RFC 5652, RFC 5035).

Knows nothing of chains and trust: it finds the signer's certificate in the token, and
verifies that this certificate's key signed the token's content.
"""

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from enforcer.core.certificate import ChainError, as_chain_error
from enforcer.core.cms import TST_INFO, WHAT, SignedData, hash_name
from enforcer.core.der import (
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    UTC_TIME,
    DerError,
    Fields,
    encode_oid,
    parse_integer,
    parse_time,
    read_one,
)

_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_TIME = "1.2.840.113549.1.9.5"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_RSA = "1.2.840.113549.1.1.1"  # PKCS #1 v1.5 with the digest algorithm's hash
_RSA_PSS = "1.2.840.113549.1.1.10"
_RSA_WITH = {
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_ECDSA_WITH = {
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}

_VERSION = 0xA0
_DIRECTORY_NAME = 0xA4


def signing_certificate(signed: SignedData) -> bytes:
    """Return the one certificate the token says it was signed with, by two names.

    H7: the SignerInfo's issuer and serial number, and the hash in the attribute
    signing-certificate-v2 (RFC 5816, RFC 5035), whose first entry counts.

    Raises:
        DerError: There is none, or the names do not agree.
    """
    attribute = _attribute(signed, _SIGNING_CERTIFICATE_V2, "signing-certificate-v2")
    what = f"{WHAT}'s signing-certificate-v2"
    entries = read_one(attribute, tag=SEQUENCE, what=what).inside(SEQUENCE, "certs")
    entry = entries.inside(SEQUENCE, "first entry")
    algorithm = entry.take_if(SEQUENCE)
    name = "sha256" if algorithm is None else hash_name(algorithm.contents, what=what)
    expected = entry.take(OCTET_STRING, "hash").contents
    if len(entry):
        _require_issuer_serial(entry.inside(SEQUENCE, "issuerSerial"), signed)
    entry.end()
    for der in signed.certificates:
        if _issuer_and_serial(der) == (signed.issuer, signed.serial):
            if hashlib.new(name, der).digest() != expected:
                raise DerError(f"{what} has another hash than the TSA's certificate")
            return der
    raise DerError(
        f"{WHAT} does not carry the TSA's certificate (serial number {signed.serial})"
    )


def verify_signed_data(signed: SignedData, signer: x509.Certificate) -> None:
    """Return if the signer's key signed this content (RFC 5652 5.4, 5.6).

    Raises:
        DerError: An attribute is missing or not about this content, or the signature
            does not verify, or its algorithm is not allowed.
    """
    content_type = _attribute(signed, _CONTENT_TYPE, "content-type")
    if content_type != encode_oid(TST_INFO):
        raise DerError(f"{WHAT}'s attribute content-type is not TSTInfo")
    digest = _attribute(signed, _MESSAGE_DIGEST, "message-digest")
    actual = hashlib.new(signed.digest_algorithm, signed.content).digest()
    if _only(digest, OCTET_STRING, "message-digest") != actual:
        raise DerError(f"{WHAT}'s message-digest is not that of its content")
    try:
        with as_chain_error(WHAT):
            _verify_signature(signed, signer.public_key())
    except ChainError as error:
        raise DerError(error.what) from error


def signing_time(signed: SignedData) -> datetime | None:
    """Return the time in the signed attributes, which a token need not have."""
    value = signed.attributes.get(_SIGNING_TIME)
    if value is None:
        return None
    what = f"{WHAT}'s signing-time"
    fields = Fields(value, what=what)
    utc = fields.take_if(UTC_TIME)
    found = utc or fields.take(GENERALIZED_TIME, "time")
    fields.end()
    return parse_time(found, what=what)


def _attribute(signed: SignedData, type_: str, name: str) -> bytes:
    if type_ not in signed.attributes:
        raise DerError(f"{WHAT} lacks the signed attribute {name}")
    return signed.attributes[type_]


def _only(values: bytes, tag: int, name: str) -> bytes:
    """Return the contents of the one value of an attribute."""
    fields = Fields(values, what=f"{WHAT}'s {name}")
    contents = fields.take(tag, "value").contents
    fields.end()
    return contents


def _require_issuer_serial(fields: Fields, signed: SignedData) -> None:
    """RFC 5035 5.4: an issuerSerial names the same certificate as the SignerInfo."""
    names = fields.inside(SEQUENCE, "issuer")
    issuer = names.take(_DIRECTORY_NAME, "directory name").contents
    names.end()
    if (issuer, fields.integer("serial number")) != (signed.issuer, signed.serial):
        raise DerError(f"{fields.what} names another certificate than the SignerInfo")
    fields.end()


def _issuer_and_serial(der: bytes) -> tuple[bytes, int]:
    """Return a certificate's issuer, as DER, and its serial number."""
    what = f"a certificate in {WHAT}"
    fields = read_one(der, tag=SEQUENCE, what=what).inside(SEQUENCE, "contents")
    fields.take_if(_VERSION)
    serial = fields.take(INTEGER, "serial number")
    fields.take(SEQUENCE, "signature")
    issuer = fields.take(SEQUENCE, "issuer").raw
    return issuer, parse_integer(serial, what=what)


def _verify_signature(signed: SignedData, key: object) -> None:
    oid = signed.signature_algorithm
    signature, message = signed.signature, signed.signed
    if isinstance(key, rsa.RSAPublicKey) and oid in (_RSA, *_RSA_WITH):
        hash_ = _HASHES[_RSA_WITH.get(oid, signed.digest_algorithm)]
        key.verify(signature, message, padding.PKCS1v15(), hash_)
    elif isinstance(key, rsa.RSAPublicKey) and oid == _RSA_PSS:
        # Go tries no other parameters than MGF1 and salt of the digest's hash.
        hash_ = _HASHES[signed.digest_algorithm]
        pss = padding.PSS(padding.MGF1(hash_), salt_length=hash_.digest_size)
        key.verify(signature, message, pss, hash_)
    elif isinstance(key, ec.EllipticCurvePublicKey) and oid in _ECDSA_WITH:
        key.verify(signature, message, ec.ECDSA(_HASHES[_ECDSA_WITH[oid]]))
    else:
        raise ChainError(
            f"{WHAT} is signed with algorithm {oid}, which is not allowed for the "
            "TSA's key"
        )
