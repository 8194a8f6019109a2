"""Evidence that somebody signed: read without surprises, and checked against a key."""

import contextlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
)
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from enforcer.core.certificate import require_full_length
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

_PKCS1 = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
}
_ECDSA = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
}
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class EvidenceError(EnforcerError):
    """Evidence that cannot be used; the text says what is wrong with it."""

    default_code = Code.REVOCATION_UNKNOWN

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="Run `enforcer cache sync`, or ask the CA.")


@contextlib.contextmanager
def as_evidence_error(what: str) -> Iterator[None]:
    """Turn whatever the X.509 library throws into an EvidenceError about `what`."""
    try:
        yield
    except EvidenceError:
        raise
    except InvalidSignature as error:
        raise EvidenceError(f"{what} has a signature that does not verify") from error
    except EnforcerError as error:
        raise EvidenceError(f"{what} cannot be used: {error.what}") from error
    except BaseException as error:
        # pyo3's PanicException is no Exception, and cannot be imported by name.
        is_panic = type(error).__name__ == "PanicException"
        if not isinstance(error, Exception) and not is_panic:
            raise
        raise EvidenceError(f"{what} cannot be read: {clip(str(error))}") from error


def verify_signed(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    signed: bytes,
    algorithm: x509.ObjectIdentifier,
    hash_: hashes.HashAlgorithm | None,
) -> None:
    """Return if `key` made this signature with an algorithm that is allowed.

    SHA-1 is not, here as in certificates (SS343).

    Raises:
        EnforcerError: The algorithm is not allowed, or does not fit the key.
        InvalidSignature: It did not.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        if algorithm == SignatureAlgorithmOID.ED25519:
            return key.verify(signature, signed)
    elif isinstance(hash_, _STRONG_HASHES):
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _ECDSA:
            return key.verify(signature, signed, ec.ECDSA(hash_))
        if isinstance(key, rsa.RSAPublicKey):
            scheme = _rsa_padding(algorithm, hash_)
            if scheme is not None:
                require_full_length(key, signature)
                return key.verify(signature, signed, scheme, hash_)
    raise EvidenceError(
        f"a signature by {clip(algorithm.dotted_string)} is not allowed here "
        "(SHA-1 never is)"
    )


def require_understood(
    extensions: x509.Extensions, known: set[x509.ObjectIdentifier], what: str
) -> None:
    """Refuse what its signer says must be understood, and is not.

    RFC 5280 5.2: "the application MUST NOT use that CRL to determine the status".
    """
    for extension in extensions:
        if extension.critical and extension.oid not in known:
            oid = clip(extension.oid.dotted_string)
            raise EvidenceError(f"{what} demands that {oid} be understood")


def require_list_signer(issuer: x509.Certificate) -> None:
    """RFC 5280 6.3.3 (f): a CA whose keyUsage, if there is one, has cRLSign."""
    for extension in issuer.extensions:
        value = extension.value
        if extension.oid == ExtensionOID.KEY_USAGE and isinstance(value, x509.KeyUsage):
            if not value.crl_sign:
                raise EvidenceError(
                    "the certificate of the CRL's issuer may not sign CRLs"
                )
        elif isinstance(value, x509.BasicConstraints) and not value.ca:
            raise EvidenceError("the CRL's issuer is not a CA")


def _rsa_padding(
    algorithm: x509.ObjectIdentifier, hash_: hashes.HashAlgorithm
) -> padding.AsymmetricPadding | None:
    if algorithm in _PKCS1:
        return padding.PKCS1v15()
    if algorithm == SignatureAlgorithmOID.RSASSA_PSS:
        return padding.PSS(padding.MGF1(hash_), salt_length=hash_.digest_size)
    return None
