"""Notary signatures in JWS JSON, flattened (signature-envelope-jws.md).

Turns bytes into an `UntrustedEnvelope`, strictly: what two readers could read
differently is refused. Trusts nobody and asks nobody.
"""

import base64
import binascii
import re
from collections.abc import Set
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from enforcer.core.certificate import (
    ChainError,
    SignatureAlgorithm,
    as_chain_error,
    signature_algorithm,
)
from enforcer.core.codes import Code
from enforcer.core.envelope.payload import SignedPayload, parse_payload
from enforcer.core.envelope.protected import (
    ExtendedAttribute,
    ProtectedHeader,
    SigningScheme,
    malformed,
    parse_protected,
)
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.core.x509chain import MAX_CHAIN, Chain

__all__ = [
    "HASHES",
    "SIGNING_AGENT",
    "ExtendedAttribute",
    "ProtectedHeader",
    "SignedPayload",
    "SigningScheme",
    "UntrustedEnvelope",
    "parse_jws",
    "parse_payload",
    "untrusted_chain",
    "verify_envelope_signature",
]

SIGNING_AGENT = "io.cncf.notary.signingAgent"
TIMESTAMP_SIGNATURE = "io.cncf.notary.timestampSignature"

HASHES: dict[SignatureAlgorithm, hashes.HashAlgorithm] = {
    SignatureAlgorithm.PS256: hashes.SHA256(),
    SignatureAlgorithm.PS384: hashes.SHA384(),
    SignatureAlgorithm.PS512: hashes.SHA512(),
    SignatureAlgorithm.ES256: hashes.SHA256(),
    SignatureAlgorithm.ES384: hashes.SHA384(),
    SignatureAlgorithm.ES512: hashes.SHA512(),
}

_TOP = ("payload", "protected", "header", "signature")
_HEADER = ("x5c", SIGNING_AGENT, TIMESTAMP_SIGNATURE)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class UntrustedEnvelope:
    """An envelope's parts. Well-formed, and nothing more: no signature was checked.

    `x5c`, leaf first, `timestamp_token` and `signing_agent` are not even covered by
    it; the last one is for people and MUST NOT influence anything (SS153).
    """

    attributes: ProtectedHeader
    signing_input: bytes
    signature: bytes
    payload: bytes
    x5c: tuple[bytes, ...]
    timestamp_token: bytes | None
    signing_agent: str


def parse_jws(raw: bytes) -> UntrustedEnvelope:
    """Read a JWS envelope.

    Raises:
        MalformedError: Anything the specification does not allow (SIGNATURE_INVALID).
        TooLargeError: More than MAX_ENVELOPE_BYTES.
    """
    try:
        return _envelope(raw)
    except MalformedError as error:
        raise MalformedError(
            error.what, remedy=error.remedy, code=Code.SIGNATURE_INVALID
        ) from error


def untrusted_chain(raw: bytes) -> tuple[bytes, ...]:
    """Return the certificates an envelope carries, or () where it is malformed.

    Only good for guessing which signature to try first.
    """
    try:
        return parse_jws(raw).x5c
    except EnforcerError:
        return ()


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
    if actual is not expected:  # J3: the key decides, not the header
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
        # RFC 7518 3.5 wants a salt as long as the hash; notation takes any in JWS
        # (facts 2.4).
        pss = padding.PSS(padding.MGF1(hash_), padding.PSS.AUTO)
        key.verify(signature, signed, pss, hash_)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(_der_signature(key, signature), signed, ec.ECDSA(hash_))
    else:
        raise ChainError("no such key")


def _der_signature(key: ec.EllipticCurvePublicKey, signature: bytes) -> bytes:
    # RFC 7518 3.4: R || S, each as long as the curve's order
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise ChainError("not R || S")
    r, s = signature[:size], signature[size:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _envelope(raw: bytes) -> UntrustedEnvelope:
    # JW201: exactly these four; general and compact serialization are not supported.
    value = parse_json(raw, what="the envelope", max_bytes=MAX_ENVELOPE_BYTES)
    top = require_object(value, what="the envelope", known=_TOP)
    if set(top) != set(_TOP):
        raise malformed(f"the envelope's members are not exactly {', '.join(_TOP)}")
    protected, payload = _text(top["protected"]), _text(top["payload"])
    attributes = parse_protected(_base64url(protected))
    header = require_object(top["header"], what="the header", known=_HEADER)
    _require_disjoint(header, attributes.names)
    return UntrustedEnvelope(
        attributes=attributes,
        payload=_base64url(payload),
        signing_input=f"{protected}.{payload}".encode("ascii"),
        signature=_base64url(_text(top["signature"])),
        x5c=_x5c(header.get("x5c")),
        timestamp_token=_timestamp_token(header),
        signing_agent=_text(header.get(SIGNING_AGENT, "")),
    )


def _require_disjoint(header: dict[str, Json], protected: Set[str]) -> None:
    # RFC 7515 4: "The Header Parameter names in the two locations MUST be disjoint"
    if not protected.isdisjoint(header):
        raise malformed("a header is both protected and unprotected")


def _x5c(value: Json) -> tuple[bytes, ...]:
    # JW175: REQUIRED; RFC 7515 4.1.6: base64, not base64url
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHAIN:
        raise malformed(f"x5c does not list 1 to {MAX_CHAIN} certificates")
    return tuple(_base64(item) for item in value)


def _timestamp_token(header: dict[str, Json]) -> bytes | None:
    if TIMESTAMP_SIGNATURE not in header:
        return None
    return _base64(header[TIMESTAMP_SIGNATURE])


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise malformed("the envelope has something else where text is expected")
    return value


def _base64(value: Json) -> bytes:
    """Decode padded standard base64 that has exactly one spelling."""
    text = _text(value)
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise malformed("the header has text that is not base64") from error
    if base64.b64encode(decoded).decode("ascii") != text:
        raise malformed("the header has base64 with stray bits")
    return decoded


def _base64url(text: str) -> bytes:
    """Decode base64url as RFC 7515 2 has it: no padding, no white space."""
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise malformed("the envelope has text that is not base64url")
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode("ascii"):
        raise malformed("the envelope has base64url with stray bits")
    return decoded


def _refused(what: str) -> MalformedError:
    return MalformedError(
        what, remedy="Sign the image again.", code=Code.SIGNATURE_INVALID
    )
