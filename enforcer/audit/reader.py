"""The audit log, read again: every line that is kept, oldest first, in bounded memory.

What stands there may be torn, or written by whoever wants to be overlooked: a line is
bytes here, and nothing in it is believed.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from enforcer.audit.log import FILE, MAX_LINE_BYTES
from enforcer.core.errors import MalformedError
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.files import FileError, FileMissingError, open_regular

MAX_FILES = 100  # our rotation keeps eight; another program may keep more of them


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its newline, and where it stands; `number` counts from 1.

    Without the newline it is torn, or longer than a line can be and cut off.
    """

    path: Path
    number: int
    raw: bytes

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return self.raw.endswith(b"\n")

    @property
    def hash(self) -> str:
        """What the next line has as `prev`."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def place(self) -> str:
        """Name it for people."""
        return f"{self.path.name}:{self.number}"

    def members(self) -> dict[str, Json]:
        """Return what it says, or raise EnforcerError."""
        if not self.is_whole:
            why = "longer than a line can be" if len(self.raw) > 4096 else "torn"
            raise MalformedError(f"{self.place} is {why}", remedy="It says nothing.")
        return require_object(
            parse_json(self.raw, what=self.place, max_bytes=MAX_LINE_BYTES),
            what=self.place,
        )


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file of the log, open. `number` is 0 for the newest."""

    path: Path
    number: int
    file: BinaryIO

    @property
    def identity(self) -> tuple[int, int]:
        """What it stays while it is renamed."""
        status = os.fstat(self.file.fileno())
        return status.st_dev, status.st_ino

    def lines(self) -> Iterator[Line]:
        """Read from the beginning."""
        self.file.seek(0)
        number = 0
        while raw := self.file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if not raw.endswith(b"\n"):
                skip_line(self.file)
            yield Line(self.path, number, raw)


@contextlib.contextmanager
def open_log(folder: Path, name: str = FILE) -> Iterator[Sequence[KeptFile]]:
    """Open all files that are kept of a log, the oldest first, each once.

    The newest is opened first: what is rotated meanwhile is then met twice, not missed.

    Raises:
        FileMissingError: There is none.
        FileError: One cannot be read.
    """
    with contextlib.ExitStack() as stack:
        found: dict[tuple[int, int], KeptFile] = {}
        for number in range(MAX_FILES):
            path = folder / (f"{name}.{number}" if number else name)
            try:
                handle = stack.enter_context(_readable(path))
            except FileMissingError:
                continue
            file = os.fdopen(handle, "rb", closefd=False)
            kept = KeptFile(path, number, file)
            found.setdefault(kept.identity, kept)
        if not found:
            raise FileMissingError(
                f"there is no {name} in {folder}",
                remedy="It is made with the first line.",
            )
        yield tuple(reversed(found.values()))


def read_log(folder: Path, name: str = FILE) -> Iterator[Line]:
    """Yield every kept line of a log, the oldest first; raises as `open_log`."""
    with open_log(folder, name) as files:
        for kept in files:
            yield from kept.lines()


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[int]:
    try:
        stack = contextlib.ExitStack()
        handle = stack.enter_context(open_regular(path, follow=False))
    except FileError as error:
        if isinstance(error.__cause__, PermissionError):
            raise FileError(
                f"{path} is not yours to read",
                remedy="The audit log is root's. `enforcer explain CODE` needs "
                "nobody's leave.",
            ) from error
        raise
    with stack:
        yield handle


def skip_line(file: BinaryIO) -> None:
    """Go to the end of a line that is too long."""
    while rest := file.readline(MAX_LINE_BYTES):  # bounded by the file
        if rest.endswith(b"\n"):
            return
