"""Running daemons of this host, their programs, and the files they are told by."""

import subprocess
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.host.install.kept import keep
from enforcer.host.processes import Process, load_process

CALL_SECONDS = 10.0  # an answer takes milliseconds


class InstallError(EnforcerError):
    """This host is not one to install on, as it is."""

    default_code = Code.INSTALL_ENGINE_MISSING


def running(pid: int) -> Process:
    """Return what is known of a running process; raises InstallError."""
    try:
        return load_process(pid)
    except OSError as error:
        raise InstallError(
            f"process {pid} cannot be read: {clip(str(error))}", remedy="Try again."
        ) from error


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
