"""The files of a layout by name, wherever they are; and those of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from enforcer.core.errors import MalformedError
from enforcer.files import FileError, open_regular, read_file

CHUNK_BYTES = 1024 * 1024  # of a file that is not held in memory


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
            require_size(str(path), os.fstat(handle).st_size, size)
            yield from parts(handle, 0, size, str(path))


def parts(handle: int, start: int, size: int, name: str) -> Iterator[bytes]:
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


def require_size(name: str, found: int, expected: int) -> None:
    """Return if a file has the size it is listed with, or raise MalformedError."""
    if found != expected:
        raise MalformedError(
            f"{name} has {found} bytes, not the {expected} it is listed with",
            remedy="Make the layout again; suspect the disk.",
        )
