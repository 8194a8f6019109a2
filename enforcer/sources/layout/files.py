"""The files of a layout by name, wherever they are; and those of a folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from enforcer.files import FileError, open_regular, read_file

CHUNK = 1024 * 1024


class LayoutFiles(Protocol):
    """Reads the files of a layout; names come from checked digests only."""

    name: str

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a file's bytes; FileMissingError, TooLargeError or FileError."""

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield a file in pieces of at most CHUNK, `size` bytes in all.

        Raises:
            FileMissingError: There is no such file.
            FileError: It cannot be read, or has another size.
        """


class FolderFiles:
    """A layout in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read a regular file below the folder; a link in its place is refused."""
        return read_file(self._root / name, max_bytes=max_bytes, follow=False)

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield a regular file below the folder in pieces."""
        path = self._root / name
        with open_regular(path, follow=False) as handle:
            yield from read_chunks(handle, 0, size, str(path))
            with contextlib.suppress(OSError):
                if os.fstat(handle).st_size == size:
                    return
        raise other_size(str(path), size)


def read_chunks(handle: int, start: int, size: int, shown: str) -> Iterator[bytes]:
    """Yield so many bytes of an open file from `start`, or raise FileError."""
    position, end = start, start + size
    while position < end:
        try:
            part = os.pread(handle, min(CHUNK, end - position), position)
        except OSError as error:
            raise FileError(
                f"cannot read {shown}: {error.strerror}", remedy="Check the disk."
            ) from error
        if not part:
            raise other_size(shown, size)
        position += len(part)
        yield part


def other_size(shown: str, size: int) -> FileError:
    """Make the refusal of a file that is longer or shorter than was said."""
    return FileError(
        f"{shown} does not have {size} bytes, as its descriptor says",
        remedy="Make the layout again; suspect the disk.",
    )
