"""Run a campaign as tests do: a process of its own, which forks and kills children."""

import os
import re
import subprocess
import sys

SOAK = bool(os.environ.get("ENFORCER_SOAK"))
LIMIT_SECONDS = 4 * 3600 if SOAK else 1800  # a minute or two when nothing else runs


def campaign(*words: str) -> tuple[int, dict[str, int]]:
    """Return how many states it looked at, and how many of each kind were amiss.

    It needs no engine; `full` mounts, and therefore root. What was amiss is printed.
    """
    command = [sys.executable, "-m", "tests.crash", *words]
    if "full" in words:
        command = ["unshare", "--mount", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    print(done.stdout, done.stderr)
    last = (done.stdout or "nothing").splitlines()[-1]
    found = re.match(r"(\d+) [a-z ]+: (\d+) corrupt, (\d+) lost, (\d+) orphans", last)
    assert found, last
    number, corrupt, lost, orphans = map(int, found.groups())
    return number, {"corrupt": corrupt, "lost": lost, "orphans": orphans}


NOTHING = {"corrupt": 0, "lost": 0, "orphans": 0}
