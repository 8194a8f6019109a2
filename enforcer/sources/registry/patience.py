"""How long a registry wants to be left alone: Retry-After (RFC 9110, 10.2.3)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT_SECONDS = 1.0  # where it does not say; doubled each time
MAX_WAIT_SECONDS = 24 * 3600.0  # what it says beyond is not believed

_SECONDS = re.compile("[0-9]{1,9}")


def wait_seconds(
    headers: Mapping[str, str], waits: int, now: datetime | None = None
) -> float:
    """Return for how long not to ask, by a number or an HTTP date."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        seconds = _until(text, now or datetime.now(UTC))
    if seconds <= 0:
        seconds = FIRST_WAIT_SECONDS * 2**waits
    return min(seconds, MAX_WAIT_SECONDS)


def _until(text: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(text) if len(text) < 64 else now
    except ValueError:
        return 0.0
    if moment.tzinfo is None:  # "-0000", a zone nobody knows: UTC (RFC 5322, 3.3)
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
