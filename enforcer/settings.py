"""enforcer.yaml into one frozen value, or every problem at once with its line.

Knows names and defaults, opens one file, and builds nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.files import FileMissingError, read_file

API_VERSION = "enforcer/v1"
MAX_SETTINGS_BYTES = 1024 * 1024
MAX_DEADLINE_SECONDS = 3  # the gate itself waits four
LEVELS = ("permissive", "audit", "skip")

DEFAULT_CONFIG_DIR = Path("/etc/enforcer")
DEFAULT_STATE_DIR = Path("/var/lib/enforcer")
DEFAULT_RUN_DIR = Path("/run/enforcer")
DEFAULT_LOG_DIR = Path("/var/log/enforcer")


class SettingsError(EnforcerError):
    """enforcer.yaml is missing where it must be, or has problems."""

    default_code = Code.SETTINGS_INVALID


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One engine on this host.

    Attributes:
        kind: docker or containerd. A docker engine needs its containerd listed too.
        socket: containerd's gRPC socket (for docker: the one it uses).
        root: Where it keeps images: /var/lib/containerd, /var/lib/docker.
        state: Where it keeps what runs: /run/containerd, /run/docker.
    """

    kind: str
    socket: Path
    root: Path
    state: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything enforcer.yaml says, with the defaults of design section 5."""

    config_dir: Path
    state_dir: Path
    run_dir: Path
    log_dir: Path
    mode: str = "enforce"
    notation_config: Path | None = None
    allow_levels: tuple[str, ...] = ()
    builds: str = "deny"
    engines: tuple[EngineSettings, ...] = ()
    deadline_seconds: int = MAX_DEADLINE_SECONDS

    @property
    def cache_dir(self) -> Path:
        """Where the signature cache lives."""
        return self.state_dir / "cache"

    @property
    def trust_dir(self) -> Path:
        """The x509 trust stores of the policy in force."""
        if self.notation_config:
            return self.notation_config / "truststore" / "x509"
        return self.config_dir / "trust" / "x509"


DEFAULT_ENGINES = (
    EngineSettings(
        "containerd",
        Path("/run/containerd/containerd.sock"),
        Path("/var/lib/containerd"),
        Path("/run/containerd"),
    ),
    EngineSettings(
        "docker",
        Path("/run/containerd/containerd.sock"),
        Path("/var/lib/docker"),
        Path("/run/docker"),
    ),
)


def load_settings(
    config_dir: Path | None = None,
    state_dir: Path | None = None,
    run_dir: Path | None = None,
) -> Settings:
    """Read `enforcer.yaml` in the configuration folder; folders given here win.

    Without the file the defaults hold: mode enforce and no policy, so everything
    is denied.

    Raises:
        SettingsError: Every problem in the file, each with its line.
        FileNotTrustedError: Somebody else than root could change it.
    """
    folder = config_dir or DEFAULT_CONFIG_DIR
    path = folder / "enforcer.yaml"
    try:
        raw = read_file(path, max_bytes=MAX_SETTINGS_BYTES, trusted=True)
    except FileMissingError:
        raw = b"apiVersion: enforcer/v1\n"
    reader = _Reader(str(path))
    found = reader.document(raw)
    state = state_dir or found.pop("stateDir", None) or DEFAULT_STATE_DIR
    log = found.pop("logDir", None)
    if log is None:
        log = DEFAULT_LOG_DIR if state == DEFAULT_STATE_DIR else state / "log"
    values = {_FIELDS[name]: value for name, value in found.items() if name in _FIELDS}
    return Settings(
        config_dir=folder,
        state_dir=state,
        run_dir=run_dir or found.pop("runDir", None) or DEFAULT_RUN_DIR,
        log_dir=log,
        **{"engines": DEFAULT_ENGINES, **values},
    )


_FIELDS = {
    "mode": "mode",
    "notationConfig": "notation_config",
    "notation": "allow_levels",
    "builds": "builds",
    "engines": "engines",
    "deadlineSeconds": "deadline_seconds",
}

_Check = Callable[["_Reader", yaml.Node], Any]


@dataclass
class _Reader:
    """Walks the YAML node tree, which knows lines, and gathers problems."""

    path: str
    problems: list[str] = field(default_factory=list)

    def document(self, raw: bytes) -> dict[str, Any]:
        """Return the members that were given, checked; or raise all problems."""
        try:
            node = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(
                f"{self.path} is not YAML: {clip(' '.join(str(error).split()))}",
                remedy="Mend it, or start from the example in README.md.",
            ) from error
        found = self.mapping(node, _TOP, required=("apiVersion",)) if node else {}
        if self.problems:
            listed = "; ".join(self.problems)
            raise SettingsError(
                f"{len(self.problems)} problem(s) in {self.path}: {listed}",
                remedy="Mend them all, then `systemctl reload enforcer`.",
            )
        return found

    def problem(self, node: yaml.Node, text: str) -> None:
        """Note a problem with its line."""
        self.problems.append(f"{self.path}:{node.start_mark.line + 1}: {text}")

    def mapping(
        self,
        node: yaml.Node,
        checks: Mapping[str, _Check],
        *,
        required: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Check a mapping: known keys only, each once, the required ones there."""
        found: dict[str, Any] = {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, "expected a mapping of keys to values")
            return found
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in checks:
                known = ", ".join(checks)
                self.problem(key, f'unknown key "{clip(name)}"; known are {known}')
            elif name in found:
                self.problem(key, f'"{name}" is there twice')
            else:
                found[name] = checks[name](self, value)
        for name in required:
            if name not in found:
                self.problem(node, f'"{name}" is missing')
        return found


def _text(reader: _Reader, node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
        return str(node.value)
    reader.problem(node, "expected text")
    return ""


def _one_of(*accepted: str) -> _Check:
    def check(reader: _Reader, node: yaml.Node) -> str:
        value = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        if value not in accepted:
            reader.problem(node, f'"{clip(value)}" is not one of {", ".join(accepted)}')
        return value

    return check


def _path(reader: _Reader, node: yaml.Node) -> Path:
    path = Path(_text(reader, node))
    if not path.is_absolute() or ".." in path.parts:
        reader.problem(node, f'"{clip(str(path))}" is not an absolute path')
    return path


def _seconds(reader: _Reader, node: yaml.Node) -> int:
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    allowed = [str(n) for n in range(1, MAX_DEADLINE_SECONDS + 1)]
    if text not in allowed:
        reader.problem(node, f"expected one of {', '.join(allowed)} (seconds)")
        return MAX_DEADLINE_SECONDS
    return int(text)


def _items(reader: _Reader, node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    reader.problem(node, "expected a list")
    return []


def _allow_levels(reader: _Reader, node: yaml.Node) -> tuple[str, ...]:
    found = reader.mapping(node, {"allowLevels": _levels}, required=("allowLevels",))
    levels = found.get("allowLevels")
    return levels if isinstance(levels, tuple) else ()


def _levels(reader: _Reader, node: yaml.Node) -> tuple[str, ...]:
    check = _one_of(*LEVELS)
    return tuple(check(reader, item) for item in _items(reader, node))


def _engines(reader: _Reader, node: yaml.Node) -> tuple[EngineSettings, ...]:
    names = {"kind": _one_of("docker", "containerd")}
    names |= dict.fromkeys(("socket", "root", "state"), _path)
    engines = []
    for item in _items(reader, node):
        found = reader.mapping(item, names, required=tuple(names))
        if len(found) == len(names):
            engines.append(EngineSettings(**found))
    return tuple(engines)


_TOP: dict[str, _Check] = {
    "apiVersion": _one_of(API_VERSION),
    "mode": _one_of("enforce", "monitor"),
    "notationConfig": _path,
    "notation": _allow_levels,
    "builds": _one_of("deny", "allow"),
    "engines": _engines,
    "deadlineSeconds": _seconds,
    "stateDir": _path,
    "runDir": _path,
    "logDir": _path,
}
