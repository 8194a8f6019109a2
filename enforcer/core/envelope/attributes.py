"""What a signature says about itself, and the rules that do not depend on the format.

Follows signature-specification.md, "Signed Attributes". All of it is covered by the
signature, none of it is believed before that is checked.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from enforcer.core.cbor import Cbor, Label
from enforcer.core.certificate import SignatureAlgorithm
from enforcer.core.envelope.payload import PAYLOAD_MEDIA_TYPE
from enforcer.core.errors import MalformedError, clip
from enforcer.core.strictjson import Json

SIGNING_SCHEME = "io.cncf.notary.signingScheme"
SIGNING_TIME = "io.cncf.notary.signingTime"
AUTHENTIC_SIGNING_TIME = "io.cncf.notary.authenticSigningTime"
EXPIRY = "io.cncf.notary.expiry"

# Unprotected; the agent is for people and MUST NOT influence anything (SS153).
SIGNING_AGENT = "io.cncf.notary.signingAgent"
TIMESTAMP_SIGNATURE = "io.cncf.notary.timestampSignature"

MAX_PROTECTED_BYTES = 256 * 1024  # plug-ins may add attributes; usual are 250 bytes

TIMES = (SIGNING_TIME, AUTHENTIC_SIGNING_TIME, EXPIRY)
KNOWN = (SIGNING_SCHEME, *TIMES)
# JW154, CO156: what must be critical wherever it is present.
_ALWAYS_CRITICAL = (SIGNING_SCHEME, AUTHENTIC_SIGNING_TIME, EXPIRY)

# Go's zero time, which notation takes for "not there".
_ZERO_YEAR = 1

Value = Json | Cbor


class SigningScheme(StrEnum):
    """Who vouches for the signing time (signing-scheme.md)."""

    X509 = "notary.x509"
    SIGNING_AUTHORITY = "notary.x509.signingAuthority"


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """A signed attribute this version does not know; a COSE integer label as text."""

    name: str
    value: Value
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
    names: frozenset[Label]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a format calls the parameters of its own, and how it writes a time.

    `own` are labels the format itself defines and the reader understands;
    `never_critical` those its crit MUST NOT list.
    """

    content_type: Label
    critical: Label
    own: Collection[Label]
    never_critical: Collection[Label]
    parse_time: Callable[[Value, str], datetime]


def read_attributes(
    members: Mapping[Label, Value], algorithm: SignatureAlgorithm, dialect: Dialect
) -> ProtectedHeader:
    """Make a protected header's values of its members.

    Raises:
        MalformedError: Anything the specification does not allow.
    """
    if members.get(dialect.content_type) != PAYLOAD_MEDIA_TYPE:  # P1
        raise malformed(f'the content type is not "{PAYLOAD_MEDIA_TYPE}"')
    critical = _critical(members, dialect)
    scheme = _scheme(members.get(SIGNING_SCHEME))
    times = {
        name: _time(members[name], name, dialect) for name in TIMES if name in members
    }
    _require_times(times, scheme)
    return ProtectedHeader(
        algorithm=algorithm,
        content_type=PAYLOAD_MEDIA_TYPE,
        scheme=scheme,
        signing_time=times.get(SIGNING_TIME),
        authentic_signing_time=times.get(AUTHENTIC_SIGNING_TIME),
        expiry=times.get(EXPIRY),
        extended=tuple(
            ExtendedAttribute(str(label), value, label in critical)
            for label, value in members.items()
            if label not in KNOWN and label not in dialect.own
        ),
        names=frozenset(members),
    )


def malformed(what: str) -> MalformedError:
    """Make the error for an envelope that breaks a rule."""
    return MalformedError(what, remedy="Sign the image again.")


def _critical(members: Mapping[Label, Value], dialect: Dialect) -> frozenset[Label]:
    """Return the labels in `crit` (RFC 7515 4.1.11, RFC 9052 3.1)."""
    listed = members.get(dialect.critical)
    if not isinstance(listed, list) or not listed:
        raise malformed("crit is missing or empty")
    labels = frozenset(
        label
        for label in listed
        # a bool is an int in Python, and True would find label 1
        if isinstance(label, int | str) and not isinstance(label, bool)
    )
    if len(labels) != len(listed):
        raise malformed(
            "crit names something twice, or lists something else than names"
        )
    for name in _ALWAYS_CRITICAL:
        if name in members and name not in labels:
            raise malformed(f"{name} is there, but not in crit")
    for label in sorted(labels, key=str):
        if label in dialect.never_critical or label not in members:
            raise malformed(f'crit must not name "{clip(str(label), limit=80)}" here')
    return labels


def _scheme(value: Value) -> SigningScheme:
    try:
        return SigningScheme(str(value))
    except ValueError:
        raise malformed(
            f'{SIGNING_SCHEME} is "{clip(str(value), limit=40)}", expected one of '
            f"{', '.join(SigningScheme)}"
        ) from None


def _time(value: Value, name: str, dialect: Dialect) -> datetime:
    time = dialect.parse_time(value, name)
    if time.year == _ZERO_YEAR:
        raise malformed(f"{name} is not set")
    return time


def _require_times(times: Mapping[str, datetime], scheme: SigningScheme) -> None:
    # JW151-152, CO159-160: each is REQUIRED in its own scheme and not allowed in the
    # other.
    own, other = SIGNING_TIME, AUTHENTIC_SIGNING_TIME
    if scheme is SigningScheme.SIGNING_AUTHORITY:
        own, other = other, own
    if other in times:
        raise malformed(f"{other} is not allowed in scheme {scheme}")
    if own not in times:
        raise malformed(f"{own} is missing")
    if EXPIRY in times and times[EXPIRY] <= times[own]:  # J11
        raise malformed("the signature expires before it was made")
