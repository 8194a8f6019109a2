"""What every check looks through: settings, places, the clock, and engines as found.

Each engine is looked for once, and asked once, however many checks want to know: a
hung one costs its timeout a single time.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import Json
from enforcer.files import FileMissingError, read_file
from enforcer.host.asking import asks, likely_first
from enforcer.host.doctor.ask import (
    cri_configuration,
    fetch_json,
    parsed,
    run_program,
)
from enforcer.host.doctor.finding import AS_ROOT, UnseenError
from enforcer.host.processes import (
    Process,
    holders,
    listening,
    load_process,
    server_of,
)
from enforcer.ports import Clock
from enforcer.settings import EngineSettings, Settings

DEFAULT_CONFIG = "/etc/containerd/config.toml"
MAX_CONFIG_BYTES = 1024 * 1024
# A database that each engine holds open as long as it runs, below its root.
HELD = {
    "containerd": ("io.containerd.metadata.v1.bolt/meta.db",),
    "docker": ("volumes/metadata.db", "network/files/local-kv.db"),
}

_T = TypeVar("_T")
Tree = Mapping[str, Any]  # of a configuration: whoever reads it checks each value


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are that belong to neither us nor an engine.

    Attributes:
        root: Where systemd's folders are.
        docker_plugins: Where dockerd looks for plug-ins' sockets.
        docker_plugin: What dockerd knows ours as.
        dpkg: dpkg's database.
    """

    root: Path = Path("/")
    docker_plugins: Path = Path("/run/docker/plugins")
    docker_plugin: str = "enforcer"
    dpkg: Path = Path("/var/lib/dpkg")


@dataclass(frozen=True)
class Look:
    """One examination of one host."""

    settings: Settings
    clock: Clock
    places: Places = Places()
    _known: dict[object, object] = field(default_factory=dict)

    def engines(self, kind: str = "") -> list[EngineSettings]:
        """Return the engines of enforcer.yaml that this host has at all."""
        return [
            engine
            for engine in self.settings.engines
            if kind in ("", engine.kind) and self.has(engine)
        ]

    def has(self, engine: EngineSettings) -> bool:
        """Whether there is a trace of it: the default settings list two."""
        named = engine.kind == "containerd" and os.path.lexists(engine.socket)
        return named or os.path.lexists(engine.root)

    def process(self, engine: EngineSettings) -> Process:
        """Return the engine's daemon; UnseenError where none runs."""
        return self._once(("process", engine), lambda: _process(engine))

    def configuration(self, engine: EngineSettings) -> Tree:
        """Return what a containerd makes of its own configuration files."""
        return self._once(
            ("configuration", engine), lambda: _configuration(self.process(engine))
        )

    def cri(self, engine: EngineSettings) -> dict[str, Json] | None:
        """Return what a running containerd's CRI runs with; None without CRI."""
        self.process(engine)
        return self._once(("cri", engine), lambda: cri_configuration(engine.socket))

    def docker_info(self, engine: EngineSettings) -> dict[str, Json]:
        """Return what a running dockerd says about itself."""
        return self._once(
            ("info", engine), lambda: _docker_info(engine, self.process(engine))
        )

    def asks_plugin(self, engine: EngineSettings) -> bool:
        """Whether a running dockerd asks our plug-in: `docker info` does not say so."""
        return self._once(
            ("asks", engine), lambda: _asks(self.process(engine), self.plugin_socket)
        )

    @property
    def plugin_socket(self) -> Path:
        """Where dockerd finds our plug-in."""
        return self.places.docker_plugins / f"{self.places.docker_plugin}.sock"

    def daemon_json(self, engine: EngineSettings) -> dict[str, Json]:
        """Return dockerd's configuration file, for when it cannot be asked."""
        return self._once(("file", engine), lambda: _daemon_json(self.process(engine)))

    def _once(self, key: object, find: Callable[[], _T]) -> _T:
        if key not in self._known:
            try:
                self._known[key] = find()
            except UnseenError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, UnseenError):
            raise UnseenError(*known.parts)
        return cast("_T", known)


def _process(engine: EngineSettings) -> Process:
    """Find a daemon by the socket it serves, or the files it holds; never by name."""
    code, mend = Code.ENGINE_ABSENT, f"systemctl status {engine.kind}"
    try:
        if engine.kind == "containerd":
            return load_process(server_of(engine.socket))
        for name in HELD["docker"]:
            if (engine.root / name).exists():
                for pid in sorted(holders(engine.root / name)):
                    return load_process(pid)
        why = f"nothing holds the databases in {engine.root} open"
    except OSError as error:
        if isinstance(error, PermissionError):
            code, mend = Code.UNSEEN, AS_ROOT
        why = f"{error.strerror or error}: {error.filename or engine.socket}"
    what = f"enforcer.yaml lists it, and its process was not found: {why}"
    raise UnseenError(_name(engine), what, mend, code)


def _configuration(process: Process) -> Tree:
    """Have the very program that runs print what it makes of its files."""
    config = process.option("-c", "--config") or DEFAULT_CONFIG
    program = f"/proc/{process.pid}/exe"
    cwd = f"/proc/{process.pid}/cwd"
    status, printed = run_program(
        [program, "--config", config, "config", "dump"], cwd=cwd
    )
    try:
        if status == 0:
            return tomllib.loads(printed.decode())
        why = f"`containerd --config {config} config dump` ended with status {status}"
    except ValueError as error:  # no TOML, or no UTF-8
        why = f"what `containerd config dump` prints cannot be read: {error}"
    raise UnseenError(
        f"containerd (pid {process.pid})",
        why,
        f"containerd --config {config} config dump",
    )


def _docker_info(engine: EngineSettings, process: Process) -> dict[str, Json]:
    """Ask dockerd on the socket it listens on: enforcer.yaml does not name it."""
    own = [p for p in listening(process.pid) if not p.is_relative_to(engine.state)]
    for path in likely_first(own):
        return fetch_json(path, "/info")
    raise UnseenError(_name(engine), "dockerd listens on no unix socket", "docker info")


def _asks(process: Process, plugin: Path) -> bool:
    try:
        return asks(process.pid, plugin)
    except OSError as error:
        mend = AS_ROOT if isinstance(error, PermissionError) else "docker version"
        what = f"whether dockerd asks it is not known: {error.strerror}"
        raise UnseenError(str(plugin), what, mend) from error


def _daemon_json(process: Process) -> dict[str, Json]:
    path = Path(process.option("--config-file") or "/etc/docker/daemon.json")
    try:
        found = parsed(path, read_file(path, max_bytes=MAX_CONFIG_BYTES) or b"{}")
    except FileMissingError:
        return {}
    except EnforcerError as error:
        raise UnseenError(str(path), error.what, f"cat {path}") from error
    return found if isinstance(found, dict) else {}


def _name(engine: EngineSettings) -> str:
    return f"{engine.kind} ({engine.root})"


def under(tree: object, *names: str) -> Any:
    """Return what stands below these names of a configuration; None if nothing."""
    for name in names:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(name)
    return tree
