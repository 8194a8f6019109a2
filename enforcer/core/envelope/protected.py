"""The protected header of a JWS envelope: what a signature says about itself.

Follows signature-envelope-jws.md, "Protected Headers". All of it is covered by the
signature, none of it is believed before that is checked.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from enforcer.core.certificate import SignatureAlgorithm
from enforcer.core.envelope.payload import PAYLOAD_MEDIA_TYPE
from enforcer.core.errors import MalformedError, clip
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictjson import Json, parse_json, require_object

SIGNING_SCHEME = "io.cncf.notary.signingScheme"
SIGNING_TIME = "io.cncf.notary.signingTime"
AUTHENTIC_SIGNING_TIME = "io.cncf.notary.authenticSigningTime"
EXPIRY = "io.cncf.notary.expiry"

_Choice = TypeVar("_Choice", bound=StrEnum)

MAX_PROTECTED_BYTES = 256 * 1024  # plug-ins may add attributes; usual are 250 bytes

_KNOWN = (
    "alg",
    "cty",
    "crit",
    SIGNING_SCHEME,
    SIGNING_TIME,
    AUTHENTIC_SIGNING_TIME,
    EXPIRY,
)
# JW154: what must be critical wherever it is present.
_ALWAYS_CRITICAL = (SIGNING_SCHEME, AUTHENTIC_SIGNING_TIME, EXPIRY)

# RFC 7515 4.1.11: crit MUST NOT name what RFC 7515 and RFC 7518 define.
_REGISTERED = frozenset(
    ("alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit")
) | {"enc", "zip", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c"}

# Go's zero time, which notation takes for "not there".
_ZERO_YEAR = 1


class SigningScheme(StrEnum):
    """Who vouches for the signing time (signing-scheme.md)."""

    X509 = "notary.x509"
    SIGNING_AUTHORITY = "notary.x509.signingAuthority"


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """A signed attribute this version does not know."""

    name: str
    value: Json
    critical: bool


@dataclass(frozen=True, slots=True)
class ProtectedHeader:
    """The attributes of a signature. Times are aware, UTC."""

    algorithm: SignatureAlgorithm
    content_type: str
    scheme: SigningScheme
    signing_time: datetime | None
    authentic_signing_time: datetime | None
    expiry: datetime | None
    extended: tuple[ExtendedAttribute, ...]
    names: frozenset[str]


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
    if members.get("cty") != PAYLOAD_MEDIA_TYPE:  # P1
        raise malformed(f'the content type (cty) is not "{PAYLOAD_MEDIA_TYPE}"')
    critical = _critical(members)
    scheme = _one_of(SigningScheme, members.get(SIGNING_SCHEME), SIGNING_SCHEME)
    signing, authentic = _signing_times(members, scheme)
    return ProtectedHeader(
        algorithm=_one_of(SignatureAlgorithm, members.get("alg"), "alg"),
        content_type=PAYLOAD_MEDIA_TYPE,
        scheme=scheme,
        signing_time=signing,
        authentic_signing_time=authentic,
        expiry=_expiry(members, signing or authentic),
        extended=_extended(members, critical),
        names=frozenset(members),
    )


def malformed(what: str) -> MalformedError:
    """Make the error for an envelope that breaks a rule."""
    return MalformedError(what, remedy="Sign the image again.")


def _refuse_ambiguous(members: dict[str, Json]) -> None:
    """Refuse a look-alike beside the name it looks like.

    RFC 7515 4: names are case-sensitive, so a look-alike alone is merely unknown
    (facts 2.3). Go lets either win when both are there.
    """
    folded = [name.casefold() for name in members]
    for name in _KNOWN:
        if name in members and folded.count(name.casefold()) > 1:
            raise malformed(f"the protected header has a look-alike of {name}")


def _critical(members: dict[str, Json]) -> frozenset[str]:
    """Return the names in `crit` (JW154, RFC 7515 4.1.11)."""
    listed = members.get("crit")
    if not isinstance(listed, list) or not listed:
        raise malformed("crit is missing or empty")
    names = frozenset(name for name in listed if isinstance(name, str))
    if len(names) != len(listed):
        raise malformed(
            "crit names something twice, or lists something else than names"
        )
    for name in _ALWAYS_CRITICAL:
        if name in members and name not in names:
            raise malformed(f"{name} is there, but not in crit")
    for name in sorted(names):
        # signingTime is known and never critical; notation refuses it too
        if name in _REGISTERED or name == SIGNING_TIME or name not in members:
            raise malformed(f'crit must not name "{clip(name, limit=80)}" here')
    return names


def _signing_times(
    members: dict[str, Json], scheme: SigningScheme
) -> tuple[datetime | None, datetime | None]:
    """Return signing time and authentic signing time; one of them is None.

    JW151, JW152: each is REQUIRED in its own scheme and not allowed in the other.
    """
    own, other = SIGNING_TIME, AUTHENTIC_SIGNING_TIME
    if scheme is SigningScheme.SIGNING_AUTHORITY:
        own, other = other, own
    if other in members:
        raise malformed(f"{other} is not allowed in scheme {scheme}")
    time = _time(members, own)
    return (time, None) if scheme is SigningScheme.X509 else (None, time)


def _expiry(members: dict[str, Json], signed_at: datetime | None) -> datetime | None:
    if EXPIRY not in members:
        return None
    expiry = _time(members, EXPIRY)
    if signed_at is None or expiry <= signed_at:  # J11
        raise malformed("the signature expires before it was made")
    return expiry


def _time(members: dict[str, Json], name: str) -> datetime:
    text = members.get(name)
    if not isinstance(text, str):
        raise malformed(f"{name} is missing or not text")
    time = parse_rfc3339(text)
    if time.year == _ZERO_YEAR:
        raise malformed(f"{name} is not set")
    return time


def _extended(
    members: dict[str, Json], critical: frozenset[str]
) -> tuple[ExtendedAttribute, ...]:
    return tuple(
        ExtendedAttribute(name, value, name in critical)
        for name, value in members.items()
        if name not in _KNOWN
    )


def _one_of(type_: type[_Choice], value: Json, name: str) -> _Choice:
    try:
        return type_(str(value))
    except ValueError:
        allowed = ", ".join(type_)
        shown = clip(str(value), limit=40)
        raise malformed(f'{name} is "{shown}", expected one of {allowed}') from None
