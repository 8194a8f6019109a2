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

# campaign -> how many states make a naive writer fail
_ENOUGH = {"kills": 100, "cuts": 100, "faults": 100, "full": 1}


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
