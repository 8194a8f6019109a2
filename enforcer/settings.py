"""enforcer.yaml into one frozen value, or every problem at once with its line.

Knows names and defaults, opens one file, and builds nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.host_policy import ON_DENIED
from enforcer.core.strictyaml import (
    Check,
    Node,
    YamlReader,
    digest,
    list_of,
    listed_problems,
    one_of,
    plain,
    shown,
)
from enforcer.files import (
    FileError,
    FileMissingError,
    read_file,
    require_trusted_folder,
)

API_VERSION = "enforcer/v1"
MAX_SETTINGS_BYTES = 64 * 1024  # a hundred engines
MAX_DEADLINE_SECONDS = 3  # the gate itself waits four
MAX_EVERY_SECONDS = 24 * 3600
MAX_GRACE_SECONDS = 600  # kubelet's usual is 30, Docker's 10
LEVELS = ("permissive", "audit", "skip")

_EVERY = re.compile(r"([1-9][0-9]{0,3})([mh])")

DEFAULT_CONFIG_DIR = Path("/etc/enforcer")
DEFAULT_STATE_DIR = Path("/var/lib/enforcer")
DEFAULT_API = Path("/run/docker.sock")
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
        api: Docker's own socket, of its Engine API.
        authz: The authorization plug-in of ours that this Docker is to have, by the
            name it is listed under; "" promises none.
    """

    kind: str
    socket: Path
    root: Path
    state: Path
    api: Path = DEFAULT_API
    authz: str = ""


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """A Notation verification plug-in that may run, if it is exactly this program."""

    name: str
    path: Path
    digest: Digest


@dataclass(frozen=True, slots=True)
class NotationSettings:
    """How far a Notation policy is followed beyond strict verification.

    Attributes:
        allow_levels: Levels laxer than strict that count.
        plugins: Verification plug-ins that may run.
        crl_cache: Notation's own cache of revocation lists, read as evidence.
    """

    allow_levels: tuple[str, ...] = ()
    plugins: tuple[PluginSettings, ...] = ()
    crl_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How what runs is judged again.

    Attributes:
        every_seconds: Without any change, this often.
        on_denied: report or stop; "" where the policy may say.
        grace_seconds: How long what is stopped has to end by itself.
    """

    every_seconds: int = 15 * 60
    on_denied: str = ""
    grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything enforcer.yaml says, with the defaults of design section 5."""

    config_dir: Path
    state_dir: Path
    run_dir: Path
    log_dir: Path
    mode: str = "enforce"
    notation_config: Path | None = None
    policy_dir: Path | None = None
    notation: NotationSettings = NotationSettings()
    builds: str = "deny"
    engines: tuple[EngineSettings, ...] = ()
    deadline_seconds: int = MAX_DEADLINE_SECONDS
    sweep: SweepSettings = SweepSettings()

    @property
    def cache_dir(self) -> Path:
        """Where the signature cache lives."""
        return self.state_dir / "cache"

    @property
    def audit_dir(self) -> Path:
        """Where enforcerd alone writes; the folder it is in is root's."""
        return self.log_dir / "audit"

    @property
    def policy_place(self) -> Path:
        """Where the policy is: Notation's folder, or the host policy's."""
        return self.notation_config or self.policy_dir or self.config_dir / "policy.d"

    @property
    def trust_dir(self) -> Path:
        """The x509 trust stores of the policy in force."""
        if self.notation_config:
            return self.notation_config / "truststore" / "x509"
        return self.config_dir / "trust" / "x509"


DEFAULT_ENGINES = tuple(
    EngineSettings(
        kind,
        Path("/run/containerd/containerd.sock"),
        Path(f"/var/lib/{kind}"),
        Path(f"/run/{kind}"),
    )
    for kind in ("containerd", "docker")
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
    folder = (config_dir or DEFAULT_CONFIG_DIR).absolute()
    found = _load(folder)
    state = state_dir or found.pop("stateDir", None) or DEFAULT_STATE_DIR
    log = found.pop("logDir", None)
    if log is None:
        log = DEFAULT_LOG_DIR if state == DEFAULT_STATE_DIR else state / "log"
    values = {_FIELDS[name]: value for name, value in found.items() if name in _FIELDS}
    return Settings(
        config_dir=folder,
        state_dir=state.absolute(),
        run_dir=(run_dir or found.pop("runDir", None) or DEFAULT_RUN_DIR).absolute(),
        log_dir=log.absolute(),
        **{"engines": DEFAULT_ENGINES, **values},
    )


def _load(folder: Path) -> dict[str, Any]:
    path = folder / "enforcer.yaml"
    try:
        raw = read_file(path, max_bytes=MAX_SETTINGS_BYTES, trusted=True, follow=False)
        require_trusted_folder(folder)  # or the file could be exchanged
    except FileMissingError:
        return {}
    except (FileError, TooLargeError) as error:
        raise SettingsError(error.what, remedy=error.remedy) from error
    return _document(str(path), raw)


_FIELDS = {
    "mode": "mode",
    "notationConfig": "notation_config",
    "policyDir": "policy_dir",
    "notation": "notation",
    "builds": "builds",
    "engines": "engines",
    "deadlineSeconds": "deadline_seconds",
    "sweep": "sweep",
}


def _document(path: str, raw: bytes) -> dict[str, Any]:
    """Return the members that were given, checked; or raise all problems."""
    reader = YamlReader(path)
    try:
        node = reader.compose(raw)
    except MalformedError as error:
        raise SettingsError(error.what, remedy=error.remedy) from error
    if node is None:
        reader.problems.append(
            f'{path}:1: the file is empty; expected "apiVersion: {API_VERSION}" and '
            "what differs from the defaults"
        )
    found = reader.mapping(node, _TOP, required=("apiVersion",)) if node else {}
    if node and "notationConfig" in found and "policyDir" in found:
        reader.problem(node, "notationConfig and policyDir: one host has one policy")
    if reader.problems:
        count = len(reader.problems)
        listed = listed_problems(reader.problems)
        raise SettingsError(
            f"{count} problem{'s' * (count > 1)} in {path}: {listed}",
            remedy="Mend them all, then `systemctl reload enforcer`.",
        )
    return found


def _path(reader: YamlReader, node: Node) -> Path:
    text = plain(node, "str") or ""
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or not text.isprintable():
        reader.problem(node, f"{shown(node)} is not an absolute path")
    return path


def _seconds(reader: YamlReader, node: Node) -> int:
    allowed = [str(n) for n in range(1, MAX_DEADLINE_SECONDS + 1)]
    text = plain(node, "int")
    if text not in allowed:
        reader.problem(node, f"expected one of {', '.join(allowed)} (seconds)")
        return MAX_DEADLINE_SECONDS
    return int(text)


def _sweep(reader: YamlReader, node: Node) -> SweepSettings:
    checks: dict[str, Check] = {
        "every": _every,
        "onDenied": one_of(*ON_DENIED),
        "graceSeconds": _grace,
    }
    found = reader.mapping(node, checks)
    default = SweepSettings()
    return SweepSettings(
        found.get("every", default.every_seconds),
        found.get("onDenied", default.on_denied),
        found.get("graceSeconds", default.grace_seconds),
    )


def _every(reader: YamlReader, node: Node) -> int:
    match = _EVERY.fullmatch(plain(node, "str") or "")
    seconds = int(match[1]) * (60 if match[2] == "m" else 3600) if match else 0
    if not 60 <= seconds <= MAX_EVERY_SECONDS:
        reader.problem(node, f"{shown(node)} is not a time from 1m to 24h")
    return seconds


def _grace(reader: YamlReader, node: Node) -> int:
    text = plain(node, "int") or ""
    seconds = int(text) if text.isdecimal() and len(text) < 5 else 0
    if not 1 <= seconds <= MAX_GRACE_SECONDS:
        reader.problem(node, f"expected a number from 1 to {MAX_GRACE_SECONDS}")
    return seconds


def _notation(reader: YamlReader, node: Node) -> NotationSettings:
    checks: dict[str, Check] = {
        "allowLevels": list_of(one_of(*LEVELS)),
        "plugins": _plugins,
        "crlCache": _path,
    }
    found = reader.mapping(node, checks)
    return NotationSettings(
        found.get("allowLevels", ()), found.get("plugins", ()), found.get("crlCache")
    )


def _plugins(reader: YamlReader, node: Node) -> tuple[PluginSettings, ...]:
    checks: dict[str, Check] = {"name": _name, "path": _path, "digest": digest}
    plugins = []
    for item in reader.items(node):
        found = reader.mapping(item, checks, required=tuple(checks))
        if len(found) == len(checks):
            plugins.append(PluginSettings(**found))
    return tuple(plugins)


def _name(reader: YamlReader, node: Node) -> str:
    text = plain(node, "str")
    if not text:
        reader.problem(node, f"{shown(node)} is not a name")
    return text or ""


_DOCKERS = ("api", "authz")


def _engines(reader: YamlReader, node: Node) -> tuple[EngineSettings, ...]:
    kind = one_of("docker", "containerd")
    required = ("kind", "socket", "root", "state")
    names = dict.fromkeys((*required, "api"), _path) | {"kind": kind, "authz": _name}
    engines: list[EngineSettings] = []
    dockers: list[tuple[Node, Path]] = []
    for item in reader.items(node):
        found = reader.mapping(item, names, required=required)
        if found.keys() & set(_DOCKERS) and found.get("kind") == "containerd":
            reader.problem(item, f"{' and '.join(_DOCKERS)} are of a docker engine")
        if found.keys() >= set(required):
            engines.append(EngineSettings(**found))
            if found["kind"] == "docker":
                dockers.append((item, found["socket"]))
    served = {engine.socket for engine in engines if engine.kind == "containerd"}
    for item, socket in dockers:
        if socket not in served:
            reader.problem(item, f"no containerd engine here has socket {socket}")
    return tuple(engines)


_TOP: dict[str, Check] = {
    "apiVersion": one_of(API_VERSION),
    "mode": one_of("enforce", "monitor"),
    "notationConfig": _path,
    "policyDir": _path,
    "notation": _notation,
    "builds": one_of("deny", "allow"),
    "engines": _engines,
    "deadlineSeconds": _seconds,
    "sweep": _sweep,
    "stateDir": _path,
    "runDir": _path,
    "logDir": _path,
}
