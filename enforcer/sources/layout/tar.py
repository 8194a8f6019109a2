"""A tar archive from its front to its end, once: out of a file or a pipe.

Not by tarfile, which believes what a header says: it allocates any size, follows links
and goes back in the file. What is no plain file or folder refuses the whole archive,
and so does anything after its end: nobody is to find more in it than we did.
"""

import os
import re
import select
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.files import FileError
from enforcer.sources.layout.tar_header import (
    BLOCK,
    FILES,
    FOLDER,
    LINK,
    LONG_NAME,
    PAX,
    ArchiveError,
    Header,
    checked_name,
    overridden,
    parse_header,
    parse_long_name,
    parse_pax,
)

MAX_MEMBERS = 100_000  # twenty thousand signatures take sixty thousand
MAX_ARCHIVE_BYTES = 1 << 40
MAX_HEADER_BYTES = 64 * 1024  # of one pax or GNU name header
MAX_PADDING_BYTES = 1024 * 1024  # after the end; tar's largest usual record
MAX_SILENCE_SECONDS = 600.0  # a pipe's other end may be a slow line, or be dead
CHUNK = 1024 * 1024

_NOTHING = bytes(BLOCK)
# Docker before 25, of a layer written before; skopeo and podman, of every layer.
_LAYER_AGAIN = re.compile(r"\.\./[0-9a-f]{64}(?:/layer)?\.tar")

Tell = Callable[[int], None]


class Source:
    """Bytes from the front to the end. What is passed over is not read from a file."""

    def __init__(self, handle: int, *, tell: Tell | None = None) -> None:
        """Read what is open as `handle`; `tell` hears of every byte that went by."""
        status = os.fstat(handle)
        self.handle = handle
        self.is_file = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_file else None
        # A file that is given as standard input may have been read from already.
        self.position = os.lseek(handle, 0, os.SEEK_CUR) if self.is_file else 0
        self._tell = tell or _nobody

    def some(self, most: int) -> bytes:
        """Return at least one byte and at most `most`; nothing at the end.

        Raises:
            FileError: It cannot be read, or gave nothing for MAX_SILENCE_SECONDS.
        """
        try:
            if not self.is_file:
                ready, _, _ = select.select([self.handle], [], [], MAX_SILENCE_SECONDS)
                if not ready:
                    raise TimeoutError(0, "it gives nothing any more")
            part = os.read(self.handle, most)
        except OSError as error:
            raise FileError(
                f"the archive cannot be read: {error.strerror}",
                remedy="Check the disk, or what writes into the pipe.",
            ) from error
        self._went_by(len(part))
        return part

    def exactly(self, size: int) -> bytes:
        """Return so many bytes, or raise ArchiveError where there are fewer."""
        parts = bytearray()
        while len(parts) < size:
            part = self.some(min(size - len(parts), CHUNK))
            if not part:
                raise _cut()
            if len(part) == size:
                return part
            parts += part
        return bytes(parts)

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        if self.size is None:
            for _ in self.pieces(size):
                pass
            return
        if self.position + size > self.size:
            raise _cut()
        os.lseek(self.handle, size, os.SEEK_CUR)
        self._went_by(size)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield so many bytes in pieces of CHUNK; the last may have fewer."""
        for done in range(0, size, CHUNK):
            yield self.exactly(min(CHUNK, size - done))

    def _went_by(self, count: int) -> None:
        self.position += count
        if self.position > MAX_ARCHIVE_BYTES:
            raise _too_much(f"has more than {MAX_ARCHIVE_BYTES} bytes")
        self._tell(count)


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file: its name without `./`, and how many bytes it has."""

    name: str
    size: int


class Tar:
    """The plain files of an archive, in its order."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0  # of the present file's bytes, and the zeros after them
        self._seen: dict[bytes, bool] = {}

    def __iter__(self) -> Iterator[Member]:
        """Yield each file; its bytes are those of `data` until the next.

        Raises:
            ArchiveError: It is hostile, damaged or no tar.
            FileError: It cannot be read.
        """
        count, records = 0, dict[bytes, bytes]()
        while (block := self._block()) != _NOTHING:
            count += 1
            if count > MAX_MEMBERS:
                raise _too_much(f"has more than {MAX_MEMBERS} files")
            header = parse_header(block)
            if header.kind in (PAX, LONG_NAME):
                if records:
                    raise ArchiveError("says twice what comes", Code.ARCHIVE_HEADERS)
                records = self._records(header)
                continue
            member = self._member(overridden(header, records))
            records = {}
            if member is not None:
                padding = -member.size % BLOCK
                self._left = member.size + padding
                yield member
                self._source.skip(self._left)
                self._left = 0
        if records:
            raise ArchiveError("says of nothing what comes", Code.ARCHIVE_HEADERS)
        self._require_end()

    def data(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of the present file, in pieces of at most CHUNK."""
        for piece in self._source.pieces(member.size):
            self._left -= len(piece)
            yield piece

    def _block(self) -> bytes:
        return self._source.exactly(BLOCK)

    def _records(self, header: Header) -> dict[bytes, bytes]:
        if header.size > MAX_HEADER_BYTES:
            raise _too_much(f"has a header of more than {MAX_HEADER_BYTES} bytes")
        raw = self._source.exactly(header.size)
        self._source.exactly(-header.size % BLOCK)
        records = parse_pax(raw) if header.kind == PAX else parse_long_name(raw)
        return records or {b"": b""}  # so that a second one is noticed

    def _member(self, header: Header) -> Member | None:
        """Return a file; None for a folder, or a link to a layer beside it."""
        is_folder = header.kind == FOLDER
        name = checked_name(header.name, is_folder=is_folder)
        self._require_new(name, is_folder=is_folder)
        if header.kind in FILES:
            return Member(name, header.size)
        target = header.target.decode("ascii", "replace")
        is_layer = header.kind == LINK and name.endswith("/layer.tar")
        if header.size or not (
            is_folder or (is_layer and _LAYER_AGAIN.fullmatch(target))
        ):
            raise ArchiveError(
                f"has a {clip(name)} that is not a plain file", Code.ARCHIVE_NOT_FILES
            )
        return None

    def _require_new(self, name: str, *, is_folder: bool) -> None:
        """Refuse two files that some disk or reader would take for one."""
        folded = unicodedata.normalize("NFKC", name).casefold()
        key = blake2b(folded.encode(), digest_size=16).digest()
        if key in self._seen and not (is_folder and self._seen[key]):
            raise ArchiveError(
                f"has two files called {clip(name)}", Code.ARCHIVE_DUPLICATE
            )
        self._seen[key] = is_folder

    def _require_end(self) -> None:
        """Two blocks of nothing end a tar (pax(1)); only more nothing may follow."""
        if self._block() != _NOTHING:
            raise _goes_on()
        left = MAX_PADDING_BYTES
        while part := self._source.some(min(left, CHUNK) or 1):
            left -= len(part)
            if left < 0 or part.strip(b"\0"):
                raise _goes_on()


def _nobody(_count: int) -> None:
    pass


def _cut() -> ArchiveError:
    return ArchiveError("is cut short, or lies about a size", Code.ARCHIVE_CUT)


def _goes_on() -> ArchiveError:
    return ArchiveError("goes on after its end", Code.ARCHIVE_TRAILING)


def _too_much(what: str) -> ArchiveError:
    return ArchiveError(what, Code.ARCHIVE_TOO_LARGE)
