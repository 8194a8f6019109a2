"""An envelope's parts, whatever its format, and whether the leaf's key signed them."""

from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from enforcer.core.certificate import (
    ChainError,
    SignatureAlgorithm,
    as_chain_error,
    require_full_length,
    signature_algorithm,
)
from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import ProtectedHeader
from enforcer.core.errors import MalformedError
from enforcer.core.signature_manifest import COSE_MEDIA_TYPE, JWS_MEDIA_TYPE
from enforcer.core.x509chain import Chain

HASHES: dict[SignatureAlgorithm, hashes.HashAlgorithm] = {
    SignatureAlgorithm.PS256: hashes.SHA256(),
    SignatureAlgorithm.PS384: hashes.SHA384(),
    SignatureAlgorithm.PS512: hashes.SHA512(),
    SignatureAlgorithm.ES256: hashes.SHA256(),
    SignatureAlgorithm.ES384: hashes.SHA384(),
    SignatureAlgorithm.ES512: hashes.SHA512(),
}


class EnvelopeFormat(StrEnum):
    """The two envelope formats of the Notary Project."""

    JWS = "jws"
    COSE = "cose"

    @property
    def media_type(self) -> str:
        """What a signature manifest's layer says."""
        return _MEDIA_TYPES[self]

    @classmethod
    def of(cls, media_type: str) -> "EnvelopeFormat | None":
        """Return the format of exactly this media type; parameters make another."""
        return next((f for f in cls if f.media_type == media_type), None)


_MEDIA_TYPES = {
    EnvelopeFormat.JWS: JWS_MEDIA_TYPE,
    EnvelopeFormat.COSE: COSE_MEDIA_TYPE,
}


@dataclass(frozen=True, slots=True)
class UntrustedEnvelope:
    """An envelope's parts. Well-formed, and nothing more: no signature was checked.

    `signing_input` is what the primitive `signature` is over, made of the original
    bytes. `x5c`, leaf first, `timestamp_token` (about `signature`) and
    `signing_agent` may not even be covered by it; the last one is for people and
    MUST NOT influence anything (SS153).
    """

    format: EnvelopeFormat
    attributes: ProtectedHeader
    signing_input: bytes
    signature: bytes
    payload: bytes
    x5c: tuple[bytes, ...]
    timestamp_token: bytes | None
    signing_agent: str


def verify_envelope_signature(envelope: UntrustedEnvelope, chain: Chain) -> None:
    """Return if the leaf's key signed this envelope's payload and protected header.

    Raises:
        ChainError: The key is of a kind not allowed.
        MalformedError: The algorithm is not the key's, or the signature is wrong.
    """
    with as_chain_error("certificate #1, the leaf,"):
        key = chain.leaf.public_key()
        expected = signature_algorithm(key)
    actual = envelope.attributes.algorithm
    if actual is not expected:  # J3, K4: the key decides, not the header
        raise _refused(
            f"the signature says alg {actual}, but the signing key's is {expected}"
        )
    try:
        with as_chain_error("the envelope"):
            _verify(key, envelope)
    except ChainError as error:
        raise _refused("the signature does not verify with the leaf's key") from error


def _verify(key: object, envelope: UntrustedEnvelope) -> None:
    signature, signed = envelope.signature, envelope.signing_input
    hash_ = HASHES[envelope.attributes.algorithm]
    if isinstance(key, rsa.RSAPublicKey):
        require_full_length(key, signature)
        pss = padding.PSS(padding.MGF1(hash_), _salt_length(envelope.format))
        key.verify(signature, signed, pss, hash_)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(_der_signature(key, signature), signed, ec.ECDSA(hash_))
    else:
        raise ChainError("no such key")


def _salt_length(format_: EnvelopeFormat) -> "padding._Auto | padding._DigestLength":
    # RFC 7518 3.5 and RFC 8230 2 want a salt as long as the hash. In JWS notation
    # takes any (facts 2.4), in COSE only that (K12).
    return (
        padding.PSS.AUTO if format_ is EnvelopeFormat.JWS else padding.PSS.DIGEST_LENGTH
    )


def _der_signature(key: ec.EllipticCurvePublicKey, signature: bytes) -> bytes:
    # RFC 7518 3.4, RFC 9053 2.1: R || S, each as long as the curve's order
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise ChainError("not R || S")
    r, s = signature[:size], signature[size:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _refused(what: str) -> MalformedError:
    return MalformedError(
        what, remedy="Sign the image again.", code=Code.SIGNATURE_INVALID
    )
