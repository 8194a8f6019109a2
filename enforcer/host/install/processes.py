"""Running daemons of this host, their programs, and the files they are told by."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.files import read_file
from enforcer.host.install.kept import keep

CALL_SECONDS = 10.0  # an answer takes milliseconds
MAX_PROC_BYTES = 256 * 1024


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
        """Return the values of a command line option, in any of its spellings.

        containerd takes a long option after one dash, too.
        """
        found = []
        for at, word in enumerate(self.words):
            name, given, value = word.partition("=")
            if name in names or f"--{name.lstrip('-')}" in names:
                found.append(value if given else "".join(self.words[at + 1 : at + 2]))
        return found


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


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        raw = read_file(
            Path(f"/proc/{pid}/task/{pid}/children"), max_bytes=MAX_PROC_BYTES
        )
    except EnforcerError:
        return []
    return [int(number) for number in raw.split()]


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
