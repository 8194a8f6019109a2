"""The authorization plug-in's process, under a name no other dockerd lists."""

from pathlib import Path
from types import TracebackType
from typing import Self

import enforcer.hooks.authz
from tests.engines.containerd import accepts
from tests.engines.enforced import SYSTEM_PYTHON, EnforcedHost
from tests.engines.leftovers import leave_folder
from tests.engines.process import Daemon

# dockerd looks for plug-ins here and nowhere else.
PLUGINS = Path("/run/docker/plugins")
_PROGRAM = Path(enforcer.hooks.authz.__file__).with_name("__main__.py")


class Relay:
    """One plug-in for one dockerd; list its `name` in `authorization-plugins`.

    It runs as on a host with a broken virtual environment: the system's Python, and
    nothing but its standard library.
    """

    def __init__(self, host: EnforcedHost, data_root: Path) -> None:
        self.name = host.home.name
        self.socket = PLUGINS / f"{self.name}.sock"
        self.log = host.home / "authz.log"
        command: list[str | Path] = [SYSTEM_PYTHON, "-I", "-S", "-E", _PROGRAM]
        options = {
            "--socket": self.socket,
            "--ask": host.run / "ask.sock",
            "--root": data_root,
            "--gate-conf": host.config / "gate.conf",
            "--gate-log": host.state / "log" / "gate.log",
        }
        words = [word for option in options.items() for word in option]
        self._daemon = Daemon([*command, *words], {"PATH": "/usr/bin:/bin"}, self.log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._daemon.pid

    def start(self) -> Self:
        """Start it and wait until it listens."""
        PLUGINS.mkdir(parents=True, exist_ok=True)
        self._daemon.start(lambda: accepts(self.socket))
        return self

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._daemon.kill()

    def close(self) -> None:
        """Stop it and remove its socket."""
        self._daemon.stop()
        self.socket.unlink(missing_ok=True)
        leave_folder(PLUGINS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
