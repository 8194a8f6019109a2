"""What `status` says of the last day: right, and of a bounded size."""

from collections import Counter
from dataclasses import replace

from enforcer.api.tally import MAX_DOORS, OTHERS, SLOT_SECONDS, SLOTS, Tally
from tests.unit.cli.test_cli_log import decided

DAY = SLOT_SECONDS * SLOTS


def test_a_day_is_counted_and_then_forgotten() -> None:
    tally = Tally()
    tally.note(decided(1), 0)
    tally.note(decided(2, allowed=True, asked_by="cri"), DAY / 2)
    first, second = tally.day(DAY / 2), tally.day(DAY + 1)

    assert (first.allowed, first.denied) == (1, 1)
    assert {name: (d.allowed, d.denied) for name, d in first.doors.items()} == {
        "gate": (0, 1),
        "cri": (1, 0),
    }
    assert (second.allowed, second.denied, list(second.doors)) == (1, 0, ["cri"])
    assert tally.day(DAY * 3).durations == Counter()
    assert tally.day(DAY * 3).microseconds(0.99) == 0


def test_durations_are_told_a_tenth_too_large_at_most() -> None:
    tally = Tally()
    for milliseconds in range(1, 101):
        tally.note(replace(decided(1), duration_ms=float(milliseconds)), 0)

    day = tally.day(0)

    assert 50_000 <= day.microseconds(0.5) <= 55_000
    assert 99_000 <= day.microseconds(0.99) <= 109_000


def test_askers_with_ever_new_names_fill_no_memory() -> None:
    """The name is the asker's own word."""
    tally = Tally()
    for number in range(1000):
        tally.note(decided(1, asked_by=f"door{number}"), number)

    doors = tally.day(1000).doors
    assert len(doors) <= 2 * MAX_DOORS + 2
    assert sum(door.denied for door in doors.values()) == 1000
    assert OTHERS in doors


def test_slots_are_a_day_at_most() -> None:
    tally = Tally()
    for number in range(3 * SLOTS):
        tally.note(decided(1), number * SLOT_SECONDS)

    assert tally.day(3 * DAY - 1).denied == SLOTS
