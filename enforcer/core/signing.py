"""Signing: a descriptor to a Notary envelope that notation accepts.

Keys come in as bytes and stay in the object; nothing is written anywhere. What was
signed is verified again before it is handed out (signing-and-verification-workflow.md).
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enforcer import __version__
from enforcer.core.certificate import as_chain_error
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope.jws import (
    HASHES,
    SIGNING_AGENT,
    SigningScheme,
    parse_jws,
    verify_envelope_signature,
)
from enforcer.core.envelope.payload import (
    PAYLOAD_MEDIA_TYPE,
    RESERVED_PREFIX,
    parse_payload,
)
from enforcer.core.envelope.protected import EXPIRY, SIGNING_SCHEME, SIGNING_TIME
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.pem import parse_pem_certificates
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.strictjson import Json
from enforcer.core.testchain import generate_test_chain
from enforcer.core.x509chain import (
    MAX_CHAIN,
    Chain,
    SignatureAlgorithm,
    not_valid_at,
    parse_chain,
    signature_algorithm,
    verify_chain_profile,
)

__all__ = [
    "AGENT",
    "KeyInvalidError",
    "Signer",
    "generate_test_chain",
    "parse_signer",
    "sign_jws",
    "thumbprints",
]

MAX_KEY_BYTES = 64 * 1024  # an RSA-4096 key in PEM has 3.3 KiB
MAX_CHAIN_BYTES = 1024 * 1024

AGENT = f"enforcer/{__version__}"

_NO_METADATA: Mapping[str, str] = MappingProxyType({})
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


def sign_jws(
    target: Descriptor,
    signer: Signer,
    *,
    at: datetime,
    expires_at: datetime | None = None,
    user_metadata: Mapping[str, str] = _NO_METADATA,
) -> bytes:
    """Return a JWS envelope about `target`, laid out as notation does.

    Times are cut to seconds.

    Raises:
        MalformedError: Metadata with a reserved name, or an expiry not after `at`.
        KeyInvalidError: What was signed does not verify.
    """
    _check_metadata(user_metadata)
    payload = _compact({"targetArtifact": _target(target, user_metadata)})
    protected = _compact(_protected(signer.algorithm, at, expires_at))
    signing_input = _base64url(protected) + b"." + _base64url(payload)
    header: dict[str, Json] = {
        "x5c": [base64.b64encode(der).decode("ascii") for der in signer.chain.der],
        SIGNING_AGENT: AGENT,
    }
    envelope: dict[str, Json] = {
        "payload": _base64url(payload).decode("ascii"),
        "protected": _base64url(protected).decode("ascii"),
        "header": header,
        "signature": _base64url(_sign(signer, signing_input)).decode("ascii"),
    }
    raw = json.dumps(envelope, separators=(",", ":")).encode("ascii")
    _verify_own(raw, target, signer)
    return raw


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


def _check_metadata(user_metadata: Mapping[str, str]) -> None:
    for name in user_metadata:
        if not name or name.startswith(RESERVED_PREFIX):  # P5
            raise MalformedError(
                f'user metadata must not be named "{clip(name, limit=80)}"',
                remedy=f"Names are not empty, and do not begin with {RESERVED_PREFIX}.",
            )


def _target(target: Descriptor, user_metadata: Mapping[str, str]) -> dict[str, Json]:
    members: dict[str, Json] = {
        "mediaType": target.media_type,
        "digest": str(target.digest),
        "size": target.size,
    }
    if user_metadata:
        members["annotations"] = dict(user_metadata)
    return members


def _protected(
    algorithm: SignatureAlgorithm, at: datetime, expires_at: datetime | None
) -> dict[str, Json]:
    critical: list[Json] = [SIGNING_SCHEME]
    members: dict[str, Json] = {
        "alg": algorithm.value,
        "cty": PAYLOAD_MEDIA_TYPE,
        "crit": critical,
        SIGNING_SCHEME: SigningScheme.X509.value,
        SIGNING_TIME: format_rfc3339(at),
    }
    if expires_at is not None:
        if expires_at.replace(microsecond=0) <= at.replace(microsecond=0):
            raise MalformedError(
                f"the signature would expire at {format_rfc3339(expires_at)}, which is "
                f"not after its signing time {format_rfc3339(at)}",
                remedy="Give an expiry of at least one second.",
            )
        critical.append(EXPIRY)
        members[EXPIRY] = format_rfc3339(expires_at)
    return members


def _sign(signer: Signer, signing_input: bytes) -> bytes:
    hash_ = HASHES[signer.algorithm]
    if isinstance(signer.key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
        return signer.key.sign(signing_input, pss, hash_)
    r, s = decode_dss_signature(signer.key.sign(signing_input, ec.ECDSA(hash_)))
    size = (signer.key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _verify_own(raw: bytes, target: Descriptor, signer: Signer) -> None:
    try:
        envelope = parse_jws(raw)
        verify_envelope_signature(envelope, parse_chain(envelope.x5c))
        signed = parse_payload(envelope.payload).target
    except EnforcerError as error:
        raise KeyInvalidError(
            f"what was just signed does not verify: {error.what}",
            remedy="Nothing was written. Check the descriptor and the key.",
        ) from error
    if signed != target or envelope.x5c != signer.chain.der:
        raise KeyInvalidError(
            "what was just signed is not what was asked for",
            remedy="Nothing was written.",
        )


def _compact(members: dict[str, Json]) -> bytes:
    """JSON as notation writes it: names sorted, no white space."""
    text = json.dumps(
        members, separators=(",", ":"), sort_keys=True, ensure_ascii=False
    )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError(
            "user metadata has text that is not Unicode", remedy="Use plain text."
        ) from error


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
