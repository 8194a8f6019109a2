"""Who signs: a private key and the chain that vouches for it, read and checked.

Keys come in as bytes and stay in the object; nothing is written anywhere.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enforcer.core.certificate import as_chain_error
from enforcer.core.codes import Code
from enforcer.core.envelope.untrusted import HASHES
from enforcer.core.errors import EnforcerError
from enforcer.core.pem import parse_pem_certificates
from enforcer.core.x509chain import (
    MAX_CHAIN,
    Chain,
    SignatureAlgorithm,
    not_valid_at,
    parse_chain,
    signature_algorithm,
    verify_chain_profile,
)

MAX_KEY_BYTES = 64 * 1024  # an RSA-4096 key in PEM has 3.3 KiB
MAX_CHAIN_BYTES = 1024 * 1024

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyInvalidError(EnforcerError):
    """A signing key or its certificate chain cannot be used."""

    default_code = Code.KEY_INVALID


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the chain that vouches for it, as `parse_signer` checked."""

    key: _PrivateKey = field(repr=False)
    chain: Chain
    algorithm: SignatureAlgorithm


def parse_signer(key_pem: bytes, chain_pem: bytes, *, at: datetime) -> Signer:
    """Read an unencrypted PEM private key and its chain, leaf first, root last.

    The chain must meet the signing profile, and be valid at `at` (SS345).

    Raises:
        KeyInvalidError: Either cannot be used, or they do not belong together.
    """
    key = _load_key(key_pem)
    try:
        chain = _load_chain(chain_pem)
        verify_chain_profile(chain)
        algorithm = signature_algorithm(key.public_key())
    except EnforcerError as error:
        raise KeyInvalidError(error.what, remedy=error.remedy) from error
    if _public_bytes(chain.leaf.public_key()) != _public_bytes(key.public_key()):
        raise KeyInvalidError(
            "the private key is not that of the chain's first certificate",
            remedy="Give the chain leaf first, and the leaf's own key.",
        )
    problem = not_valid_at(chain, at)
    if problem is not None:
        raise KeyInvalidError(
            problem, remedy="Sign with a certificate that is valid now."
        )
    return Signer(key, chain, algorithm)


def sign_bytes(signer: Signer, message: bytes) -> bytes:
    """Return the primitive signature: RSASSA-PSS, or ECDSA as R || S."""
    hash_ = HASHES[signer.algorithm]
    if isinstance(signer.key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
        return signer.key.sign(message, pss, hash_)
    r, s = decode_dss_signature(signer.key.sign(message, ec.ECDSA(hash_)))
    size = (signer.key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def thumbprints(chain: Chain) -> tuple[str, ...]:
    """Return the SHA-256 of each certificate, leaf first, in lower-case hex (SS240)."""
    return tuple(hashlib.sha256(der).hexdigest() for der in chain.der)


def _load_key(pem: bytes) -> _PrivateKey:
    if len(pem) > MAX_KEY_BYTES:
        raise _bad_key(f"the private key file has {len(pem)} bytes")
    try:
        with as_chain_error("the private key"):
            key = serialization.load_pem_private_key(pem, password=None)
    except EnforcerError as error:
        raise _bad_key(error.what) from error
    if not isinstance(key, _PrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey")
        raise _bad_key(f"the private key is a {kind} one")
    return key


def _load_chain(pem: bytes) -> Chain:
    if len(pem) > MAX_CHAIN_BYTES:
        raise KeyInvalidError(
            f"the certificate chain has {len(pem)} bytes",
            remedy="Give only the certificates from the leaf to the root.",
        )
    return parse_chain(
        parse_pem_certificates(pem, what="the certificate chain", max_count=MAX_CHAIN)
    )


def _bad_key(what: str) -> KeyInvalidError:
    return KeyInvalidError(
        what,
        remedy="Expected unencrypted PEM (PKCS #8): RSA with 2048, 3072 or 4096 bits, "
        "or ECDSA on P-256, P-384 or P-521.",
    )


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
