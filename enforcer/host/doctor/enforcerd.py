"""enforcerd: does it answer, and is what it enforces what the files say?"""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.api.status_client import StatusError, fetch_status
from enforcer.assembly import (
    FETCHER_SOCKET,
    RESOLVER_SOCKET,
    laxities,
    load_policy,
)
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import HostPolicy
from enforcer.core.policy import TrustPolicy
from enforcer.files import FileNotTrustedError
from enforcer.gate.ask import is_monitor
from enforcer.host.doctor.finding import AS_ROOT, Finding, UnseenError
from enforcer.host.doctor.look import Look
from enforcer.host.processes import load_process, server_of
from enforcer.settings import Settings

if TYPE_CHECKING:
    from enforcer.api.status_client import StatusResponse

RELOAD_SECONDS = 2.0  # a change of the policy is in force within one
CHECK = "enforcer policy check"
RELOAD = "systemctl reload enforcer; journalctl -u enforcer"


def check(look: Look) -> Iterator[Finding | str]:
    """Ask the daemon, and read the policy as it would."""
    written = _written(look)
    if isinstance(written, Finding):
        yield written
        yield from _daemon(look, "")
    else:
        yield from _daemon(look, str(written.digest))
        for warning in written.warnings:
            yield Finding(Code.LAXER, "policy", warning, CHECK)
    yield from _resolver(look.settings.run_dir)
    yield from _fetcher(look.settings)
    for lax in laxities(look.settings):
        if not lax.startswith("mode: monitor"):
            yield Finding(Code.LAXER, "enforcer.yaml", lax, "see `enforcer status`")


def check_gate_conf(look: Look) -> Iterator[Finding | str]:
    """Is root's own word to the gate a clear one, and the same as enforcer.yaml's?"""
    path = look.settings.config_dir / "gate.conf"
    if not os.path.lexists(path):
        yield from _agree(look, path, monitors=False)
        return
    monitors = is_monitor(str(path))
    if not monitors and not _says_enforce(path):
        what = "it is not root's plain file with one clear word, so the gate enforces"
        remedy = f"rm {path}, or: echo mode=monitor > {path}; chmod 644 {path}"
        yield Finding(Code.GATE_CONF, str(path), what, remedy)
        return
    yield from _agree(look, path, monitors=monitors)


def _agree(look: Look, path: Path, *, monitors: bool) -> Iterator[Finding | str]:
    daemon = look.settings.mode == "monitor"
    if monitors and daemon:
        what = "mode is monitor, in enforcer.yaml and for the gate"
        remedy = f"rm {path}; mode: enforce in enforcer.yaml; {RELOAD}"
        yield Finding(Code.MONITORING, str(path), what, remedy)
    elif monitors or daemon:
        who = (
            ("the gate", "enforcer.yaml") if monitors else ("enforcer.yaml", "the gate")
        )
        what = f"{who[0]} says monitor and {who[1]} does not, so all is enforced"
        remedy = f"say the same in {path} and enforcer.yaml; {RELOAD}"
        yield Finding(Code.MODES_DIFFER, str(path), what, remedy)
    else:
        yield "gate and enforcer.yaml both enforce"


def _says_enforce(path: Path) -> bool:
    """Whether it is a plain file of root's that says mode=enforce, or nothing."""
    status = path.lstat()
    plain = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o022
    own = status.st_uid in (0, os.geteuid())
    return plain and own and path.read_bytes()[:64].strip() in (b"mode=enforce", b"")


def _daemon(look: Look, written: str) -> Iterator[Finding | str]:
    """Compare what is in force with the policy's digest on disk, "" if none is good."""
    socket = look.settings.run_dir / "admin.sock"
    if os.path.lexists(socket) and not os.access(socket, os.R_OK | os.W_OK):
        raise UnseenError(str(socket), "only root may ask", AS_ROOT)
    try:
        status = fetch_status(look.settings.run_dir)
        if written and not _is_in_force(status, written):
            time.sleep(RELOAD_SECONDS)  # it may have changed just now
            status = fetch_status(look.settings.run_dir)
    except StatusError as error:
        yield Finding(Code.ENFORCERD_DOWN, "enforcerd", error.what, error.remedy)
        return
    yield f"enforcerd {status.version} answers, mode {status.mode}"
    said = look.settings.mode
    if status.mode != said:
        what = f"it runs in mode {status.mode}, and enforcer.yaml says {said}"
        yield Finding(Code.POLICY_DIFFERS, "enforcerd", what, RELOAD)
    if status.policy_problem or not status.policy_digest:
        what = f"it has no good policy: {status.policy_problem}"
        yield Finding(Code.POLICY_PROBLEM, "enforcerd", what, CHECK)
    elif written and not _is_in_force(status, written):
        what = f"in force is {status.policy_digest}, on disk is {written}"
        yield Finding(Code.POLICY_DIFFERS, "enforcerd", what, RELOAD)
    else:
        yield f"in force is {status.policy_digest} of {status.policy_path}"


def _resolver(run_dir: Path) -> Iterator[Finding | str]:
    """Say whether whoever reads the engines for enforcerd is there."""
    socket = run_dir / RESOLVER_SOCKET
    try:
        server_of(socket)
        yield f"{socket} answers"
    except PermissionError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _reads_itself(run_dir):
            return
        what = f"nobody answers there: {error.strerror or error}"
        remedy = "systemctl restart enforcer-resolver; journalctl -u enforcer-resolver"
        yield Finding(Code.RESOLVER_DOWN, str(socket), what, remedy)


def _fetcher(settings: Settings) -> Iterator[Finding | str]:
    """Say whether whoever fetches is there: no decision needs it, but news do."""
    socket = settings.run_dir / FETCHER_SOCKET
    wanted = settings.sync.every_seconds or settings.sync.on_pull
    try:
        server_of(socket)
        yield f"{socket} answers"
    except PermissionError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not wanted:
            return  # nothing is to be fetched by itself; a command has a child do it
        what = f"nobody answers there: {error.strerror or error}"
        remedy = "systemctl restart enforcer-fetcher.socket"
        yield Finding(Code.FETCHER_UNREACHABLE, str(socket), what, remedy)


def _reads_itself(run_dir: Path) -> bool:
    """Whether enforcerd runs as root, with --in-process, and needs no resolver."""
    try:
        process = load_process(fetch_status(run_dir).pid)
    except (StatusError, OSError):
        return False
    return "--in-process" in process.arguments


def _is_in_force(status: "StatusResponse", written: str) -> bool:
    return status.policy_digest == written and not status.policy_problem


def _written(look: Look) -> TrustPolicy | HostPolicy | Finding:
    """Return the policy on disk, or what is wrong with it."""
    try:
        return load_policy(look.settings).policy
    except FileNotTrustedError as error:
        return Finding(Code.WRITABLE, "policy", error.what, error.remedy)
    except EnforcerError as error:
        return Finding(Code.POLICY_PROBLEM, "policy", error.what, CHECK)
