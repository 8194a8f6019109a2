"""What was decided within the last day: how much, how fast, and who asked.

In memory, of a size that does not depend on what is asked. It begins with the daemon.
"""

import math
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import datetime

from enforcer.core.record import DecisionRecord

SLOT_SECONDS = 900
SLOTS = 96  # a day
MAX_DOORS = 16  # names that askers give themselves; further ones are OTHERS
OTHERS = "others"
_STEPS = 8  # of durations, to the doubling: none is told more than 9 % too large


@dataclass(frozen=True, slots=True)
class DoorTally:
    """What one door asked: how often, and when last."""

    allowed: int
    denied: int
    asked_at: datetime


@dataclass(slots=True)
class Day:
    """Decisions of a time; `durations` counts them by logarithmic steps."""

    allowed: int = 0
    denied: int = 0
    durations: Counter[int] = field(default_factory=Counter)
    doors: dict[str, DoorTally] = field(default_factory=dict)

    def add(self, other: "Day") -> None:
        """Add what came later."""
        self.allowed += other.allowed
        self.denied += other.denied
        self.durations.update(other.durations)
        for name, door in other.doors.items():
            before = self.doors.get(name, replace(door, allowed=0, denied=0))
            self.doors[name] = DoorTally(
                before.allowed + door.allowed,
                before.denied + door.denied,
                door.asked_at,
            )

    def microseconds(self, share: float) -> int:
        """Return what so many decisions took at most, such as 0.99 of them."""
        left = math.ceil(share * self.durations.total())
        for step in sorted(self.durations):
            left -= self.durations[step]
            if left <= 0:
                return math.ceil(2 ** (step / _STEPS))
        return 0


class Tally:
    """Counts decisions. For one thread."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, Day]] = deque(maxlen=SLOTS)

    def note(self, record: DecisionRecord, now: float) -> None:
        """Count a decision; `now` is a time.monotonic()."""
        number = int(now // SLOT_SECONDS)
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append((number, Day()))
        allowed = record.decision.allowed
        took = max(record.duration_ms * 1000, 1)
        self._slots[-1][1].add(
            Day(
                int(allowed),
                int(not allowed),
                Counter({math.ceil(_STEPS * math.log2(took)): 1}),
                {
                    self._door(record.asked_by): DoorTally(
                        int(allowed), int(not allowed), record.at
                    )
                },
            )
        )

    def day(self, now: float) -> Day:
        """Return what was decided in the day before a time.monotonic()."""
        oldest = int(now // SLOT_SECONDS) - SLOTS
        found = Day()
        for number, slot in self._slots:
            if number > oldest:
                found.add(slot)
        return found

    def _door(self, name: str) -> str:
        doors = self._slots[-1][1].doors
        return name if name in doors or len(doors) < MAX_DOORS else OTHERS
