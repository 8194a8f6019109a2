"""kill -9 and power cuts: nothing is corrupt, lost or left over.

By hand: `python -m tests.crash kills --count 20000`.
"""

import pytest

from tests.crash.campaign import NOTHING, SOAK, campaign

KILLS = 20_000 if SOAK else 500
CUTS = 0 if SOAK else 700  # 0: every state there is
MORE_CUTS = 2_000 if SOAK else 50  # after each of these faults: 1,000 in all
# A first process is killed at its N-th fsync(2), or told that it failed. What that
# leaves need not last, and the next one must not believe in it.
SYNC_FAULTS = [
    f"{call}:{how}:when={number}"
    for call, how, numbers in (
        ("fsync", "signal=KILL", range(7, 120) if SOAK else (12, 33)),
        ("fsync", "error=EIO", range(1, 120) if SOAK else (20, 41)),
        ("fdatasync", "signal=KILL", range(1, 60) if SOAK else (9,)),
        ("fdatasync", "error=EIO", range(1, 60) if SOAK else (14,)),
    )
    for number in numbers
]


@pytest.mark.parametrize("name", ["kills", "cuts"])
def test_a_naive_writer_fails(name: str) -> None:
    """Or a campaign that finds nothing would prove nothing."""
    _, amiss = campaign(name, "--kept", "naive", "--count", "100")

    assert amiss["corrupt"] > 0


def test_kills_leave_nothing_corrupt_lost_or_orphaned() -> None:
    """T-CA-4: kill -9 at any call and any time of import, gc, sync and recovery."""
    kills, amiss = campaign("kills", "--count", str(KILLS))

    assert (kills, amiss) == (KILLS, NOTHING)


@pytest.mark.parametrize("fault", ["", *SYNC_FAULTS])
def test_power_cuts_leave_nothing_corrupt_lost_or_orphaned(fault: str) -> None:
    """At every operation, with all, none, or some of what was not synced."""
    count = MORE_CUTS if fault else CUTS

    cuts, amiss = campaign("cuts", "--count", str(count), "--fault", fault)

    assert cuts >= count > 0 or SOAK
    assert amiss == NOTHING
