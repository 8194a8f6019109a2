"""kill -9, power cuts, failing calls and full disks: nothing is corrupt, lost or left.

Each campaign is a process of its own, as it forks children that it kills. By hand:
`python -m tests.crash kills --count 20000`.
"""

import os
import re
import subprocess
import sys

import pytest

SOAK = bool(os.environ.get("ENFORCER_SOAK"))
LIMIT_SECONDS = 4 * 3600 if SOAK else 240

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
_NOTHING = "0 corrupt, 0 lost, 0 orphans"

# campaign -> how much of it makes a naive writer fail
_ENOUGH = {"kills": 100, "cuts": 100, "faults": 100, "full": 5}


def campaign(*words: str) -> str:
    """Run one, and return its last line; what was amiss goes to our own output."""
    command = [sys.executable, "-m", "tests.crash", *words]
    if "full" in words:
        command = ["unshare", "--mount", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    print(done.stdout, done.stderr)
    return (done.stdout or done.stderr).splitlines()[-1]


@pytest.mark.parametrize("name", _ENOUGH)
def test_a_naive_writer_fails(name: str) -> None:
    """Or a campaign that finds nothing would prove nothing."""
    if name == "full" and os.geteuid() != 0:
        pytest.skip("mounting needs root")

    said = campaign(name, "--kept", "naive", "--count", str(_ENOUGH[name]))

    found = re.match(r"\d+ [a-z ]+: (\d+) corrupt, ", said)
    assert found
    assert int(found[1]) > 0


def test_kills_leave_nothing_corrupt_lost_or_orphaned() -> None:
    """T-CA-4: kill -9 at any call and any time of import, gc, sync and recovery."""
    said = campaign("kills", "--count", str(KILLS))

    assert said.startswith(f"{KILLS} kills: {_NOTHING}")


@pytest.mark.parametrize("fault", ["", *SYNC_FAULTS])
def test_power_cuts_leave_nothing_corrupt_lost_or_orphaned(fault: str) -> None:
    """At every operation, with all, none, or some of what was not synced."""
    count = MORE_CUTS if fault else CUTS

    said = campaign("cuts", "--count", str(count), "--fault", fault)

    assert re.match(rf"{count or '[0-9]+'} power cuts: {_NOTHING}", said)
