"""One fresh Debian 12 that boots under systemd-nspawn, and leaves nothing behind.

Its root file system is an overlay over the one that tests/machine/fetch built, so it
costs nothing to make and every machine is as clean as the first. The kernel is this
machine's: no modules, no clock of its own, and no resource limits where the kernel
still has the old control groups (`docker run --memory` warns, `ctr run` wants
`--cpu-shares 0`). There is no network but its own loopback and Docker's bridge.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.engines.leftovers import unmount_below
from tests.engines.process import EngineError, wait_until
from tests.machine.nspawn import CACHE, ENVIRONMENT, Nspawn

BOOT_SECONDS = 180  # 1.5 when nothing else runs; a job may hold it up
STOP_SECONDS = 180  # systemd gives a unit 90 before it kills it
COMMAND_SECONDS = 300  # the longest is `pip install`
# On ext4 and not on the overlay: overlayfs does not stack, and the engines use it.
OWN_FOLDERS = ("var/lib/docker", "var/lib/containerd")

Done = subprocess.CompletedProcess[str]


class Machine:
    """A host of its own: boots, runs what it is told, and is gone afterwards.

    With `base`, a machine that is off and stays off, it starts with that one's disk.
    """

    def __init__(self, base: Self | None = None) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="machine-", dir="/tmp"))
        self.name = self._home.name.replace("_", "0")  # a host name has no underscore
        self._root = self._home / "root"
        self._base = base
        self._nspawn = Nspawn(self.name, self._root, self._home / "console")

    def __enter__(self) -> Self:
        try:
            for name in ("upper", "work", "root"):
                (self._home / name).mkdir()
            for name in OWN_FOLDERS:
                if self._base is None:
                    (self._home / name).mkdir(parents=True)
                else:
                    self._copy_from(self._base, name)
            self._assemble()
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
        return self._nspawn.is_running

    @property
    def console(self) -> str:
        """The end of what appeared on its console."""
        return self._nspawn.console

    def boot(self) -> str:
        """Boot and wait until systemd is done; return `running` or `degraded`."""
        if self.is_running:
            raise EngineError(f"{self.name} is running already")
        self._nspawn.start()
        up = ("running", "degraded")
        self._wait(lambda: self._state() in up, "is up", BOOT_SECONDS)
        return self._state()

    def poweroff(self) -> None:
        """Shut down as a person would, and wait for the end."""
        self.run("systemctl", "poweroff", check=False)
        self._wait(lambda: not self.is_running, "powers off", STOP_SECONDS)
        self._nspawn.forget()

    def reboot(self) -> str:
        """Shut down and boot again with the same disk; /run and memory are gone."""
        self.poweroff()
        return self.boot()

    def kill(self) -> None:
        """Pull the plug: nothing in there gets to finish anything."""
        self._nspawn.kill()

    def run(
        self,
        *words: str,
        check: bool = True,
        given: str = "",
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> Done:
        """Run a program in there as root; while it is off, on its disk alone.

        `given` is what the program reads. With `check`, raise EngineError showing all
        it printed.
        """
        done = subprocess.run(
            [*self._way_in(), *words],
            env=ENVIRONMENT,
            input=given,
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
        renamed = f"--transform=s,^[^/]*,{path.lstrip('/')},S"
        pack = [
            "tar",
            "-C",
            str(source.parent),
            "--owner=0",
            "--group=0",
            renamed,
            "-c",
        ]
        with tempfile.TemporaryFile() as packed:
            subprocess.run([*pack, source.name], stdout=packed, check=True)
            packed.seek(0)
            unpack = [*self._way_in(), "tar", "-C", "/", "-x"]
            subprocess.run(unpack, stdin=packed, env=ENVIRONMENT, check=True)

    def copy_out(self, path: str, destination: Path) -> None:
        """Copy one file in there to a path of ours."""
        with destination.open("wb") as file:
            command = [*self._way_in(), "cat", path]
            subprocess.run(command, stdout=file, env=ENVIRONMENT, check=True)

    def journal(self, unit: str) -> str:
        """What a unit said since the last boot."""
        return self.run("journalctl", "-b", "-u", unit, "-o", "cat", "-n", "200").stdout

    # -- its disk ---------------------------------------------------------------

    @property
    def _layers(self) -> list[Path]:
        below = self._base._layers if self._base else [CACHE / "rootfs"]
        return [self._home / "upper", *below]

    def _assemble(self) -> None:
        lower = ":".join(map(str, self._layers[1:]))
        options = (
            f"lowerdir={lower},upperdir={self._layers[0]},workdir={self._home}/work"
        )
        self._mount("-t", "overlay", "-o", options, self.name, str(self._root))
        for name in OWN_FOLDERS:
            (self._root / name).mkdir(parents=True, exist_ok=True)
            self._mount("--bind", str(self._home / name), str(self._root / name))

    def _mount(self, *words: str) -> None:
        done = subprocess.run(["mount", *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise EngineError(f"mount {' '.join(words)}: {done.stderr}")

    def _copy_from(self, base: Self, name: str) -> None:
        if base.is_running:
            raise EngineError(f"{base.name} is running: its disk changes")
        unmount_below(base._home)  # what is a lower layer here is no upper one there
        (self._home / name).parent.mkdir(parents=True, exist_ok=True)
        # With cp, not shutil: a layer's whiteouts are device nodes.
        copied = ["cp", "-a", str(base._home / name), str(self._home / name)]
        subprocess.run(copied, check=True, env=ENVIRONMENT)

    def _state(self) -> str:
        asked = ("systemctl", "is-system-running")
        return self.run(*asked, check=False).stdout.strip()

    def _way_in(self) -> list[str]:
        if self.is_running:
            leader = str(self._nspawn.leader)
            return ["nsenter", "--target", leader, "--all", "--wdns=/"]
        return ["chroot", str(self._root)]

    def _wait(self, is_done: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            wait_until(is_done, f"{self.name} {what}", seconds)
        except EngineError as error:
            raise EngineError(f"{error}\n{self.console}") from error
