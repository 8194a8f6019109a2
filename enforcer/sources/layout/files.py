"""The files of a layout by name: in a folder, or in a plain tar archive.

The archive is read here and not by tarfile, which believes what a header says: it
allocates any size, reads any header and follows links. Of a hostile archive nothing
but the wanted members is read, and a link, device or sparse file is never one.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enforcer.core.errors import MalformedError, TooLargeError, clip
from enforcer.files import FileError, FileMissingError, open_regular, read_file

MAX_MEMBERS = 100_000  # files in one archive
MAX_HEADER_BYTES = 64 * 1024  # of one pax or GNU name header; names have 4 KiB
BLOCK = 512
CHUNK_BYTES = 1024 * 1024  # of a file that is not held in memory

_OCTAL = re.compile(rb"[0-7]{0,12}")
_DECIMAL = re.compile(rb"[0-9]{1,19}")
_PAX_RECORD = re.compile(rb"(\d{1,6}) ([^=\n]{1,256})=", re.DOTALL)


class LayoutFiles(Protocol):
    """Reads the files of a layout; names come from checked digests only."""

    name: str

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a file's bytes; FileMissingError, TooLargeError or FileError."""

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield the `size` bytes of a file of just that size; errors as `read`."""


class FolderFiles:
    """A layout in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read a regular file below the folder; a link in its place is refused."""
        return read_file(self._root / name, max_bytes=max_bytes, follow=False)

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield the bytes of a regular file of this size, a part at a time."""
        path = self._root / name
        with open_regular(path, follow=False) as handle:
            if (found := os.fstat(handle).st_size) != size:
                raise _other_size(str(path), found, size)
            yield from _parts(handle, 0, size, str(path))


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member's bytes are; `is_file` is false for links, devices and folders."""

    name: str
    start: int
    size: int
    is_file: bool


class ArchiveFiles:
    """A layout in an uncompressed tar (POSIX ustar and pax, GNU long names).

    A member is found by its exact name, with or without `./` before it; two of one name
    are refused, because readers differ on which counts.
    """

    def __init__(self, handle: int, name: str) -> None:
        """List the archive that is open as `handle`."""
        self.name = name
        self._handle = handle
        self._members: dict[str, _Member] = {}
        for member in self._walk():
            if member.name in self._members and member.is_file:
                raise self._wrong(f"has two members called {clip(member.name)}")
            self._members[member.name] = member

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read one member, refusing links, devices and more than `max_bytes`."""
        member = self._member_called(name)
        if member.size > max_bytes:
            raise TooLargeError(
                f"{name} in {self.name} has more than {max_bytes} bytes",
                remedy="Nothing that large is read.",
            )
        return self._bytes(member.start, member.size)

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield the bytes of one member of this size, a part at a time."""
        member = self._member_called(name)
        if member.size != size:
            raise _other_size(f"{name} in {self.name}", member.size, size)
        yield from _parts(self._handle, member.start, size, self.name)

    def _member_called(self, name: str) -> _Member:
        member = self._members.get(name)
        if member is None:
            raise FileMissingError(
                f"{self.name} has no {name}", remedy="Make the archive again."
            )
        if not member.is_file:
            raise self._wrong(f"has a {name} that is not a plain file")
        return member

    def _walk(self) -> Iterator[_Member]:
        """Yield every member; what a header says is checked against the file's size."""
        end = os.fstat(self._handle).st_size
        position, count, extra = 0, 0, dict[bytes, bytes]()
        while position < end:
            header = self._bytes(position, BLOCK)
            if not header.strip(b"\0"):
                return
            count += 1
            if count > MAX_MEMBERS:
                raise self._wrong(f"has more than {MAX_MEMBERS} members")
            kind = header[156:157]
            size = self._size(header, kind, extra)
            start = position + BLOCK
            if start + size > end:
                raise self._wrong("is cut short, or lies about a size")
            position = start + -(-size // BLOCK) * BLOCK
            if kind in b"xL":  # pax records, or GNU's long name, for what comes next
                extra |= self._extra(kind, start, size)
            elif kind not in b"gK":  # pax defaults, and a long link target
                yield self._member(header, extra, start, size)
                extra = {}

    def _member(
        self, header: bytes, extra: dict[bytes, bytes], start: int, size: int
    ) -> _Member:
        raw = extra.get(b"path") or _text(header[:100])
        if b"path" not in extra and header[257:263] == b"ustar\0":
            raw = b"/".join(part for part in (_text(header[345:500]), raw) if part)
        is_sparse = any(key.startswith(b"GNU.sparse") for key in extra)
        return _Member(
            raw.decode("utf-8", "backslashreplace").removeprefix("./"),
            start,
            size,
            is_file=header[156:157] in (b"0", b"\0", b"7") and not is_sparse,
        )

    def _extra(self, kind: bytes, start: int, size: int) -> dict[bytes, bytes]:
        if size > MAX_HEADER_BYTES:
            raise self._wrong(f"has a header of more than {MAX_HEADER_BYTES} bytes")
        raw = self._bytes(start, size)
        if kind == b"L":
            return {b"path": _text(raw)}
        found, position = dict[bytes, bytes](), 0
        while position < len(raw):
            record = _PAX_RECORD.match(raw, position)
            after = position + int(record[1]) if record else 0
            if record is None or raw[after - 1 : after] != b"\n":
                raise self._wrong("has a malformed pax header")
            found[record[2]] = raw[record.end() : after - 1]
            position = max(after, record.end())
        return found

    def _size(self, header: bytes, kind: bytes, extra: dict[bytes, bytes]) -> int:
        """Return how many bytes follow a header whose check sum is right."""
        spaces = b" " * 8  # what the field counts as in its own sum
        if self._octal(header[148:156]) != sum(header[:148] + spaces + header[156:]):
            raise self._wrong("is not a plain tar archive, or is damaged")
        if kind in b"123456":  # links, devices, folders: no data, whatever they say
            return 0
        if kind not in b"xLgK" and b"size" in extra:
            if not _DECIMAL.fullmatch(extra[b"size"]):
                raise self._wrong("has a size that is no number")
            return int(extra[b"size"])
        field = header[124:136]
        if field[0] & 0x80:
            return int.from_bytes(field[1:], "big")  # GNU: beyond 8 GiB
        return self._octal(field)

    def _octal(self, field: bytes) -> int:
        digits = _text(field).strip(b" ")
        if not _OCTAL.fullmatch(digits):
            raise self._wrong("is not a plain tar archive, or is damaged")
        return int(digits or b"0", 8)

    def _bytes(self, start: int, size: int) -> bytes:
        return b"".join(_parts(self._handle, start, size, self.name))

    def _wrong(self, what: str) -> MalformedError:
        return MalformedError(
            f"{self.name} {what}",
            remedy="Give an uncompressed OCI archive (gunzip it first).",
        )


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[ArchiveFiles]:
    """List an archive and lend it.

    Raises:
        FileError: It is not a regular file, or cannot be opened.
        MalformedError: It is no plain tar, cut short, or ambiguous.
    """
    with open_regular(path) as handle:
        yield ArchiveFiles(handle, str(path))


def _parts(handle: int, start: int, size: int, name: str) -> Iterator[bytes]:
    """Yield `size` bytes from `start` on, at most CHUNK_BYTES at once."""
    end = start + size
    while start < end:
        try:
            part = os.pread(handle, min(CHUNK_BYTES, end - start), start)
        except OSError as error:
            raise FileError(
                f"{name} cannot be read: {error.strerror}", remedy="Check the disk."
            ) from error
        if not part:
            raise MalformedError(f"{name} is cut short", remedy="Make it again.")
        yield part
        start += len(part)


def _other_size(name: str, found: int, expected: int) -> MalformedError:
    return MalformedError(
        f"{name} has {found} bytes, not the {expected} it is listed with",
        remedy="Make the layout again; suspect the disk.",
    )


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
