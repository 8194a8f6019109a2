"""The audit log while it is written: new lines, wherever rotation puts them."""

from collections.abc import Iterator
from pathlib import Path

from enforcer.audit.log import FILE, MAX_LINE_BYTES
from enforcer.audit.reader import KeptFile, Line, open_log, skip_line
from enforcer.files import FileMissingError

KNOWN_BY = 256  # bytes of a first line: its time and the hash in it are its alone

_Identity = tuple[int, bytes]


class Follower:
    """Yields each line once. Rotated files are known again by what they are.

    Half a line is left for the next time, so it does not matter how often one looks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[_Identity, int] = {}
        self._newest: tuple[int, int] | None = None  # inode and size, when last read

    def skip(self) -> None:
        """Pass over all that is there."""
        for _ in self.new_lines():
            pass

    def new_lines(self) -> Iterator[Line]:
        """Yield the lines that came since the last call; none where there is no log.

        Raises:
            FileError: It cannot be read.
        """
        if self._is_unchanged():
            return
        try:
            with open_log(self._folder) as files:
                for kept in files:
                    yield from self._rest_of(kept)
                here = {_identity(kept) for kept in files}
            self._offsets = {k: v for k, v in self._offsets.items() if k in here}
        except FileMissingError:
            self._offsets = {}

    def _is_unchanged(self) -> bool:
        try:
            status = (self._folder / FILE).lstat()
        except OSError:
            return False
        before, self._newest = self._newest, (status.st_ino, status.st_size)
        return before == self._newest

    def _rest_of(self, kept: KeptFile) -> Iterator[Line]:
        identity = _identity(kept)
        kept.file.seek(self._offsets.get(identity, 0))
        while raw := kept.file.readline(MAX_LINE_BYTES + 1):
            if not raw.endswith(b"\n"):
                if len(raw) <= MAX_LINE_BYTES:  # it may still be written
                    return
                skip_line(kept.file)
            self._offsets[identity] = kept.file.tell()
            yield Line(kept.path, 0, raw)


def _identity(kept: KeptFile) -> _Identity:
    """Know a file again. By its number alone not: those of dropped files are reused."""
    kept.file.seek(0)
    first, newline, _ = kept.file.read(KNOWN_BY).partition(b"\n")
    return kept.identity[1], first + newline
