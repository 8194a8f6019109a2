"""The blobs of a cache folder: files named by their sha256, written many at a time.

A blob is whole, and on the disk, before it has its name. What a write that did not end
left behind is known from two places, so that nobody has to look through all: `incoming`
has what had no name yet, and `pending` lists what the index was to name, or forget.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.files import (
    FileError,
    FileMissingError,
    make_folder,
    read_file,
    sync_folder,
)

MAX_PENDING_BYTES = 256 * 1024 * 1024  # a line of 65 bytes for each of 4 million blobs
MANY = 8  # files that are worth a sync of the whole file system instead of theirs
# syncfs(2): "from Linux 5.8 on it returns an error if an inode could not be written".
SYNCFS_TELLS = (5, 8)
TOUCHED_SECONDS = 24 * 3600.0  # how exact the time of the last import is

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class ChangedError(EnforcerError):
    """A file is there, and has other content than its name says."""


class UnreadableError(EnforcerError):
    """A blob may be good, but cannot be read: the disk, or too many open files."""


class BlobFolder:
    """Where blobs are. To write, the caller holds the cache's lock and is its owner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "blobs" / "sha256"
        self._incoming = root / "incoming"
        self._pending = root / "pending"

    def place(self, digest: Digest) -> Path:
        """Return where a blob is, if it is there."""
        return self.folder / digest.hex

    def read(self, digest: Digest, max_bytes: int) -> bytes:
        """Return a blob's bytes, hashed.

        Raises:
            UnreadableError: A file is there, and cannot be read now.
            EnforcerError: It is not there, or something else is.
        """
        path = self.place(digest)
        try:
            raw = read_file(path, max_bytes=max_bytes, follow=False)
        except FileMissingError:
            raise
        except FileError as error:
            if isinstance(error.__cause__, OSError) and _may_be_whole(path):
                raise UnreadableError(error.what, remedy=error.remedy) from error
            raise
        if not digest.matches(raw):
            raise ChangedError("it has other content", remedy="")
        return raw

    def lacks(self, digest: Digest, blob: bytes) -> bool:
        """Whether a blob has to be written; one that is there has come once more."""
        path = self.place(digest)
        try:
            status = path.lstat()
            whole = self.read(digest, len(blob)) == blob
        except (OSError, EnforcerError):
            return True
        if whole and time.time() - status.st_mtime > TOUCHED_SECONDS:
            os.utime(path, follow_symlinks=False)
        return not whole

    def write(self, blobs: Mapping[Digest, bytes]) -> None:
        """Put blobs in place, all or, where an OSError is raised, some.

        1. Each is a file in `incoming`. 2. All of these are on the disk. 3. `pending`
        says what will be there, and is on the disk. 4. They get their names, which are
        on the disk then; so are those that a writer that died has given.
        """
        make_folder(self._incoming)
        # Open before anything is written: errors since then are told by it.
        with _opened(self._incoming) as incoming, _opened(self.folder) as folder:
            names = {digest: str(number) for number, digest in enumerate(blobs)}
            for digest, blob in blobs.items():
                _write(names[digest], incoming, blob)
            _sync_all(incoming, names.values())
            self.announce(blobs)
            for digest, name in names.items():
                os.rename(name, digest.hex, src_dir_fd=incoming, dst_dir_fd=folder)
            os.fsync(folder)

    def remove(self, digests: Iterable[Digest]) -> None:
        """Delete blobs; one that is gone is no error."""
        for digest in digests:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                self.place(digest).unlink()

    def announce(self, digests: Collection[Digest]) -> None:
        """Note durably that these may have to go, should this write not end."""
        if not digests:
            return
        text = "".join(f"{digest.hex}\n" for digest in digests).encode("ascii")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._pending, flags, 0o600)
        try:
            _write_all(handle, text)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(self.root)

    def settle(self, named: Callable[[Sequence[Digest]], Collection[Digest]]) -> None:
        """Remove what a write that did not end has left; `named` asks the index."""
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._incoming.iterdir()):
                path.unlink()
        listed = self._announced()
        if listed:
            self.remove(set(listed) - set(named(listed)))
            sync_folder(self.folder)
        self.settled()

    def settled(self) -> None:
        """Note that the index names what is there, and nothing else."""
        self._pending.unlink(missing_ok=True)

    def is_unsettled(self) -> bool:
        """Whether a write did not end, or has not yet."""
        try:
            return self._pending.exists() or any(self._incoming.iterdir())
        except FileNotFoundError:
            return False

    def names(self) -> Iterator[str]:
        """Return every name in the folder, in no order."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                yield entry.name

    def _announced(self) -> list[Digest]:
        if not os.path.lexists(self._pending):
            return []
        raw = read_file(self._pending, max_bytes=MAX_PENDING_BYTES, follow=False)
        found = []
        for line in raw.decode("ascii", "replace").split("\n"):
            with contextlib.suppress(EnforcerError):  # a power cut left half a line
                found.append(Digest.parse(f"sha256:{line}"))
        return found


def _may_be_whole(path: Path) -> bool:
    """Whether there is a file, as far as can be seen: what is no file is damage."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _write(name: str, folder: int, content: bytes) -> None:
    handle = os.open(name, _WRITE, 0o600, dir_fd=folder)
    try:
        _write_all(handle, content)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _sync_all(folder: int, names: Collection[str]) -> None:
    """Return when all of these files are on the disk, or raise OSError."""
    if len(names) > MANY and _syncfs_tells():
        import ctypes  # here: few need it, and it takes milliseconds to load

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(folder) == 0:
            return
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name in names:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(name, flags, dir_fd=folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _syncfs_tells() -> bool:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return all(n.isdecimal() for n in numbers) and tuple(map(int, numbers)) >= (
        SYNCFS_TELLS
    )
