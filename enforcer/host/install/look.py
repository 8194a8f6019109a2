"""Look at a host before anything is changed, and refuse what cannot end well."""

import os
from dataclasses import dataclass
from pathlib import Path

import enforcer
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.files import read_file, require_trusted_folder
from enforcer.gate.render import render_gate, render_verifier
from enforcer.host.install.containerd_change import containerd_change
from enforcer.host.install.docker_change import docker_change
from enforcer.host.install.engines import (
    STORES,
    Containerd,
    Docker,
    containerd_of,
    find_containerd,
    find_docker,
)
from enforcer.host.install.find_runc import find_runc
from enforcer.host.install.journal import FOLDER, Journal
from enforcer.host.install.manager import (
    ENGINES,
    needs,
    require_systemd,
    state,
)
from enforcer.host.install.pack import undo_program
from enforcer.host.install.plan import (
    CONFIG,
    LIBEXEC,
    PLUGIN,
    REAL_RUNC,
    Ground,
    Wanted,
)
from enforcer.host.install.processes import InstallError
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
    docker = find_docker() if wanted.docker else _other_docker()
    containerd = containerd_of(docker) if docker else find_containerd()
    if wanted.containerd or wanted.cri:
        _require_one(containerd, find_containerd())
    _require_store(docker, containerd, wanted)
    listed = _engines(docker, containerd, authz=PLUGIN if wanted.authz else "")
    if docker:
        units = tuple(unit.for_docker(docker.root) for unit in units)
    runc = find_runc(docker, containerd)
    change = containerd_change(containerd, runc, wanted)
    if change and _docker_is_bound():
        raise InstallError(
            "systemd would stop Docker, and its containers, when containerd restarts",
            remedy="Let docker.service want containerd.service, not require it, or "
            "leave out --containerd and --cri: the gate judges every start.",
            code=Code.INSTALL_CONFIG_CONFLICT,
        )
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
        daemon_json=docker_change(docker) if docker and wanted.authz else None,
        containerd=change,
        gate_conf=(CONFIG / "gate.conf").exists(),
        texts={"enforcer.yaml": settings_text(wanted.mode, listed), "policy": POLICY},
    )
    return Host(docker, containerd, _settings(wanted, listed), ground)


def _other_docker() -> Docker | None:
    """Return a Docker nobody named: its containers meet the same gate, so it is judged.

    One of a kind that has a runc of its own never meets it.
    """
    try:
        return find_docker()
    except InstallError:
        return None


def _docker_is_bound() -> bool:
    """Whether a restart of containerd is one of Docker's, too."""
    docker, containerd = ENGINES
    return state(docker) == "active" and needs(docker, containerd)


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
            for folder in (program.parent, Path(enforcer.__file__).parent):
                require_trusted_folder(folder.resolve(strict=True))
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
    docker: Docker | None, containerd: Containerd, *, authz: str
) -> tuple[EngineSettings, ...]:
    root, state = (Path(str(containerd.settings[k])) for k in ("root", "state"))
    found = [EngineSettings("containerd", containerd.socket, root, state)]
    if docker:
        place = containerd.socket, docker.root, docker.exec_root
        found.append(EngineSettings("docker", *place, api=docker.socket, authz=authz))
    return tuple(found)


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
    known = {(e.kind, e.socket, e.root, e.state) for e in settings.engines}
    for engine in listed:
        if (engine.kind, engine.socket, engine.root, engine.state) not in known:
            raise InstallError(
                f"{place} does not list the {engine.kind} at {engine.root} (socket "
                f"{engine.socket}, state {engine.state}), so nothing of it could start",
                remedy="Add it under `engines`.",
                code=Code.INSTALL_SETTINGS,
            )
    return settings
