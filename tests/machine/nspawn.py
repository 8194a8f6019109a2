"""Start systemd-nspawn on a root file system, and end it without a trace."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.engines.leftovers import CGROUPS, descendants, remove_cgroup_tree
from tests.engines.process import EngineError, wait_until

CACHE = Path(__file__).resolve().parents[2] / ".engines/machine"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}
FIRST_PROCESS_SECONDS = 60  # well under one when nothing else runs
CGROUP_SECONDS = 60  # the kernel takes a moment to see that a group is empty
CONSOLE_TAIL = 4000
_NSPAWN_ENVIRONMENT = {
    # A host that still has the old control groups boots a Debian that has the new.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "LD_LIBRARY_PATH": f"{CACHE}/tools/usr/lib/x86_64-linux-gnu/systemd",
}
# Each machine enters control groups of its own: in one group nspawn would give two
# machines the same `payload`. Without a terminal it shows no console: hence `script`.
_START = """
console=$1 nspawn=$2
shift 2
for group; do mkdir "$group"; echo $$ >"$group/cgroup.procs"; done
exec script --quiet --flush --append --command "$nspawn" "$console"
"""


class Nspawn:
    """One root file system that can be booted, again and again."""

    def __init__(self, name: str, root: Path, console: Path) -> None:
        self.name = name
        self._root = root
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0  # what is process 1 to those inside

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def console(self) -> str:
        """The end of what appeared on the console, whichever boot it was."""
        if not self._console.exists():
            return ""
        return self._console.read_text(errors="replace")[-CONSOLE_TAIL:]

    def start(self) -> None:
        """Start it and wait until there is a first process."""
        command = " ".join(map(str, self._command()))
        groups = map(str, self._groups())
        self._process = subprocess.Popen(
            ["sh", "-euc", _START, "sh", str(self._console), command, *groups],
            env=ENVIRONMENT | _NSPAWN_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        what = f"{self.name} has a first process"
        wait_until(self._has_leader, what, FIRST_PROCESS_SECONDS)

    def kill(self) -> None:
        """Pull the plug: nothing in there gets to finish anything."""
        if self._process is None:
            return
        below = descendants(self._process.pid)
        for pid in [*below, self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not any(map(_exists, below)), f"{self.name} is off")
        self.forget()

    def forget(self) -> None:
        """Remove the control groups of what has ended."""
        self._process, self.leader = None, 0
        deadline = time.monotonic() + CGROUP_SECONDS
        while any(group.is_dir() for group in self._groups()):
            remove_cgroup_tree(self.name)
            if time.monotonic() > deadline:
                raise EngineError(f"control groups of {self.name} stay")
            time.sleep(0.02)

    def _command(self) -> list[str | Path]:
        return [
            "exec", CACHE / "tools/usr/bin/systemd-nspawn", "--quiet", "--boot",
            f"--directory={self._root}", f"--machine={self.name}", "--hostname=machine",
            # No service manager here is asked to register it or to give it a scope.
            "--register=no", "--keep-unit", "--link-journal=no",
            "--resolv-conf=off", "--timezone=off",
            # What Docker needs: to be root in full, and runc's keyrings and devices.
            "--private-network", "--capability=all",
            "--system-call-filter='add_key keyctl bpf'",
        ]  # fmt: skip

    def _groups(self) -> list[Path]:
        """Its group in each hierarchy that systemd uses."""
        tops = (CGROUPS, CGROUPS / "unified", CGROUPS / "systemd")
        return [top / self.name for top in tops if (top / "cgroup.procs").exists()]

    def _has_leader(self) -> bool:
        """Find the first of its descendants that is number 1 to those around it."""
        if self._process is None or self._process.poll() is not None:
            raise EngineError(f"{self.name} ended at once\n{self.console}")
        for pid in descendants(self._process.pid):
            if _number_inside(pid) == "1":
                self.leader = pid
                return True
        return False


def _number_inside(pid: int) -> str:
    """A process's number in its own PID namespace, if that is not ours."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it ended while we looked
        return ""
    (numbers,) = [line.split()[1:] for line in lines if line.startswith("NSpid:")]
    return numbers[-1] if len(numbers) > 1 else ""


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
