"""One of our programs as a service: sockets made for it, and a user of its own."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import enforcer.host
from enforcer.api.sockets import bind_socket
from tests.engines.process import Daemon

UNITS = Path(enforcer.host.__file__).parent / "systemd"
Sockets = Mapping[Path, tuple[int, int]]  # to mode and owner


class Service(Daemon):
    """Keeps one of our processes as its units say: `tests.service` is the launcher.

    Unlike systemd's, its sockets end with it: what asks while it is away is refused at
    once, and a test need not wait for that.
    """

    def __init__(
        self,
        unit: str,
        module: str,
        options: Sequence[str],
        log: Path,
        *,
        user: int = 0,
        writable: Sequence[Path] = (),
    ) -> None:
        """Run a module as `unit` says; `writable` are the folders that gives it."""
        program = [sys.executable, "-m", module, *options]
        folders = [f"--writable={folder}" for folder in writable]
        words = [f"--unit={UNITS / unit}", f"--user={user}", *folders]
        self._launcher = [sys.executable, "-m", "tests.service", *words]
        self._program = program
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
        super().__init__(program, environment, log)

    def serve(self, sockets: Sockets, *, before: Sequence[str] = ()) -> None:
        """Start it with sockets at these paths, and wait until it says it serves."""
        old = len(self.log.read_bytes()) if self.log.exists() else 0
        with contextlib.ExitStack() as stack:
            made = {
                path.name: stack.enter_context(_socket(path, *how)).fileno()
                for path, how in sockets.items()
            }
            words = [f"--socket={name}={handle}" for name, handle in made.items()]
            self._command = [*before, *self._launcher, *words, "--", *self._program]
            self.start(
                lambda: b'"serving"' in self.log.read_bytes()[old:],
                handles=list(made.values()),
            )


@contextlib.contextmanager
def _socket(path: Path, mode: int, owner: int) -> Iterator[socket.socket]:
    with bind_socket(path, mode=mode) as listener:
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
        yield listener
