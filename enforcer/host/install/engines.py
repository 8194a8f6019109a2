"""The engines that run on this host, as they really run: by their processes."""

import json
import os
import re
import socket
import subprocess
import tomllib
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json
from enforcer.files import FileMissingError, read_file
from enforcer.host.install.kept import keep
from enforcer.host.install.manager import ManagerError, main_pid

CALL_SECONDS = 10.0  # an answer takes milliseconds
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of `docker info`, and of containerd's settings
MAX_PROC_BYTES = 256 * 1024
DAEMON_JSON = Path("/etc/docker/daemon.json")
CONFIG_TOML = Path("/etc/containerd/config.toml")
STORES = ("overlay2", "overlayfs")
_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


class InstallError(EnforcerError):
    """This host is not one to install on, as it is."""

    default_code = Code.INSTALL_ENGINE_MISSING


@dataclass(frozen=True, slots=True)
class Process:
    """A running daemon: its program, its words, and where it looks for programs."""

    pid: int
    program: Path
    words: tuple[str, ...]
    path: tuple[Path, ...]
    uid: int

    def option(self, *names: str) -> list[str]:
        """Return the values of a command line option, in any of its spellings."""
        found = []
        for at, word in enumerate(self.words):
            name, given, value = word.partition("=")
            if name in names:
                found.append(value if given else "".join(self.words[at + 1 : at + 2]))
        return found


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
    def folders(self) -> tuple[Path, ...]:
        """Where it finds programs: its own folder in front (plug-in `opt`)."""
        opt = self.plugin("io.containerd.internal.v1.opt").get("path")
        return Path(str(opt or "/opt/containerd")) / "bin", *self.process.path


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
    process = load_process(pid)
    if process.program.is_relative_to("/snap"):
        raise _kind("Docker is a snap")
    if process.uid != 0 or "--rootless" in process.words:
        raise _kind("Docker is rootless")
    config = Path((process.option("--config-file") or [str(DAEMON_JSON)])[-1])
    written = load_json(config)
    api = _docker_socket(process, written)
    own = process.option("--containerd") or [str(written.get("containerd", ""))]
    state = process.option("--exec-root") or [str(written.get("exec-root", ""))]
    return Docker(
        process,
        config,
        api,
        docker_info(api),
        Path(own[-1]) if own[-1] else None,
        Path(state[-1] or "/var/run/docker").resolve(),
    )


def find_containerd(pid: int | None = None) -> Containerd:
    """Return the containerd that systemd runs, or that is a given process."""
    pid = pid or _service("containerd.service")
    if not pid:
        raise InstallError(
            "containerd does not run on this host",
            remedy="systemctl start containerd, or leave out --containerd and --cri.",
        )
    process = load_process(pid)
    config = Path((process.option("--config", "-c") or [str(CONFIG_TOML)])[-1])
    said = run_program(process.program, "--version").split()
    major, minor = re.findall(r"[0-9]+", said[2] if len(said) > 2 else "")[:2] or "00"
    settings = dump(process, config)
    for option, key in (("--root", "root"), ("--state", "state")):
        settings[key] = [settings[key], *process.option(option)][-1]
    for value in process.option("--address", "-a"):
        settings["grpc"]["address"] = value
    return Containerd(process, config, settings, (int(major), int(minor)))


def containerd_of(docker: Docker) -> Containerd:
    """Return the containerd that a Docker uses: systemd's, or one it started."""
    for pid in _children(docker.process.pid):
        if load_process(pid).program.name == "containerd":
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


def docker_info(api: Path) -> dict[str, Any]:
    """Ask dockerd about itself; raises InstallError."""
    return unix_request(api, "GET", "/info")


def unix_request(path: Path, method: str, call: str) -> dict[str, Any]:
    """Make an HTTP call on a unix socket, and return its JSON; raises InstallError."""
    status, raw = unix_call(path, method, call)
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise _silent(path, "it is no JSON") from error
    if status != HTTPStatus.OK or not isinstance(found, dict):
        raise _silent(path, f"{status} {clip(raw.decode(errors='replace'))}")
    return found


def unix_call(
    path: Path, method: str, call: str, body: object = None
) -> tuple[int, bytes]:
    """Make an HTTP call on a unix socket: status and answer; raises InstallError."""
    connection = _UnixConnection(path)
    sent = None if body is None else json.dumps(body)
    headers = {"Host": "docker", "Content-Type": "application/json"}
    try:
        connection.request(method, call, body=sent, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise _silent(path, str(error) or type(error).__name__) from error
    finally:
        connection.close()


def load_process(pid: int) -> Process:
    """Read a running process from /proc; raises InstallError."""
    here = Path(f"/proc/{pid}")
    try:
        words = (
            read_file(here / "cmdline", max_bytes=MAX_PROC_BYTES).decode().split("\0")
        )
        raw = read_file(here / "environ", max_bytes=MAX_PROC_BYTES).decode(
            errors="replace"
        )
        program = Path(os.readlink(here / "exe").removesuffix(" (deleted)"))  # noqa: PTH115
        uid = here.stat().st_uid
    except (OSError, EnforcerError, ValueError) as error:
        raise InstallError(
            f"process {pid} cannot be read: {clip(str(error))}", remedy="Try again."
        ) from error
    environment = dict(line.partition("=")[::2] for line in raw.split("\0"))
    path = environment.get("PATH", "/usr/local/bin:/usr/bin")  # Go has none without
    folders = tuple(Path(folder) for folder in path.split(":") if folder)
    return Process(pid, program, tuple(words[1:]), folders, uid)


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


def load_owned(path: Path) -> bytes | None:
    """Return an engine's configuration file, if only root can change it.

    Raises:
        EnforcerError: A link, not root's alone, or not to be read.
    """
    kept = keep(path)  # refuses links
    if kept and (kept.uid != 0 or kept.mode & 0o022):
        raise InstallError(
            f"{path} is not root's alone",
            remedy=f"chown root: {path}; chmod go-w {path}",
            code=Code.INSTALL_CONFIG_UNREADABLE,
        )
    return kept.content if kept else None


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_SECONDS)
        self.sock.connect(str(self._path))


def _docker_socket(process: Process, written: dict[str, Any]) -> Path:
    hosts = [*process.option("-H", "--host"), *(written.get("hosts") or [])]
    for host in hosts:
        if str(host).startswith("unix://"):
            return Path(str(host).removeprefix("unix://"))
    return Path("/var/run/docker.sock")  # systemd's, for fd://


def _service(unit: str) -> int:
    try:
        return main_pid(unit)
    except ManagerError:
        return 0


def _children(pid: int) -> list[int]:
    try:
        raw = read_file(
            Path(f"/proc/{pid}/task/{pid}/children"), max_bytes=MAX_PROC_BYTES
        )
    except EnforcerError:
        return []
    return [int(number) for number in raw.split()]


def run_program(program: Path, *words: str) -> str:
    """Run an engine's own program and return what it prints; raises InstallError."""
    try:
        done = subprocess.run(  # noqa: S603 - the program that runs as root already
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(
            f"{program} does not run: {error}", remedy="Look at it."
        ) from error
    if done.returncode:
        said = clip(done.stderr.decode(errors="replace"), limit=500)
        raise InstallError(
            f"`{program.name} {clip(' '.join(words))}` ended with "
            f"{done.returncode}: {said}",
            remedy="Mend its configuration.",
            code=Code.INSTALL_CONFIG_UNREADABLE,
        )
    return done.stdout.decode()


def _kind(what: str) -> InstallError:
    return InstallError(
        what,
        remedy="Only a Docker of root's is enforced.",
        code=Code.INSTALL_ENGINE_KIND,
    )


def _silent(path: Path, why: str) -> InstallError:
    return InstallError(
        f"there is no answer on {path}: {why}", remedy="systemctl status docker"
    )
