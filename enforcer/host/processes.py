"""Which process it is that serves a socket or holds a file, and how it was started.

Found by what it holds open, never by its name: a name is anybody's.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.peer import peer_of

CONNECT_SECONDS = 2.0
SLACK_SECONDS = 1.0  # a file written just before the start is not newer
MAX_FACT_BYTES = 2 * 1024 * 1024  # as much environment as Linux takes, and its table
MAX_OPEN = 500_000  # open files of root's processes looked through
_PARENT, _START = 1, 19  # fields of proc(5)'s stat behind the name
_LISTENING = "00010000"  # flags of /proc/net/unix: __SO_ACCEPTCON


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: its arguments, its PATH, and its view of the file system.

    Attributes:
        arguments: As it was started, the name it was called by in front.
        folders: Of its PATH; none, where it has no PATH.
        started: In seconds since boot.
        program: What it runs, whatever it was called by.
    """

    pid: int
    arguments: tuple[str, ...]
    folders: tuple[str, ...]
    started: float = 0.0
    program: Path = Path()
    uid: int = 0

    @property
    def root(self) -> Path:
        """Where its `/` is for us."""
        return Path(f"/proc/{self.pid}/root")

    def is_older_than(self, path: Path) -> bool:
        """Whether a file was changed after this process was started."""
        runs = time.clock_gettime(time.CLOCK_BOOTTIME) - self.started
        return time.time() - path.stat().st_ctime < runs - SLACK_SECONDS

    def options(self, *names: str) -> list[str]:
        """Return the values of a command line option, in any of its spellings.

        containerd takes a long option after one dash, too, and a short one after two.
        """
        wanted, found = {name.lstrip("-") for name in names}, []
        for at, word in enumerate(self.arguments[1:], 1):
            name, given, value = word.partition("=")
            if name.startswith("-") and name.lstrip("-") in wanted:
                found.append(value if given else "".join(self.arguments[at + 1 :][:1]))
        return found

    def option(self, *names: str) -> str:
        """Return the value that counts, which is the last; "" where there is none."""
        found = self.options(*names)
        return found[-1] if found else ""


def load_process(pid: int) -> Process:
    """Read what is known of a process, or raise OSError."""
    place = Path("/proc") / str(pid)
    environment = _read(place / "environ").split(b"\0")
    path = next((v[5:] for v in environment if v.startswith(b"PATH=")), b"")
    return Process(
        pid,
        _arguments(place),
        tuple(folder for folder in os.fsdecode(path).split(":") if folder),
        int(_stat(pid)[_START]) / os.sysconf("SC_CLK_TCK"),
        Path(os.readlink(place / "exe").removesuffix(" (deleted)")),  # noqa: PTH115
        place.stat().st_uid,
    )


def parent_of(pid: int) -> int:
    """Return the process that would reap this one, or raise OSError."""
    return int(_stat(pid)[_PARENT])


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; none, if it has ended."""
    try:
        raw = _read(Path(f"/proc/{pid}/task/{pid}/children"))
    except OSError:
        return []
    return [int(number) for number in raw.split()]


def commands() -> Iterator[Process]:
    """Yield the processes there are with their arguments, which anybody may read."""
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                yield Process(int(place.name), _arguments(place), ())


def server_of(path: Path, *, seconds: float = CONNECT_SECONDS) -> int:
    """Return the process that listens on a unix socket, or raise OSError.

    The one that called listen(2): systemd, where that holds the socket for another.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(os.fspath(path))
        return peer_of(client).pid


def holders(path: Path) -> set[int]:
    """Return root's processes that hold this very file open, or raise OSError."""
    wanted = path.stat()
    return {
        pid
        for pid, file in _open_files()
        if (file.st_dev, file.st_ino) == (wanted.st_dev, wanted.st_ino)
    }


def listening(pid: int) -> list[Path]:
    """Return the paths of the unix sockets a process listens on."""
    place = Path("/proc") / str(pid)
    held = {file.st_ino for _, file in _files_of(place)}
    paths = []
    for line in (
        _read(place / "net" / "unix").decode(errors="surrogateescape").split("\n")
    ):
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[3] == _LISTENING and int(words[6]) in held:
            paths.append(Path(words[7]))
    return [path for path in paths if path.is_absolute()]


def _open_files() -> Iterator[tuple[int, os.stat_result]]:
    count = 0
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        for found in _files_of(place):
            count += 1
            if count > MAX_OPEN:
                why = f"root's processes hold more than {MAX_OPEN} files open"
                raise OSError(errno.ENFILE, why)
            yield found


def _files_of(place: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Yield each open file of a process of root's; it may end meanwhile."""
    try:
        if place.stat().st_uid != 0 and os.geteuid() == 0:
            return
        entries = list((place / "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            yield int(place.name), entry.stat()
        except OSError:
            continue


def _arguments(place: Path) -> tuple[str, ...]:
    words = _read(place / "cmdline").removesuffix(b"\0").split(b"\0")
    return tuple(os.fsdecode(word) for word in words)


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat behind the name, which may hold anything."""
    return _read(Path("/proc") / str(pid) / "stat").rpartition(b")")[2].split()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FACT_BYTES)
