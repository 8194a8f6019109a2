"""Signing: a descriptor to a Notary envelope that notation accepts.

Nothing is written anywhere. What was signed is verified again before it is handed out
(signing-and-verification-workflow.md).
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType

from enforcer import __version__
from enforcer.core.cbor import Cbor, EpochTime, encode_cbor
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope import cose
from enforcer.core.envelope.attributes import (
    EXPIRY,
    SIGNING_AGENT,
    SIGNING_SCHEME,
    SIGNING_TIME,
    TIMESTAMP_SIGNATURE,
    SigningScheme,
)
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.envelope.payload import (
    PAYLOAD_MEDIA_TYPE,
    RESERVED_PREFIX,
    parse_payload,
)
from enforcer.core.envelope.untrusted import EnvelopeFormat, verify_envelope_signature
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.signer import (
    KeyInvalidError,
    Signer,
    parse_signer,
    sign_bytes,
    thumbprints,
)
from enforcer.core.strictjson import Json
from enforcer.core.testchain import generate_test_chain
from enforcer.core.x509chain import parse_chain

__all__ = [
    "AGENT",
    "EnvelopeFormat",
    "KeyInvalidError",
    "Signer",
    "Timestamper",
    "generate_test_chain",
    "parse_signer",
    "sign_cose",
    "sign_envelope",
    "sign_jws",
    "thumbprints",
]

AGENT = f"enforcer/{__version__}"

# Given the primitive signature, returns an RFC 3161 TimeStampToken (DER) about it.
Timestamper = Callable[[bytes], bytes]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Signed:
    """What was signed, ready to be wrapped with or without a timestamp."""

    protected: bytes
    payload: bytes
    signature: bytes


def sign_envelope(
    format_: EnvelopeFormat,
    target: Descriptor,
    signer: Signer,
    *,
    at: datetime,
    expires_at: datetime | None = None,
    user_metadata: Mapping[str, str] = _NO_METADATA,
    timestamp: Timestamper | None = None,
) -> bytes:
    """Return an envelope about `target`, laid out as notation does.

    Times are cut to seconds. `timestamp` is asked last, once, and only about a
    signature that verifies; what it raises is passed on.

    Raises:
        MalformedError: Metadata with a reserved name, or an expiry not after `at`.
        KeyInvalidError: What was signed does not verify.
    """
    _check_metadata(user_metadata)
    _check_expiry(at, expires_at)
    is_jws = format_ is EnvelopeFormat.JWS
    make, wrap = (_jws, _wrap_jws) if is_jws else (_cose, _wrap_cose)
    signed = make(signer, _payload(target, user_metadata), at, expires_at)
    raw = wrap(signed, signer, None)
    _verify_own(format_, raw, target, signer)
    if timestamp is not None:
        raw = wrap(signed, signer, timestamp(signed.signature))
        _verify_own(format_, raw, target, signer)
    return raw


sign_jws = partial(sign_envelope, EnvelopeFormat.JWS)
sign_cose = partial(sign_envelope, EnvelopeFormat.COSE)


def _check_metadata(user_metadata: Mapping[str, str]) -> None:
    for name in user_metadata:
        if not name or name.startswith(RESERVED_PREFIX):  # P5
            raise MalformedError(
                f'user metadata must not be named "{clip(name, limit=80)}"',
                remedy=f"Names are not empty, and do not begin with {RESERVED_PREFIX}.",
            )


def _check_expiry(at: datetime, expires_at: datetime | None) -> None:
    if expires_at is None:
        return
    if expires_at.replace(microsecond=0) <= at.replace(microsecond=0):
        raise MalformedError(
            f"the signature would expire at {format_rfc3339(expires_at)}, which is "
            f"not after its signing time {format_rfc3339(at)}",
            remedy="Give an expiry of at least one second.",
        )


def _payload(target: Descriptor, user_metadata: Mapping[str, str]) -> bytes:
    members: dict[str, Json] = {
        "mediaType": target.media_type,
        "digest": str(target.digest),
        "size": target.size,
    }
    if user_metadata:
        members["annotations"] = dict(user_metadata)
    return _compact({"targetArtifact": members})


def _jws(
    signer: Signer, payload: bytes, at: datetime, expires_at: datetime | None
) -> _Signed:
    critical: list[Json] = [SIGNING_SCHEME]
    members: dict[str, Json] = {
        "alg": signer.algorithm.value,
        "cty": PAYLOAD_MEDIA_TYPE,
        "crit": critical,
        SIGNING_SCHEME: SigningScheme.X509.value,
        SIGNING_TIME: format_rfc3339(at),
    }
    if expires_at is not None:
        critical.append(EXPIRY)
        members[EXPIRY] = format_rfc3339(expires_at)
    protected = _compact(members)
    signing_input = f"{_base64url(protected)}.{_base64url(payload)}".encode("ascii")
    return _Signed(protected, payload, sign_bytes(signer, signing_input))


def _wrap_jws(signed: _Signed, signer: Signer, token: bytes | None) -> bytes:
    # In notation's order (facts 5.2)
    header: dict[str, Json] = (
        {} if token is None else {TIMESTAMP_SIGNATURE: _b64(token)}
    )
    header["x5c"] = [_b64(der) for der in signer.chain.der]
    header[SIGNING_AGENT] = AGENT
    envelope: dict[str, Json] = {
        "payload": _base64url(signed.payload),
        "protected": _base64url(signed.protected),
        "header": header,
        "signature": _base64url(signed.signature),
    }
    return json.dumps(envelope, separators=(",", ":")).encode("ascii")


def _cose(
    signer: Signer, payload: bytes, at: datetime, expires_at: datetime | None
) -> _Signed:
    critical: list[Cbor] = [SIGNING_SCHEME]  # K13: scheme first, then expiry
    members: dict[int | str, Cbor] = {
        cose.ALG: cose.ALGORITHMS[signer.algorithm],
        cose.CRIT: critical,
        cose.CONTENT_TYPE: PAYLOAD_MEDIA_TYPE,
        SIGNING_SCHEME: SigningScheme.X509.value,
        SIGNING_TIME: EpochTime(int(at.timestamp())),
    }
    if expires_at is not None:
        critical.append(EXPIRY)
        members[EXPIRY] = EpochTime(int(expires_at.timestamp()))
    protected = encode_cbor(members)
    signature = sign_bytes(signer, cose.signing_input(protected, payload))
    return _Signed(protected, payload, signature)


def _wrap_cose(signed: _Signed, signer: Signer, token: bytes | None) -> bytes:
    header: dict[int | str, Cbor] = {
        cose.X5CHAIN: list(signer.chain.der),
        SIGNING_AGENT: AGENT,
    }
    if token is not None:
        header[TIMESTAMP_SIGNATURE] = token
    message: Cbor = [signed.protected, header, signed.payload, signed.signature]
    return cose.SIGN1_TAG + encode_cbor(message)


def _verify_own(
    format_: EnvelopeFormat, raw: bytes, target: Descriptor, signer: Signer
) -> None:
    try:
        envelope = parse_envelope(format_, raw)
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


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
