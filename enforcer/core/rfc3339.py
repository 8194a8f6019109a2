"""Times as RFC 3339 writes them: read strictly, always aware, always UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

from enforcer.core.errors import MalformedError, clip

# RFC 3339 5.6. Upper-case T and Z only: Go, which notation is written in, refuses
# the lower-case ones. At most nanoseconds, the finest Go writes.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def parse_rfc3339(text: str) -> datetime:
    """Read a date and time; what is finer than a microsecond is cut off.

    Raises:
        MalformedError: Not RFC 3339, or no such time. A leap second is no such
            time here, as in Go.
    """
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return _time(match)
    except (ValueError, OverflowError) as error:
        raise MalformedError(
            f'"{clip(text, limit=40)}" is not a date and time',
            remedy='Expected RFC 3339, such as "2026-01-31T12:00:00Z".',
        ) from error


def format_rfc3339(at: datetime) -> str:
    """Write an aware time in UTC, to the second: `2026-01-31T12:00:00Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def _time(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    microsecond = int((match[7] or "").ljust(6, "0")[:6])
    zone = UTC if match[8] is None else _offset(match[8], match[9], match[10])
    local = datetime(year, month, day, hour, minute, second, microsecond, zone)
    return local.astimezone(UTC)


def _offset(sign: str, hours: str, minutes: str) -> timezone:
    if int(minutes) > 59:
        raise ValueError("offset out of range")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)
