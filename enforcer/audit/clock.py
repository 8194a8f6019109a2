"""The host's clock, and names for decisions."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing looks alike


class HostClock:
    """Tells the host's time."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)

    def new_id(self) -> str:
        """Return 16 letters and digits: milliseconds since 1970, then chance."""
        number = (int(self.now().timestamp() * 1000) << 32) | secrets.randbits(32)
        return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -1, -5))


@dataclass(frozen=True, slots=True)
class FixedClock:
    """Stands still, for `verify --at`."""

    at: datetime

    def now(self) -> datetime:
        """Return the one time it knows."""
        return self.at

    def new_id(self) -> str:
        """Return a name by the real time: ids stay unique and sortable."""
        return HostClock().new_id()
