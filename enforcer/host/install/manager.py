"""systemd, by its commands: the one place that calls them, each within a time."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

# dockerd may take its containers' stop time to end, and systemd's own limit is 90 s.
CALL_SECONDS = 120.0
DOCKER = "docker.service"
ENGINES = (DOCKER, "containerd.service")
_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

STOP_TIMES = 5  # a race with a restart every 100 ms; each time fewer sockets are left


class ManagerError(EnforcerError):
    """systemd is not here, or did not do what it was told."""

    default_code = Code.INSTALL_NO_SYSTEMD


def require_systemd() -> None:
    """Return where systemd runs this host, or raise ManagerError."""
    if _find("systemctl") is None or not _BOOTED.is_dir():
        raise ManagerError(
            "systemd does not run this host",
            remedy="Do by hand what `enforcer install --dry-run` on a host with "
            "systemd prints.",
        )


def command(program: str, *words: str) -> str:
    """Run a program to its end and return what it printed; raises ManagerError.

    Also if we are killed, with all of our group: half a list of accounts, or of
    diversions, is nobody's to mend.
    """
    path = _find(program)
    if path is None:
        raise ManagerError(f"{program} is not here", remedy="Install its package.")
    shown = clip(" ".join((program, *words)))
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [path, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CALL_SECONDS,
            check=False,
            start_new_session=True,
            restore_signals=False,  # SIGPIPE: nobody may be left to read
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ManagerError(
            f"`{shown}` did not end: {type(error).__name__}", remedy="Run it by hand."
        ) from error
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise ManagerError(
            f"`{shown}` ended with {done.returncode}: {clip(said, limit=500)}",
            remedy="Run it by hand and see.",
        )
    return said


def state(unit: str) -> str:
    """Return `active`, `inactive`, `failed` and so on, as systemd says."""
    return command("systemctl", "show", "-p", "ActiveState", "--value", unit)


def main_pid(unit: str) -> int:
    """Return the process of a service; 0 where it does not run."""
    found = command("systemctl", "show", "-p", "MainPID", "--value", unit)
    return int(found) if found.isdecimal() else 0


def needs(unit: str, other: str) -> bool:
    """Whether systemd stops a unit when another one is restarted."""
    return any(
        other in command("systemctl", "show", "-p", kind, "--value", unit).split()
        for kind in ("Requires", "BindsTo", "PartOf")
    )


def refresh(word: str, unit: str) -> None:
    """Have an engine read its configuration again; start one that has died.

    One that somebody stopped stays so. Raises ManagerError: it does not run.
    """
    found = state(unit)
    if found in ("active", "reloading"):
        command("systemctl", word, unit)
    elif found != "inactive":
        command("systemctl", "reset-failed", unit)
        command("systemctl", "start", unit)


def stop(units: Sequence[str]) -> None:
    """Stop units, or raise ManagerError; one that is not there does not run.

    All at once, and again: a service that cannot start, and is asked for on one of its
    sockets, starts the others anew, and systemd cancels that they are stopped.
    """
    for last in (*[False] * STOP_TIMES, True):
        try:
            command("systemctl", "stop", *units)
        except ManagerError:
            if any(state(unit) not in ("inactive", "failed") for unit in units):
                if last:
                    raise
                continue
        return


def _find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH") or _PATH)
