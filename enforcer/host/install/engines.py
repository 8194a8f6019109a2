"""The engines that run on this host, as they really run: by their processes."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import parse_json
from enforcer.files import FileMissingError, read_file
from enforcer.host.install.manager import ManagerError, main_pid
from enforcer.host.install.processes import InstallError, run_program, running
from enforcer.host.install.unix_http import docker_info
from enforcer.host.processes import Process, children

CALL_SECONDS = 10.0  # an answer takes milliseconds
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of `docker info`, and of containerd's settings
MAX_PROC_BYTES = 256 * 1024
DAEMON_JSON = Path("/etc/docker/daemon.json")
CONFIG_TOML = Path("/etc/containerd/config.toml")
STORES = ("overlay2", "overlayfs")
_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd, with the settings it says it has."""

    process: Process
    config: Path
    settings: dict[str, Any]
    version: tuple[int, int]

    @property
    def socket(self) -> Path:
        """Where it serves gRPC."""
        return Path(str(self.settings["grpc"]["address"]))

    def plugin(self, name: str) -> dict[str, Any]:
        """Return the settings of a plug-in."""
        found = self.settings.get("plugins", {}).get(name, {})
        return found if isinstance(found, dict) else {}

    @property
    def folders(self) -> tuple[str, ...]:
        """Where it finds programs: its own folder in front (plug-in `opt`)."""
        opt = self.plugin("io.containerd.internal.v1.opt").get("path")
        return f"{opt or '/opt/containerd'}/bin", *self.process.folders


@dataclass(frozen=True, slots=True)
class Docker:
    """A running dockerd, with what it says about itself."""

    process: Process
    config: Path
    socket: Path
    info: dict[str, Any]
    containerd_socket: Path | None
    exec_root: Path

    @property
    def root(self) -> Path:
        """Its data root."""
        return Path(str(self.info.get("DockerRootDir", "/var/lib/docker")))


def find_docker() -> Docker:
    """Return the Docker that systemd runs.

    Raises:
        InstallError: There is none, or it is one of a kind that is not for us.
    """
    pid = _service("docker.service")
    if not pid:
        if _service("snap.docker.dockerd.service"):
            raise _kind("Docker is a snap")
        raise InstallError(
            "Docker does not run on this host",
            remedy="systemctl start docker, or leave out --docker.",
        )
    process = running(pid)
    if process.program.is_relative_to("/snap"):
        raise _kind("Docker is a snap")
    if process.uid != 0 or "--rootless" in process.arguments:
        raise _kind("Docker is rootless")
    config = Path(process.option("--config-file") or DAEMON_JSON)
    written = load_json(config)
    api = _docker_socket(process, written)
    own = process.option("--containerd") or str(written.get("containerd", ""))
    state = process.option("--exec-root") or str(written.get("exec-root", ""))
    return Docker(
        process,
        config,
        api,
        docker_info(api),
        Path(own) if own else None,
        Path(state or "/var/run/docker").resolve(),
    )


def find_containerd(pid: int | None = None) -> Containerd:
    """Return the containerd that systemd runs, or that is a given process."""
    pid = pid or _service("containerd.service")
    if not pid:
        raise InstallError(
            "containerd does not run on this host",
            remedy="systemctl start containerd, or leave out --containerd and --cri.",
        )
    process = running(pid)
    config = Path(process.option("--config", "-c") or CONFIG_TOML)
    said = run_program(process.program, "--version").split()
    major, minor = re.findall(r"[0-9]+", said[2] if len(said) > 2 else "")[:2] or "00"
    settings = dump(process, config)
    for option, key in (("--root", "root"), ("--state", "state")):
        settings[key] = process.option(option) or settings[key]
    for value in process.options("--address", "-a"):
        settings["grpc"]["address"] = value
    return Containerd(process, config, settings, (int(major), int(minor)))


def containerd_of(docker: Docker) -> Containerd:
    """Return the containerd that a Docker uses: systemd's, or one it started."""
    for pid in children(docker.process.pid):
        if running(pid).program.name == "containerd":
            return find_containerd(pid)
    found = find_containerd()
    if docker.containerd_socket not in (None, found.socket):
        raise InstallError(
            f"Docker uses the containerd at {docker.containerd_socket}, and "
            f"containerd.service has {found.socket}",
            remedy="Let them be one.",
        )
    return found


def dump(process: Process, config: Path) -> dict[str, Any]:
    """Return the settings a containerd would have with a file, as it says itself."""
    words = ["config", "default"]
    if config.exists():
        words = ["--config", str(config), "config", "dump"]
    found = tomllib.loads(run_program(process.program, *words))
    found.setdefault("grpc", {}).setdefault("address", _CONTAINERD_SOCKET)
    found["grpc"]["address"] = found["grpc"]["address"] or _CONTAINERD_SOCKET
    return found


def load_json(path: Path) -> dict[str, Any]:
    """Read Docker's daemon.json; {} without one."""
    try:
        raw = read_file(path, max_bytes=MAX_ANSWER_BYTES)
        found = parse_json(raw, what=str(path), max_bytes=MAX_ANSWER_BYTES)
    except FileMissingError:
        return {}
    except EnforcerError as error:
        raise InstallError(
            error.what, remedy="Mend it.", code=Code.INSTALL_CONFIG_UNREADABLE
        ) from error
    return found if isinstance(found, dict) else {}


def _docker_socket(process: Process, written: dict[str, Any]) -> Path:
    hosts = [*process.options("-H", "--host"), *(written.get("hosts") or [])]
    for host in map(str, hosts):
        if host.startswith("unix://") and host != "unix://":
            return Path(host.removeprefix("unix://"))
    return Path("/var/run/docker.sock")  # systemd's, for fd://; unix:// means it, too


def _service(unit: str) -> int:
    try:
        return main_pid(unit)
    except ManagerError:
        return 0


def _kind(what: str) -> InstallError:
    return InstallError(
        what,
        remedy="Only a Docker of root's is enforced.",
        code=Code.INSTALL_ENGINE_KIND,
    )
