"""One X.509 certificate: read all of it at once, or refuse it.

Knows what the Notary Project allows of keys and algorithms, and nothing of order or
trust. Whatever goes wrong inside the X.509 library is a `ChainError`.
"""

import contextlib
from collections.abc import Iterator
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    SignatureAlgorithmOID,
)

from enforcer.core.certificate_form import form_problem
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.identity import subject_text

MAX_CERTIFICATE_BYTES = 64 * 1024  # real ones have 1 to 4 KiB

_MIN_RSA_BITS = 1024  # Go's crypto/rsa, under notation, verifies with nothing smaller
_MAX_RSA_EXPONENT = 2**31 - 1  # and with no larger exponent

# SS343: "MUST NOT use SHA1WithRSA, ECDSAWithSHA1". This is what Go verifies of the
# rest, so that no chain passes here that notation refuses.
_HASHED_ALGORITHMS = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
}
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class ChainError(EnforcerError):
    """A certificate or chain breaks a rule; the text says which one and which rule."""

    default_code = Code.SIGNATURE_INVALID

    def __init__(self, what: str) -> None:
        super().__init__(
            what, remedy="Sign with a certificate that meets the specification."
        )


class SignatureAlgorithm(StrEnum):
    """What the signing key's type and size decide; nothing is negotiable (SS276)."""

    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"


_RSA = {
    2048: SignatureAlgorithm.PS256,
    3072: SignatureAlgorithm.PS384,
    4096: SignatureAlgorithm.PS512,
}
_EC = {
    "secp256r1": SignatureAlgorithm.ES256,
    "secp384r1": SignatureAlgorithm.ES384,
    "secp521r1": SignatureAlgorithm.ES512,
}


def parse_certificate(der: bytes, *, what: str) -> x509.Certificate:
    """Read one DER certificate, all of it, so that nothing fails later.

    The library decodes on demand, and raises for legal oddities; here everything
    that is used anywhere is touched once.

    Raises:
        ChainError: Too large, or anything in it cannot be read.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise ChainError(f"{what} has {len(der)} bytes")
    with as_chain_error(what):
        certificate = x509.load_der_x509_certificate(der)
        if certificate.public_bytes(serialization.Encoding.DER) != der:
            raise ChainError(f"{what} is not DER")
        _require_plain_key(certificate, what)
        for name in (certificate.subject, certificate.issuer):
            subject_text(name)
        for extension in certificate.extensions:
            _ = extension.value
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        problem = form_problem(certificate)
        if problem is not None:
            raise ChainError(f"{what} {problem}")
        return certificate


def signature_algorithm(key: PublicKeyTypes) -> SignatureAlgorithm:
    """Return the one algorithm this signing key may be used with.

    Raises:
        ChainError: Not RSA of 2048, 3072 or 4096 bits, nor P-256, P-384 or P-521.
    """
    algorithm = None
    if isinstance(key, rsa.RSAPublicKey):
        # SS333 counts bits; like notation, count whole bytes, so that a modulus of
        # 2041 to 2047 bits passes as 2048 (facts 2.4).
        algorithm = _RSA.get((key.key_size + 7) // 8 * 8)
        found = f"RSA with {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        algorithm = _EC.get(key.curve.name)
        found = f"ECDSA on {key.curve.name}"
    else:
        found = type(key).__name__.removesuffix("PublicKey")
    if algorithm is None:
        raise ChainError(
            f"the signing key is {found}; expected RSA with 2048, 3072 or 4096 bits, "
            "or ECDSA on P-256, P-384 or P-521"
        )
    return algorithm


def key_digest(certificate: x509.Certificate) -> Digest:
    """Return the digest of a certificate's public key (SubjectPublicKeyInfo)."""
    return Digest.of(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Say whether a certificate's signature verifies with its own key.

    Names do not enter into it: leaf and root of a real chain may share one (X4).
    """
    try:
        with as_chain_error("certificate"):
            verify_certificate_signature(certificate, certificate.public_key())
    except ChainError:
        return False
    return True


def verify_certificate_signature(
    certificate: x509.Certificate, key: PublicKeyTypes
) -> None:
    """Return if `key` signed `certificate` with an algorithm that is allowed.

    Raises:
        ChainError: The algorithm is not allowed, or does not fit the key.
        InvalidSignature: It did not.
    """
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    hash_ = _allowed_hash(certificate)
    if isinstance(key, ed25519.Ed25519PublicKey) and hash_ is None:
        key.verify(signature, signed)
    elif isinstance(key, rsa.RSAPublicKey) and hash_ is not None:
        require_full_length(key, signature)
        key.verify(signature, signed, _rsa_padding(certificate, hash_), hash_)
    elif isinstance(key, ec.EllipticCurvePublicKey) and hash_ is not None:
        key.verify(signature, signed, ec.ECDSA(hash_))
    else:
        raise ChainError("the signature does not fit the issuer's key")


def require_full_length(key: rsa.RSAPublicKey, signature: bytes) -> None:
    """Return if an RSA signature is as long as the modulus.

    RFC 8017 8.1.2 and 8.2.2, step 1. OpenSSL takes one whose leading zero bytes were
    cut off, so that one signature would have several forms.

    Raises:
        ChainError: It is shorter or longer.
    """
    if len(signature) != (key.key_size + 7) // 8:
        raise ChainError("an RSA signature is not as long as the key's modulus")


def has_revocation_pointers(certificate: x509.Certificate) -> bool:
    """Say whether a certificate names an OCSP responder or a CRL.

    A FreshestCRL counts: somebody wanted revocation to be checked.
    """
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.CRLDistributionPoints | x509.FreshestCRL):
            return True
        if isinstance(value, x509.AuthorityInformationAccess) and any(
            d.access_method == AuthorityInformationAccessOID.OCSP for d in value
        ):
            return True
    return False


def _allowed_hash(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    """Return the hash of the certificate's signature; None for Ed25519."""
    oid = certificate.signature_algorithm_oid
    if oid == SignatureAlgorithmOID.ED25519:
        return None
    hash_ = certificate.signature_hash_algorithm
    allowed = oid in _HASHED_ALGORITHMS or oid == SignatureAlgorithmOID.RSASSA_PSS
    if not allowed or not isinstance(hash_, _STRONG_HASHES):
        raise ChainError(
            f"the certificate is signed with {clip(oid.dotted_string)}, which is not "
            "allowed (SHA-1 never is)"
        )
    return hash_


def _rsa_padding(
    certificate: x509.Certificate, hash_: hashes.HashAlgorithm
) -> padding.AsymmetricPadding:
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS:
        return padding.PKCS1v15()
    # Go reads no other parameters than MGF1 and salt of the same hash.
    return padding.PSS(padding.MGF1(hash_), salt_length=hash_.digest_size)


def _require_plain_key(certificate: x509.Certificate, what: str) -> None:
    """Refuse keys that this library reads and Go, under notation, does not.

    Those are explicit curve parameters, compressed points, RSASSA-PSS keys: each is
    written back in another form than it was read in.
    """
    key = certificate.public_key()
    plain = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if plain not in certificate.tbs_certificate_bytes:
        raise ChainError(f"{what} writes its public key in an unusual form")
    if isinstance(key, rsa.RSAPublicKey) and not _is_usable(key):
        raise ChainError(f"{what} has an RSA key of {key.key_size} bits, or an odd one")


def _is_usable(key: rsa.RSAPublicKey) -> bool:
    numbers = key.public_numbers()
    is_odd = numbers.n % 2 == 1  # no product of two primes is even; OpenSSL reads it
    return key.key_size >= _MIN_RSA_BITS and is_odd and numbers.e <= _MAX_RSA_EXPONENT


@contextlib.contextmanager
def as_chain_error(what: str) -> Iterator[None]:
    """Turn whatever the X.509 library throws into a ChainError about `what`."""
    try:
        yield
    except ChainError:
        raise
    except InvalidSignature as error:
        raise ChainError(f"{what} has a signature that does not verify") from error
    except BaseException as error:
        # pyo3's PanicException is no Exception, and cannot be imported by name.
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        raise ChainError(f"{what} cannot be read: {clip(str(error))}") from error


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"
