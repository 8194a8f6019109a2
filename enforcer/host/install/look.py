"""Look at a host before anything is changed, and refuse what cannot end well."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.files import read_file, require_trusted_folder
from enforcer.gate.render import render_gate, render_verifier
from enforcer.host.install.containerd_change import containerd_change
from enforcer.host.install.engines import (
    STORES,
    Containerd,
    Docker,
    InstallError,
    containerd_of,
    find_containerd,
    find_docker,
    load_json,
    load_owned,
    run_program,
)
from enforcer.host.install.journal import FOLDER, Journal
from enforcer.host.install.manager import ManagerError, command, require_systemd
from enforcer.host.install.pack import undo_program
from enforcer.host.install.plan import (
    AUTHZ_EDIT,
    CONFIG,
    LIBEXEC,
    PLUGIN,
    REAL_RUNC,
    Change,
    Ground,
    Wanted,
)
from enforcer.host.install.runc import is_gate
from enforcer.host.install.texts import POLICY, settings_text
from enforcer.host.install.units import SYSTEM, Shipped, shipped
from enforcer.settings import (
    DEFAULT_LOG_DIR,
    DEFAULT_RUN_DIR,
    EngineSettings,
    Settings,
    load_settings,
)

PYTHON = Path("/usr/bin/python3")
MAX_PROGRAM_BYTES = 64 * 1024 * 1024
_FOLDERS = {
    "python": PYTHON,
    "run_dir": DEFAULT_RUN_DIR,
    "config_dir": CONFIG,
    "log_dir": DEFAULT_LOG_DIR,
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host that can be installed on: its engines, settings, and the ground."""

    docker: Docker | None
    containerd: Containerd
    settings: Settings
    ground: Ground


def look(wanted: Wanted) -> Host:
    """Find out all that an installation needs to know; nothing is changed.

    Raises:
        EnforcerError: Why this host is not one to install on.
    """
    if os.geteuid() != 0:
        raise InstallError(
            "only root installs enforcer", remedy="Become root.",
            code=Code.INSTALL_NOT_ROOT,
        )  # fmt: skip
    require_systemd()
    units = shipped(frozenset(n for n in ("authz", "cri") if getattr(wanted, n)))
    _require_first(units)
    _require_programs(units)
    docker = find_docker() if wanted.docker else None
    containerd = containerd_of(docker) if docker else find_containerd()
    if wanted.containerd or wanted.cri:
        _require_one(containerd, find_containerd())
    _require_store(docker, containerd, wanted)
    listed = _engines(docker, containerd)
    runc = _runc(docker, containerd)
    change = containerd_change(containerd, runc, wanted)
    verifier = b""
    if change and any(s.key == "bin_dir" for s in change.edit.settings):
        verifier = render_verifier(**_FOLDERS).encode("ascii")
    ground = Ground(
        exists=os.path.lexists,
        runc=runc,
        engines=listed,
        gate=render_gate(runc=REAL_RUNC, **_FOLDERS).encode("ascii"),
        verifier=verifier,
        uninstall=undo_program(),
        units=units,
        daemon_json=_daemon_json(docker) if docker and wanted.authz else None,
        containerd=change,
        gate_conf=(CONFIG / "gate.conf").exists(),
        texts={"enforcer.yaml": settings_text(wanted.mode, listed), "policy": POLICY},
    )
    return Host(docker, containerd, _settings(wanted, listed), ground)


def _require_first(units: tuple[Shipped, ...]) -> None:
    if Journal().exists():
        whole = Journal().read().complete
        raise InstallError(
            "enforcer is installed on this host"
            if whole
            else f"an enforcer install broke off on this host (see {FOLDER})",
            remedy="Run `enforcer uninstall` first.",
            code=Code.INSTALL_HALF_DONE,
        )
    places = [LIBEXEC, *(unit.path for unit in units)]
    places += [SYSTEM.parent / "system" / unit.name for unit in units]
    for path in places:
        if os.path.lexists(path):
            raise InstallError(
                f"{path} is there, and no `enforcer install` of this host put it there",
                remedy="Take that off first, as it was put on.",
                code=Code.INSTALL_OTHER,
            )


def _require_programs(units: tuple[Shipped, ...]) -> None:
    programs = {unit.program() for unit in units if unit.is_unit}
    for program in sorted(p for p in programs if p):
        try:
            require_trusted_folder(program.parent.resolve(strict=True))
            read_file(program, max_bytes=MAX_PROGRAM_BYTES, trusted=True)
            if not os.access(program, os.X_OK):
                raise InstallError(f"{program} cannot be run", remedy="See below.")
        except (EnforcerError, OSError) as error:
            what = error.what if isinstance(error, EnforcerError) else str(error)
            raise InstallError(
                f"enforcer's programs are not where the units start them: {what}",
                remedy="python3 -m venv /usr/lib/enforcer && "
                "/usr/lib/enforcer/bin/pip install .",
                code=Code.INSTALL_ENVIRONMENT,
            ) from error
    if not os.access(PYTHON, os.X_OK):
        raise InstallError(
            f"there is no {PYTHON}, which the gate and the way back need",
            remedy="apt-get install python3",
            code=Code.INSTALL_ENVIRONMENT,
        )


def _require_one(used: Containerd, service: Containerd) -> None:
    if used.process.pid != service.process.pid:
        raise InstallError(
            f"Docker has a containerd of its own at {used.socket}",
            remedy="Install for one of both at a time, or let Docker use "
            "containerd.service.",
            code=Code.INSTALL_ENGINE_KIND,
        )


def _require_store(
    docker: Docker | None, containerd: Containerd, wanted: Wanted
) -> None:
    used = {}
    if docker:
        used["Docker"] = docker.info.get("Driver")
    if wanted.cri:
        for name in ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"):
            settings = containerd.plugin(name)
            settings = settings.get("containerd", settings)
            if "snapshotter" in settings:
                used["containerd's CRI"] = settings["snapshotter"]
    for engine, store in used.items():
        if store not in STORES:
            raise InstallError(
                f"{engine} keeps images with {clip(str(store))}, which is not judged",
                remedy=f"Use {' or '.join(STORES)}.",
                code=Code.INSTALL_STORAGE,
            )


def _engines(
    docker: Docker | None, containerd: Containerd
) -> tuple[EngineSettings, ...]:
    root, state = (Path(str(containerd.settings[k])) for k in ("root", "state"))
    found = [EngineSettings("containerd", containerd.socket, root, state)]
    if docker:
        found.append(
            EngineSettings("docker", containerd.socket, docker.root, docker.exec_root)
        )
    return tuple(found)


def _runc(docker: Docker | None, containerd: Containerd) -> Path:
    """Return where every engine finds runc: one place, and a package's.

    Raises:
        InstallError: None, several, or one that dpkg does not know.
    """
    found = sorted(set(_runcs(docker, containerd)))
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise InstallError(
            f"the engines must find exactly one runc, and find: {clip(names)}",
            remedy="Remove the others; only one can be behind the gate.",
            code=Code.INSTALL_RUNC,
        )
    runc = found[0]
    if is_gate(runc):
        raise InstallError(
            f"{runc} is a gate already",
            remedy="Take that off first, as it was put on.",
            code=Code.INSTALL_OTHER,
        )
    try:
        command("dpkg-query", "-S", str(runc))
        diverted = command("dpkg-divert", "--truename", str(runc)) != str(runc)
    except ManagerError as error:
        raise InstallError(
            f"{runc} is of no Debian package, so nothing keeps it behind the gate",
            remedy="apt-get install runc, or do it by hand (README).",
            code=Code.INSTALL_RUNC,
        ) from error
    if diverted:
        raise InstallError(
            f"{runc} is diverted already",
            remedy=f"dpkg-divert --list {runc} says by whom.",
            code=Code.INSTALL_OTHER,
        )
    return runc


def _runcs(docker: Docker | None, containerd: Containerd) -> Iterator[Path]:
    folders = [*containerd.folders, *(docker.process.path if docker else ())]
    for folder in folders:
        program = folder / "runc"
        if program.is_file() and os.access(program, os.X_OK):
            yield program.resolve()


def _daemon_json(docker: Docker) -> Change:
    flags = docker.process.option("--authorization-plugin")
    if flags:
        raise InstallError(
            f"dockerd is told --authorization-plugin={clip(flags[0])} on its command "
            "line, and refuses to start with the same setting in a file",
            remedy=f"Move it into {docker.config}, or install without --authz.",
            code=Code.INSTALL_CONFIG_CONFLICT,
        )
    listed = load_json(docker.config).get(AUTHZ_EDIT.key, [])
    if isinstance(listed, list) and PLUGIN in listed:
        raise InstallError(
            f"{docker.config} lists the plug-in {PLUGIN} already",
            remedy="Take that off first, as it was put on.",
            code=Code.INSTALL_OTHER,
        )
    before = load_owned(docker.config)
    change = Change(docker.config, b"{}\n" if before is None else before, AUTHZ_EDIT)
    _validated(docker, change)
    return change


def _validated(docker: Docker, change: Change) -> None:
    """Have dockerd itself read what is to be written, where it can (--validate)."""
    try:
        content = change.after
    except EnforcerError as error:
        raise _unreadable(change.path, error.what) from error
    with tempfile.TemporaryDirectory(prefix="enforcer-") as folder:
        aside = Path(folder) / "daemon.json"
        aside.write_bytes(content)
        words = ("--validate", "--config-file", str(aside))
        try:
            run_program(docker.process.program, *words)
        except InstallError as error:
            if "unknown flag" not in error.what:  # Docker 20.10 has none
                raise _unreadable(change.path, error.what) from error


def _unreadable(path: Path, why: str) -> InstallError:
    return InstallError(
        f"{path} cannot be changed: {why}",
        remedy="Mend that file, or install without --authz.",
        code=Code.INSTALL_CONFIG_UNREADABLE,
    )


def _settings(wanted: Wanted, listed: tuple[EngineSettings, ...]) -> Settings:
    """Return what enforcer.yaml says, or will; refuse one that says otherwise."""
    settings = load_settings(CONFIG)
    if not (CONFIG / "enforcer.yaml").exists():
        return Settings(
            settings.config_dir, settings.state_dir, settings.run_dir,
            settings.log_dir, mode=wanted.mode, engines=listed,
        )  # fmt: skip
    place = CONFIG / "enforcer.yaml"
    if settings.mode != wanted.mode:
        raise InstallError(
            f"{place} says mode: {settings.mode}, and this would install "
            f"mode: {wanted.mode}",
            remedy=f"Set mode: {wanted.mode} there, or "
            f"{'leave out' if wanted.enforce else 'add'} --enforce.",
            code=Code.INSTALL_SETTINGS,
        )
    for engine in listed:
        if engine not in settings.engines:
            raise InstallError(
                f"{place} does not list the {engine.kind} at {engine.root} (socket "
                f"{engine.socket}, state {engine.state}), so nothing of it could start",
                remedy="Add it under `engines`.",
                code=Code.INSTALL_SETTINGS,
            )
    return settings
