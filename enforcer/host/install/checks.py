"""Whether what was changed works: asked of the engines and of our own processes."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from enforcer.assembly import engines
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.gate import ask
from enforcer.hooks.authz.relay import PLUGIN_SOCKET
from enforcer.host.install.containerd_change import require_read
from enforcer.host.install.engines import (
    find_containerd,
)
from enforcer.host.install.look import PYTHON, Host
from enforcer.host.install.plan import UNINSTALL, Check
from enforcer.host.install.processes import InstallError, run_program
from enforcer.host.install.unix_http import unix_call, unix_request

WAIT_SECONDS = 20.0  # dockerd dies of a missing plug-in after 15 s, containerd takes 2
POLL_SECONDS = 0.1
GATE_SECONDS = 15.0  # it waits four seconds for a daemon itself
MAX_AUDIT_TAIL = 1024 * 1024
_REFUSED = 300  # HTTP's statuses from here on say no, or not so


def require(check: Check, host: Host) -> None:
    """Return if it holds, within WAIT_SECONDS.

    Raises:
        EnforcerError: It does not; the message says what was seen last.
    """
    _CHECKS[check](host)


def _recovery(_: Host) -> None:
    run_program(PYTHON, "-I", "-S", str(UNINSTALL), "--dry-run")


def _services(host: Host) -> None:
    def answers() -> None:
        options = {"bundle": "/nonexistent"}
        words = ["create", "enforcer-install-canary"]
        try:
            ask.ask(str(host.settings.run_dir / "ask.sock"), options, words)
        except ask.RefusalError as error:
            if not error.mode:
                raise _wrong(f"enforcerd did not judge: {error}") from error
            if error.mode != host.settings.mode:
                raise _wrong(f"enforcerd is in mode {clip(error.mode)}") from error
        except ask.NO_YES as error:
            raise _wrong(f"enforcerd does not answer: {error}") from error
        else:
            raise _wrong("enforcerd allowed a container that no engine knows")

    _eventually(answers)


def _authz(_: Host) -> None:
    def answers() -> None:
        said = unix_request(Path(PLUGIN_SOCKET), "POST", "/Plugin.Activate")
        if "authz" not in (said.get("Implements") or ()):
            raise _wrong(f"the plug-in said {clip(json.dumps(said))}")

    _eventually(answers)


def _docker(host: Host) -> None:
    """Create a container of an image that nobody has: the plug-in has to be asked.

    `docker info` lists a plug-in only from dockerd's next start on (seen with 28.5).
    """
    docker = host.docker
    if docker is None:
        return
    name = _canary()

    def asks() -> None:
        status, said = unix_call(
            docker.socket, "POST", "/containers/create", {"Image": f"{name}:none"}
        )
        if status < _REFUSED:
            raise _wrong(f"Docker made a container: {clip(said.decode())}")
        _require_recorded(host, name, said)

    _eventually(asks)


def _settings(host: Host) -> None:
    if host.ground.containerd:
        require_read(host.containerd, host.ground.containerd, candidate=False)


def _containerd(host: Host) -> None:
    def answers() -> None:
        find_containerd()
        for engine in engines(host.settings).containerds:
            engine.images("default")

    _eventually(answers)


def _gate(host: Host) -> None:
    """Start the gate as an engine does, with a container that nobody knows."""
    gate = host.ground.runc
    run_program(gate, "--version")
    name = _canary()
    with TemporaryDirectory(prefix="enforcer-") as folder:
        done = subprocess.run(  # noqa: S603 - our own gate
            [gate, "--root", folder, "create", "--bundle", f"{folder}/none", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GATE_SECONDS,
            check=False,
        )
    if done.returncode == 0:
        raise _wrong("the gate let a container through that no engine knows")

    _eventually(lambda: _require_recorded(host, name, done.stderr))


def _canary() -> str:
    return f"enforcer-canary-{secrets.token_hex(6)}"


def _require_recorded(host: Host, name: str, said: bytes) -> None:
    """Return if enforcerd was asked about a name: it records all it is asked."""
    if name.encode() not in _tail(host.settings.audit_dir / "audit.jsonl"):
        told = clip(said.decode(errors="replace"), limit=300)
        raise _wrong(f"enforcerd was not asked about {name}: {told}")


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - MAX_AUDIT_TAIL))
            return file.read(MAX_AUDIT_TAIL)
    except OSError:
        return b""


def _eventually(holds: Callable[[], None]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return holds()
        except EnforcerError:
            if time.monotonic() > until:
                raise
        time.sleep(POLL_SECONDS)


def _wrong(what: str) -> InstallError:
    return InstallError(
        what, remedy="Look at `journalctl -u enforcer`.", code=Code.INSTALL_ROLLED_BACK
    )


_CHECKS: dict[Check, Callable[[Host], None]] = {
    Check.RECOVERY: _recovery,
    Check.SERVICES: _services,
    Check.AUTHZ: _authz,
    Check.DOCKER: _docker,
    Check.SETTINGS: _settings,
    Check.CONTAINERD: _containerd,
    Check.GATE: _gate,
}
