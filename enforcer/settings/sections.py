"""Each member of enforcer.yaml: what it may say, and which value it becomes."""

import re
from pathlib import Path

from enforcer.core.errors import EnforcerError
from enforcer.core.quota import DEFAULT_QUOTA, Quota
from enforcer.core.reference import parse_reference
from enforcer.core.strictyaml import (
    Check,
    Node,
    YamlReader,
    digest,
    list_of,
    one_of,
    plain,
    shown,
)
from enforcer.settings.values import (
    LEVELS,
    MAX_DEADLINE_SECONDS,
    EngineSettings,
    NotationSettings,
    PluginSettings,
    RegistrySettings,
    SweepSettings,
    SyncSettings,
)

API_VERSION = "enforcer/v1"
MAX_EVERY_SECONDS = 24 * 3600
MAX_GRACE_SECONDS = 600  # kubelet's usual is 30, Docker's 10

MAX_SIZE = 1024**5  # 1 PiB: more is a slip
_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}

_SIZE = re.compile(r"([1-9][0-9]{0,15})(|KiB|MiB|GiB|TiB)")
_EVERY = re.compile(r"([1-9][0-9]{0,3})([mh])")


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
        "onDenied": one_of("report", "stop"),
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


def _cache(reader: YamlReader, node: Node) -> Quota:
    found = reader.mapping(node, {"maxBytes": size, "maxFiles": _files})
    default = DEFAULT_QUOTA
    return Quota(
        found.get("maxBytes", default.max_bytes),
        found.get("maxFiles", default.max_files),
    )


def size(reader: YamlReader, node: Node) -> int:
    """Read a size in bytes: a whole number, with KiB, MiB, GiB or TiB behind or not."""
    match = _SIZE.fullmatch(plain(node, "str") or plain(node, "int") or "")
    bytes_ = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < bytes_ <= MAX_SIZE:
        reader.problem(
            node,
            f"{shown(node)} is not a size such as 500MiB or 1GiB, in bytes without",
        )
    return bytes_


def _files(reader: YamlReader, node: Node) -> int:
    text = plain(node, "int") or ""
    count = int(text) if text.isdecimal() and len(text) < 10 else 0
    if not count:
        reader.problem(node, f"{shown(node)} is not a number of files")
    return count


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


_HOST = r"(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?"
_MIRROR = rf"{_HOST}(?:/[a-z0-9][a-z0-9._-]*)*"


def _written(pattern: str, what: str) -> Check:
    def check(reader: YamlReader, node: Node) -> str:
        text = plain(node, "str") or ""
        if not re.fullmatch(pattern, text):
            reader.problem(node, f"{shown(node)} is not {what}")
        return text

    return check


def _yes_or_no(reader: YamlReader, node: Node) -> bool:
    text = plain(node, "bool")
    if text not in ("true", "false"):
        reader.problem(node, f"{shown(node)} is not true or false")
    return text == "true"


_host = _written(_HOST, "a lower-case HOST[:PORT]")
_REGISTRY: dict[str, tuple[str, Check]] = {
    "host": ("host", _host),
    "http": ("http", _yes_or_no),
    "ca": ("ca", _path),
    "mirror": ("mirror", _written(_MIRROR, "a lower-case HOST[:PORT][/PREFIX]")),
    "authFile": ("auth_file", _path),
    "credentialHelper": ("credential_helper", _written("[A-Za-z0-9._-]+", "a name")),
    "tokenHosts": ("token_hosts", list_of(_host)),
}
_APART = (("http", "ca"), ("authFile", "credentialHelper"))


def _registries(reader: YamlReader, node: Node) -> tuple[RegistrySettings, ...]:
    checks = {name: check for name, (_, check) in _REGISTRY.items()}
    registries: dict[str, RegistrySettings] = {}
    for item in reader.items(node):
        found = reader.mapping(item, checks, required=("host",))
        for one, other in _APART:
            if found.get(one) and found.get(other):
                reader.problem(item, f"{one} and {other} exclude each other")
        host = found.get("host", "")
        if host in registries:
            reader.problem(item, f"{host} is there twice")
        members = {_REGISTRY[name][0]: value for name, value in found.items()}
        registries[host] = RegistrySettings(**{"host": host, **members})
    return tuple(registries.values())


def _sync(reader: YamlReader, node: Node) -> SyncSettings:
    checks: dict[str, Check] = {
        "every": _every,
        "list": _sync_list,
        "registries": list_of(_host),
        "fetchOnPull": _yes_or_no,
    }
    found = reader.mapping(node, checks)
    listed = found.get("list", ())
    return SyncSettings(
        every_seconds=found.get("every", 0),
        references=listed if isinstance(listed, tuple) else (),
        list_file=listed if isinstance(listed, Path) else None,
        registries=found.get("registries", ()),
        on_pull=found.get("fetchOnPull", False),
    )


def _sync_list(reader: YamlReader, node: Node) -> Path | tuple[str, ...]:
    """Read the path of a file, or references themselves."""
    if plain(node, "str"):
        return _path(reader, node)
    found: tuple[str, ...] = list_of(_reference)(reader, node)
    return found


def _reference(reader: YamlReader, node: Node) -> str:
    text = plain(node, "str") or ""
    try:
        if not parse_reference(text).host:  # not Docker Hub's by being left out
            reader.problem(node, f"{shown(node)} names no registry")
    except EnforcerError as error:
        reader.problem(node, error.what)
    return text


TOP: dict[str, Check] = {
    "apiVersion": one_of(API_VERSION),
    "mode": one_of("enforce", "monitor"),
    "notationConfig": _path,
    "policyDir": _path,
    "notation": _notation,
    "builds": one_of("deny", "allow"),
    "engines": _engines,
    "deadlineSeconds": _seconds,
    "sweep": _sweep,
    "registries": _registries,
    "cache": _cache,
    "sync": _sync,
    "stateDir": _path,
    "runDir": _path,
    "logDir": _path,
}
