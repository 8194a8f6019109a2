"""A service manager for one of our programs: notifications and sockets."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

WAIT_SECONDS = 60  # a loaded two-core machine; a program of ours needs one

LISTENING = "00010000"  # of /proc/net/unix: __SO_ACCEPTCON


class Systemd:
    """Plays service manager for one program: starts it and hears what it says."""

    def __init__(self, home: Path, module: str) -> None:
        self.home = home
        self._module = module
        self.said = b""
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(home / "notify"))
        (home / "notify").chmod(0o777)  # as systemd's own
        self._channel.settimeout(WAIT_SECONDS)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        *options: str,
        before: Sequence[str] = (),
        handles: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start the daemon; `before` is a program that starts it for us.

        `handles` are descriptors it is given, under the same numbers.
        """
        folders = [f"--{n}-dir={self.home / n}" for n in ("config", "state", "run")]
        told = {"NOTIFY_SOCKET": str(self.home / "notify"), "WATCHDOG_USEC": "400000"}
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", self._module, *folders, *options],
                env=os.environ | told,
                stderr=log,
                pass_fds=handles,
            )
        self._processes.append(process)
        return process

    @property
    def pid(self) -> int:
        """The process id of what was started last."""
        return self._processes[-1].pid

    def hears(self, words: bytes) -> bytes:
        """Wait until the daemon says something with these words; return all of it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            said = self._channel.recv(4096)
            if words in said:
                return said
        raise AssertionError(f"never heard {words!r}")

    def drain(self) -> None:
        """Listen to what was said since, as a service manager does."""
        while select.select([self._channel], [], [], 0)[0]:
            self._channel.recv(4096)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._channel.close()


def wait_for_listener(*paths: Path) -> None:
    """Wait until somebody listens at each path: bound, one still refuses."""
    until = time.monotonic() + WAIT_SECONDS
    missing = {str(path) for path in paths}
    while missing:
        assert time.monotonic() < until, f"nobody listens at {missing}"
        time.sleep(0.01)
        for line in Path("/proc/net/unix").read_text().splitlines():
            words = line.split()
            if words[3] == LISTENING:
                missing.discard(words[-1])


@contextlib.contextmanager
def managing(module: str) -> Iterator[Systemd]:
    """Play service manager for a module, in folders of its own and without settings."""
    # Unix socket paths are limited to 108 bytes: pytest's folders are too long.
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        manager = Systemd(Path(folder), module)
        (manager.home / "config").mkdir()
        with contextlib.closing(manager):
            yield manager
