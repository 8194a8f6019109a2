"""Programs that change lists of the system's own: whoever dies, they come to an end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.engines.process import wait_until

_CODE = """
from enforcer.host.install.manager import command
command("sh", "-c", "touch begun; sleep 1; echo said; echo said; touch ended")
"""


def test_a_program_goes_on_though_all_that_called_it_are_killed(tmp_path: Path) -> None:
    """Else systemd-sysusers leaves half of /etc/group beside it."""
    caller = subprocess.Popen(
        [sys.executable, "-c", _CODE], cwd=tmp_path, start_new_session=True
    )
    wait_until(lambda: (tmp_path / "begun").exists(), "it has begun")

    os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()

    assert not (tmp_path / "ended").exists()
    wait_until(lambda: (tmp_path / "ended").exists(), "it has ended")
