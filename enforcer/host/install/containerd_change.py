"""What containerd's configuration has to say, and containerd's word that it does."""

import copy
import tempfile
from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.host.install import toml_text
from enforcer.host.install.edits import Edit, Setting
from enforcer.host.install.engines import Containerd, dump
from enforcer.host.install.plan import VERIFIERS, Change, Wanted
from enforcer.host.install.processes import InstallError, load_owned

BINDIR = "io.containerd.image-verifier.v1.bindir"
CRI_OLD, CRI_NEW = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
RUNC_TYPES = (
    "io.containerd.runc.v2",
    "io.containerd.runc.v1",
    "io.containerd.runtime.v1.linux",
)
FIRST_BINDIR = (2, 1)  # containerd 2.0 asks none of them on its way to pull
DROP_IN = "90-enforcer.toml"


def containerd_change(engine: Containerd, runc: Path, wanted: Wanted) -> Change | None:
    """Return the change to containerd's configuration; None where none is needed.

    Raises:
        InstallError: It says something else already, or cannot be changed safely.
    """
    bindir = wanted.containerd and engine.version >= FIRST_BINDIR
    if not bindir and not wanted.cri:
        return None
    place, before = _place(engine, cri=wanted.cri)
    version = _version(before)
    settings: list[Setting] = []
    if bindir:
        _require_free(engine, "bin_dir", _used_bindir(engine))
        settings.append(Setting(("plugins", BINDIR), "bin_dir", str(VERIFIERS)))
    if wanted.cri:
        settings += _binary_names(engine, version, str(runc))
    change = Change(place, before, Edit("toml", settings=tuple(settings)))
    require_read(engine, change, candidate=True)
    return change


def require_read(engine: Containerd, change: Change, *, candidate: bool) -> None:
    """Ask containerd how it reads the change: what is meant, and nothing else.

    As a `candidate`, the change is in a file aside, and nothing is in place yet.

    Raises:
        InstallError: It reads something else.
    """
    try:
        expected = _meant(engine.settings, change.edit.settings)
        if candidate:
            found = _dump_aside(engine, change)
            expected["imports"] = found.get("imports")
        else:
            found = dump(engine.process, engine.config)
    except EnforcerError as error:
        raise InstallError(
            f"{change.path}: {error.what}",
            remedy=error.remedy,
            code=Code.INSTALL_CONFIG_UNREADABLE,
        ) from error
    for key in ("root", "state", "grpc"):  # options of the command line
        found[key] = expected.get(key)
    expected, found = _told(expected), _told(found)
    if found != expected:
        raise InstallError(
            f"containerd would read more out of the changed {change.path} than is "
            f"meant: {_difference(expected, found)}",
            remedy="Write the whole table of what is changed there (see `containerd "
            "config dump`), and try again.",
            code=Code.INSTALL_CONFIG_CONFLICT,
        )


def _place(engine: Containerd, *, cri: bool) -> tuple[Path, bytes]:
    """Choose a drop-in where containerd reads some, else its own file.

    Not for CRI: an imported file replaces the whole table of a plug-in.
    """
    own = load_owned(engine.config)
    if not cri and engine.version >= (2, 0) and own is not None:
        for pattern in map(Path, engine.settings.get("imports") or ()):
            if pattern.is_absolute() and pattern.name == "*.toml":
                version = _version(own)
                return pattern.with_name(DROP_IN), f"version = {version}\n".encode()
    if own is None:
        version = 3 if engine.version >= (2, 0) else 2
        return engine.config, f"version = {version}\n".encode()
    return engine.config, own


def _version(raw: bytes) -> int:
    try:
        return int(toml_text.parse(raw.decode()).get("version", 1))
    except (ValueError, TypeError) as error:
        raise InstallError(
            f"containerd's configuration does not parse: {clip(str(error))}",
            remedy="Mend it.",
            code=Code.INSTALL_CONFIG_UNREADABLE,
        ) from error


def _binary_names(engine: Containerd, version: int, runc: str) -> list[Setting]:
    name = {1: "cri", 2: CRI_OLD}.get(version, CRI_NEW)
    top = ("plugins", name, "containerd", "runtimes")
    settings = []
    for handler, runtime in sorted(_handlers(engine).items()):
        if (
            not isinstance(runtime, dict)
            or runtime.get("runtime_type") not in RUNC_TYPES
        ):
            continue
        options = runtime.get("options") or {}
        _require_free(engine, f"{handler}'s BinaryName", options.get("BinaryName"))
        table = (*top, handler)
        # A handler that the file names loses the defaults, its type among them.
        settings.append(Setting(table, "runtime_type", runtime["runtime_type"]))
        settings.append(Setting((*table, "options"), "BinaryName", runc))
    if not settings:
        raise InstallError(
            "containerd serves CRI with no handler that is runc's",
            remedy="Leave out --cri, or enable the plug-in cri.",
        )
    return settings


def _handlers(engine: Containerd) -> dict[str, Any]:
    for name in (CRI_NEW, CRI_OLD, "cri"):
        found = engine.plugin(name).get("containerd", {}).get("runtimes")
        if found:
            return dict(found)
    return {}


def _used_bindir(engine: Containerd) -> str:
    """Return the folder of verifiers, if there are any: it has a default."""
    folder = Path(str(engine.plugin(BINDIR).get("bin_dir") or "/nonexistent"))
    return str(folder) if folder.is_dir() and any(folder.iterdir()) else ""


def _told(value: Any) -> Any:
    """Leave out what is empty, zero or false: Go does not tell it from nothing."""
    if not isinstance(value, dict):
        return value
    inner = {name: _told(v) for name, v in value.items()}
    return {name: v for name, v in inner.items() if v}


def _require_free(engine: Containerd, what: str, value: object) -> None:
    if value:
        raise InstallError(
            f"{engine.config} sets {what} to {clip(str(value))} already",
            remedy="Remove that, or leave out the option.",
            code=Code.INSTALL_CONFIG_CONFLICT,
        )


def _meant(settings: dict[str, Any], changes: tuple[Setting, ...]) -> dict[str, Any]:
    """Return containerd's settings with the changes, in the tables it keeps them in."""
    meant = copy.deepcopy(settings)
    plugins = meant.setdefault("plugins", {})
    for change in changes:
        _, name, *rest = change.table
        if name != BINDIR:  # it shows an older layout as its own
            name = CRI_NEW if CRI_NEW in plugins else CRI_OLD
        table = plugins.setdefault(name, {})
        for step in rest:
            table = table.setdefault(step, {})
        table[change.key] = change.value
    return meant


def _dump_aside(engine: Containerd, change: Change) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="enforcer-") as folder:
        aside = Path(folder) / change.path.name
        aside.write_bytes(change.after)
        if change.path == engine.config:
            return dump(engine.process, aside)
        # A file that imports both: whatever the own one imports comes with it.
        main = Path(folder) / "config.toml"
        version = _version(change.before)
        main.write_text(
            f'version = {version}\nimports = ["{engine.config}", "{aside}"]\n'
        )
        return dump(engine.process, main)


def _difference(expected: Any, found: Any, at: str = "") -> str:
    """Name the first place where two settings differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            if expected.get(key) != found.get(key):
                return _difference(expected.get(key), found.get(key), f"{at}/{key}")
    return clip(f"{at} is {found!r}, not {expected!r}", limit=300)
