"""Notary signatures in JWS JSON, flattened (signature-envelope-jws.md).

Turns bytes into an `UntrustedEnvelope`, strictly: what two readers could read
differently is refused. Trusts nobody and asks nobody.
"""

import base64
import binascii
import re
from collections.abc import Set

from enforcer.core.cbor import Label
from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import (
    SIGNING_AGENT,
    TIMESTAMP_SIGNATURE,
    malformed,
)
from enforcer.core.envelope.protected import parse_protected
from enforcer.core.envelope.untrusted import EnvelopeFormat, UntrustedEnvelope
from enforcer.core.errors import MalformedError
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.core.x509chain import MAX_CHAIN

_TOP = ("payload", "protected", "header", "signature")
_HEADER = ("x5c", SIGNING_AGENT, TIMESTAMP_SIGNATURE)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


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
        format=EnvelopeFormat.JWS,
        attributes=attributes,
        payload=_base64url(payload),
        signing_input=f"{protected}.{payload}".encode("ascii"),
        signature=_base64url(_text(top["signature"])),
        x5c=_x5c(header.get("x5c")),
        timestamp_token=_timestamp_token(header),
        signing_agent=_text(header.get(SIGNING_AGENT, "")),
    )


def _require_disjoint(header: dict[str, Json], protected: Set[Label]) -> None:
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
