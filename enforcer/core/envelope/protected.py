"""The protected header of a JWS envelope.

Follows signature-envelope-jws.md, "Protected Headers".
"""

from datetime import datetime

from enforcer.core.certificate import SignatureAlgorithm
from enforcer.core.envelope.attributes import (
    KNOWN,
    MAX_PROTECTED_BYTES,
    SIGNING_TIME,
    TIMES,
    Dialect,
    ProtectedHeader,
    Value,
    malformed,
    read_attributes,
)
from enforcer.core.errors import clip
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictjson import Json, parse_json, require_object

_OWN = ("alg", "cty", "crit")

# RFC 7515 4.1.11: crit MUST NOT name what RFC 7515 and RFC 7518 define.
_REGISTERED = frozenset(
    ("alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit")
) | {"enc", "zip", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c"}


def parse_protected(raw: bytes) -> ProtectedHeader:
    """Read a protected header's JSON.

    Raises:
        MalformedError: Anything the specification does not allow.
        TooLargeError: More than MAX_PROTECTED_BYTES.
    """
    what = "the protected header"
    value = parse_json(raw, what=what, max_bytes=MAX_PROTECTED_BYTES)
    members = require_object(value, what=what)
    _refuse_ambiguous(members)
    _refuse_escaped_times(raw, members)
    algorithm = _algorithm(members.get("alg"))
    return read_attributes(dict(members.items()), algorithm, _DIALECT)


def _refuse_ambiguous(members: dict[str, Json]) -> None:
    """Refuse a look-alike beside the name it looks like.

    RFC 7515 4: names are case-sensitive, so a look-alike alone is merely unknown
    (facts 2.3). Go lets either win when both are there.
    """
    folded = [name.casefold() for name in members]
    for name in (*_OWN, *KNOWN):
        if name in members and folded.count(name.casefold()) > 1:
            raise malformed(f"the protected header has a look-alike of {name}")


def _refuse_escaped_times(raw: bytes, members: dict[str, Json]) -> None:
    """Refuse a time with JSON escapes: Go, under notation, reads it as written."""
    for name in TIMES:
        time = members.get(name)
        if isinstance(time, str) and f'"{time}"'.encode() not in raw:
            raise malformed(f"{name} is written with escapes")


def _algorithm(value: Json) -> SignatureAlgorithm:
    try:
        return SignatureAlgorithm(str(value))
    except ValueError:
        raise malformed(
            f'alg is "{clip(str(value), limit=40)}", expected one of '
            f"{', '.join(SignatureAlgorithm)}"
        ) from None


def _time(value: Value, name: str) -> datetime:
    if not isinstance(value, str):
        raise malformed(f"{name} is not text")
    return parse_rfc3339(value)


_DIALECT = Dialect(
    content_type="cty",
    critical="crit",
    own=_OWN,
    # signingTime is known and never critical; notation refuses it too
    never_critical=_REGISTERED | {SIGNING_TIME},
    parse_time=_time,
)
