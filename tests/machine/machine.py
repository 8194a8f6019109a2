"""One fresh Debian 12 that boots under systemd-nspawn, and leaves nothing behind.

Its root file system is an overlay over the one that tests/machine/fetch built, so it
costs nothing to make and every machine is as clean as the first. The kernel is this
machine's: no modules, no clock of its own, and no resource limits where the kernel
still has the old control groups (`docker run --memory` warns, `ctr run` wants
`--cpu-shares 0`). There is no network but its own loopback and Docker's bridge.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.engines.leftovers import (
    CGROUPS,
    descendants,
    remove_cgroup_tree,
    unmount_below,
)
from tests.engines.process import EngineError, wait_until

CACHE = Path(__file__).resolve().parents[2] / ".engines/machine"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}
BOOT_SECONDS = 60  # 1.5 when nothing else runs; a job may hold it up
STOP_SECONDS = 100  # systemd gives a unit 90 before it kills it
COMMAND_SECONDS = 120
CONSOLE_TAIL = 4000
NSPAWN_ENVIRONMENT = {
    # A host that still has the old control groups boots a Debian that has the new.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "LD_LIBRARY_PATH": f"{CACHE}/tools/usr/lib/x86_64-linux-gnu/systemd",
}
# Each machine enters control groups of its own: in one group nspawn would give two
# machines the same `payload`. Without a terminal it shows no console: hence `script`.
START = """
console=$1 nspawn=$2
shift 2
for group; do mkdir "$group"; echo $$ >"$group/cgroup.procs"; done
exec script --quiet --flush --append --command "$nspawn" "$console"
"""
# On ext4 and not on the overlay: overlayfs does not stack, and the engines use it.
OWN_FOLDERS = ("var/lib/docker", "var/lib/containerd")

Done = subprocess.CompletedProcess[str]


class Machine:
    """A host of its own: boots, runs what it is told, and is gone afterwards."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="machine-", dir="/tmp"))
        self.name = self._home.name.replace("_", "-")  # a host name has no underscore
        self._root = self._home / "root"
        self.console_file = self._home / "console"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        for name in ("upper", "work", "root", *OWN_FOLDERS):
            (self._home / name).mkdir(parents=True)
        try:
            self._mount()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Pull the plug, and remove the machine and all its traces."""
        self.kill()
        unmount_below(self._home)
        shutil.rmtree(self._home)

    @property
    def is_running(self) -> bool:
        """Whether it was booted and has not been powered off."""
        return self._process is not None and self._process.poll() is None

    @property
    def console(self) -> str:
        """The end of what appeared on the machine's console since it was made."""
        if not self.console_file.exists():
            return ""
        return self.console_file.read_text(errors="replace")[-CONSOLE_TAIL:]

    def boot(self) -> str:
        """Boot and wait until systemd is done; return `running` or `degraded`."""
        if self.is_running:
            raise EngineError(f"{self.name} is running already")
        nspawn = " ".join(map(str, self._nspawn()))
        groups = map(str, self._groups())
        self._process = subprocess.Popen(
            ["sh", "-euc", START, "sh", str(self.console_file), nspawn, *groups],
            env=ENVIRONMENT | NSPAWN_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait(self._find_leader, "has a first process", BOOT_SECONDS)
        self._wait(lambda: self._state() in ("running", "degraded"), "is up")
        return self._state()

    def poweroff(self) -> None:
        """Shut down as a person would, and wait for the end."""
        self.run("systemctl", "poweroff", check=False)
        self._wait(lambda: not self.is_running, "powers off", STOP_SECONDS)
        self._forget()

    def reboot(self) -> str:
        """Shut down and boot again with the same disk; /run and memory are gone."""
        self.poweroff()
        return self.boot()

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
        self._forget()

    def run(
        self,
        *words: str,
        check: bool = True,
        given: str | None = None,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> Done:
        """Run a program in there as root; while it is off, on its disk alone.

        `given` is what the program reads. With `check`, raise EngineError showing all
        it printed.
        """
        done = subprocess.run(
            [*self._way_in(), *words],
            env=ENVIRONMENT,
            input=given or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise EngineError(
                f"`{' '.join(words)}` exits {done.returncode} on {self.name}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def sh(self, script: str, *, check: bool = True) -> Done:
        """Run lines of shell in there; the first that fails ends them."""
        return self.run("sh", "-euc", script, check=check)

    def write(self, path: str, text: str) -> None:
        """Write a file in there, through whatever links its path has in there."""
        self.run("sh", "-euc", 'mkdir -p "${1%/*}"; cat >"$1"', "sh", path, given=text)

    def read(self, path: str) -> str:
        """Read a file in there."""
        return self.run("cat", path).stdout

    def copy_in(self, source: Path, path: str) -> None:
        """Copy a file or folder of ours to a path in there, which must not exist."""
        packed = subprocess.Popen(
            ["tar", "-C", source.parent, "-c", "--owner=0", "--group=0",
             f"--transform=s,^[^/]*,{path.lstrip('/')},", source.name],
            stdout=subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        with packed:
            unpack = [*self._way_in(), "tar", "-C", "/", "-x"]
            subprocess.run(
                unpack, stdin=packed.stdout, env=ENVIRONMENT, check=True,
                timeout=COMMAND_SECONDS,
            )  # fmt: skip
        if packed.returncode != 0:
            raise EngineError(f"could not copy {source} to {self.name}")

    def copy_out(self, path: str, destination: Path) -> None:
        """Copy one file in there to a path of ours."""
        with destination.open("wb") as file:
            subprocess.run(
                [*self._way_in(), "cat", path], stdout=file, env=ENVIRONMENT,
                check=True, timeout=COMMAND_SECONDS,
            )  # fmt: skip

    def journal(self, unit: str) -> str:
        """What a unit said since the last boot."""
        return self.run("journalctl", "-b", "-u", unit, "-o", "cat", "-n", "200").stdout

    # -- how it is made ---------------------------------------------------------

    def _mount(self) -> None:
        layers = (
            f"lowerdir={CACHE / 'rootfs'},upperdir={self._home / 'upper'},"
            f"workdir={self._home / 'work'}"
        )
        command = ["mount", "-t", "overlay", "-o", layers, self.name, str(self._root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EngineError(f"no overlay at {self._root}: {done.stderr}")

    def _nspawn(self) -> list[str | Path]:
        own = [f"--bind={self._home / name}:/{name}" for name in OWN_FOLDERS]
        return [
            "exec", CACHE / "tools/usr/bin/systemd-nspawn", "--quiet", "--boot",
            f"--directory={self._root}", f"--machine={self.name}", "--hostname=machine",
            # No service manager here is asked to register it or to give it a scope.
            "--register=no", "--keep-unit", "--link-journal=no",
            "--resolv-conf=off", "--timezone=off",
            # What Docker needs: to be root in full, and runc's keyrings and devices.
            "--private-network", "--capability=all",
            "--system-call-filter='add_key keyctl bpf'",
            *own,
        ]  # fmt: skip

    def _find_leader(self) -> bool:
        """The first of nspawn's descendants that is number 1 to those around it."""
        if self._process is None or not self.is_running:
            raise EngineError(f"{self.name} ended at once\n{self.console}")
        for pid in descendants(self._process.pid):
            if _number_inside(pid) == "1":
                self._leader = pid
                return True
        return False

    def _state(self) -> str:
        asked = ("systemctl", "is-system-running")
        return self.run(*asked, check=False).stdout.strip()

    def _way_in(self) -> list[str]:
        if self.is_running:
            return ["nsenter", "--target", str(self._leader), "--all", "--wd=/"]
        return ["chroot", str(self._root)]

    def _wait(
        self, is_done: Callable[[], bool], what: str, seconds: float = BOOT_SECONDS
    ) -> None:
        try:
            wait_until(is_done, f"{self.name} {what}", seconds)
        except EngineError as error:
            raise EngineError(f"{error}\n{self.console}") from error

    def _forget(self) -> None:
        self._process, self._leader = None, 0
        # The kernel takes a moment to see that a group is empty.
        deadline = time.monotonic() + STOP_SECONDS
        while any(group.is_dir() for group in self._groups()):
            remove_cgroup_tree(self.name)
            if time.monotonic() > deadline:
                raise EngineError(f"control groups of {self.name} stay")
            time.sleep(0.02)

    def _groups(self) -> list[Path]:
        """Its group in each hierarchy that systemd uses."""
        found = (CGROUPS, CGROUPS / "unified", CGROUPS / "systemd")
        return [top / self.name for top in found if (top / "cgroup.procs").exists()]


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
