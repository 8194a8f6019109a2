"""What is sent to a time stamping authority, and what comes back (RFC 3161 2.4)."""

import hashlib
from dataclasses import dataclass

from enforcer.core.cms import HASH_OIDS
from enforcer.core.der import (
    BOOLEAN,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    UTF8_STRING,
    Fields,
    encode,
    encode_integer,
    encode_oid,
    read_one,
)
from enforcer.core.errors import EnforcerError, clip

REQUEST_MEDIA_TYPE = "application/timestamp-query"
ANSWER_MEDIA_TYPE = "application/timestamp-reply"

_GRANTED = 0
_MAX_TEXTS = 3  # of the status; usual is one
_TRUE = b"\xff"
_WHAT = "the time stamping authority's answer"
_STATUS = {
    1: "granted with modifications",
    2: "rejection",
    3: "waiting",
    4: "revocation warning",
    5: "revocation notification",
}


@dataclass(frozen=True, slots=True)
class TspAnswer:
    """A TSA's answer. `token` is untrusted; None where it refused, for `reason`."""

    token: bytes | None
    reason: str


def build_request(signature_value: bytes, *, hash_name: str, nonce: int) -> bytes:
    """Write a request for a token about these bytes, with its certificates in it."""
    digest = hashlib.new(hash_name, signature_value).digest()
    algorithm = encode(SEQUENCE, encode_oid(HASH_OIDS[hash_name]), encode(NULL))
    return encode(
        SEQUENCE,
        encode_integer(1),
        encode(SEQUENCE, algorithm, encode(OCTET_STRING, digest)),
        encode_integer(nonce),
        encode(BOOLEAN, _TRUE),  # certReq: H8
    )


def parse_answer(raw: bytes) -> TspAnswer:
    """Read a TimeStampResp, to its last byte.

    Raises:
        DerError: It is none, or says it grants a token and has none.
    """
    fields = read_one(raw, tag=SEQUENCE, what=_WHAT, ber=True)
    status = fields.inside(SEQUENCE, "status")
    code = status.integer("number")
    if code != _GRANTED:
        return TspAnswer(None, _reason(code, status))
    token = fields.take(SEQUENCE, "token").raw
    fields.end()
    return TspAnswer(token, "granted")


def _reason(code: int, status: Fields) -> str:
    """Say what the TSA says: its number, and its own words where it has any."""
    said = _STATUS.get(code, f"status {code}")
    words = status.take_if(SEQUENCE)
    try:
        texts = Fields(words.contents, what=_WHAT, ber=True).rest() if words else ()
    except EnforcerError:
        texts = ()
    shown = " ".join(
        clip(text.contents.decode("utf-8", "replace"))
        for text in texts[:_MAX_TEXTS]
        if text.tag == UTF8_STRING
    )
    return f'{said}: "{shown}"' if shown else said
