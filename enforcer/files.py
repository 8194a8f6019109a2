"""Read files that strangers may have touched, and write ones that survive a crash.

The one place that opens paths: bounded, regular files only, never waiting on a pipe,
links followed only where a caller says so.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, TooLargeError

LOCK_SECONDS = 30.0  # another writer imports for some seconds, a stopped one for ever
LOCK_POLL_SECONDS = 0.02
PART_BYTES = 1024 * 1024  # of a file that is not held in memory


class FileError(EnforcerError):
    """A file cannot be read or written, or is none."""

    default_code = Code.CONTENT_MISSING


class FileMissingError(FileError):
    """There is no such file."""


class FileNotTrustedError(EnforcerError):
    """A file that rules this host could be changed by somebody else."""

    default_code = Code.FILE_NOT_TRUSTED


def read_file(
    path: Path, *, max_bytes: int, trusted: bool = False, follow: bool = True
) -> bytes:
    """Return all bytes of a regular file.

    `trusted` demands that only root (or whoever runs this process) can change it,
    and that nobody did while it was read. Without `follow`, a symbolic link at the
    end of `path` is an error.

    Raises:
        FileMissingError: No such file.
        FileNotTrustedError: `trusted`, and somebody else could change it.
        TooLargeError: More than `max_bytes`.
        FileError: Anything else; the message names the path.
    """
    with open_regular(path, follow=follow) as handle:
        status = os.fstat(handle)
        if trusted:
            _require_own(path, status)
        if status.st_size > max_bytes:
            raise _too_large(path, max_bytes)
        try:
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(max_bytes + 1)
            changed = trusted and _version(os.fstat(handle)) != _version(status)
        except OSError as error:
            raise _cannot("read", path, error) from error
    if len(content) > max_bytes:  # of a file that grows, or one in /proc
        raise _too_large(path, max_bytes)
    if changed:
        raise FileError(f"{path} changed while it was read", remedy="Try again.")
    return content


def read_parts(path: Path, *, follow: bool = True) -> Iterator[bytes]:
    """Yield the bytes of a regular file, a part at a time; errors as `read_file`."""
    with open_regular(path, follow=follow) as handle:
        try:
            while part := os.read(handle, PART_BYTES):
                yield part
        except OSError as error:
            raise _cannot("read", path, error) from error


@contextlib.contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[int]:
    """Lend a descriptor to read a regular file by; a pipe does not hold us up.

    Raises:
        FileMissingError: No such file.
        FileError: It is not a regular file, or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        handle = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _cannot("read", path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileError(
                f"{path} is not a regular file",
                remedy="Name a file; or move away what is there.",
            )
        yield handle
    finally:
        os.close(handle)


def require_trusted_folder(path: Path) -> None:
    """Return if only root, or whoever runs this process, can change the folder.

    Or exchange it: every folder above it counts, too. One above that others may
    write to is good enough if it is sticky, as /tmp is.

    Raises:
        FileMissingError: No such folder.
        FileNotTrustedError: Somebody else could change it, or it is a link.
        FileError: It cannot be looked at.
    """
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise FileNotTrustedError(
                f"{path} is not a folder", remedy="A link or file cannot stand there."
            )
        _require_own(path, status)
        parent = path.absolute().parent.resolve(strict=True)
        for above in (parent, *parent.parents):
            _require_own(above, above.stat(), sticky_will_do=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        raise _cannot("read", path, error) from error


def require_trusted(path: Path) -> None:
    """Return if only root, or whoever runs this process, can change or exchange a file.

    Links are followed; what holds the link counts as much as what it names.

    Raises:
        FileMissingError: No such file.
        FileNotTrustedError: Somebody else could change it.
        FileError: It cannot be looked at.
    """
    try:
        real = path.resolve(strict=True)
        _require_own(path, real.stat())
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise FileError(f"cannot read {path}: {error}", remedy="Remove it.") from error
    for folder in {path.absolute().parent.resolve(), real.parent}:
        require_trusted_folder(folder)


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a whole file in place or none: temporary file, fsync, rename, fsync.

    Raises:
        FileError: It could not be written; what was there before still is.
    """
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        handle = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode
        )
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _cannot("write", path, error) from error


def remove_file(path: Path) -> None:
    """Remove a file for good, or a link as such: unlink, fsync of its folder.

    Raises:
        FileMissingError: No such file.
        FileError: It could not be removed, or may be back after a power cut.
    """
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        raise _cannot("remove", path, error) from error


def sync_folder(path: Path) -> None:
    """Make renames in this folder survive a power cut, or raise OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an exclusive lock on a folder, or on a file that is made if missing.

    Yields False where `wait` is off and somebody else holds it.

    Raises:
        FileError: It cannot be opened or locked, or was not let go within LOCK_SECONDS.
    """
    kind = os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        handle = os.open(path, kind | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise _cannot("open", path, error) from error
    try:
        yield lock(handle, path, wait=wait)
    finally:
        os.close(handle)


def lock(handle: int, path: Path, *, wait: bool) -> bool:
    """Lock what is open until it is closed; returns and raises as `locked`."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
        except OSError as error:
            raise _cannot("lock", path, error) from error
        else:
            return True
        if time.monotonic() >= until:
            raise FileError(
                f"{path} has been locked by another process for {LOCK_SECONDS:g} s",
                remedy=f"Find it with `fuser {path}` and let it end.",
            )
        time.sleep(LOCK_POLL_SECONDS)


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and what is missing above it, or raise FileError.

    What it makes has this mode, whatever the umask: others may have to read there. It
    survives a power cut, or what is synced in it later would be lost with it.
    """
    try:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # made by somebody meanwhile
                _make_one(folder, mode)
    except (OSError, ValueError) as error:
        raise _cannot("make", path, error) from error
    if not path.is_dir():
        raise FileError(f"{path} is not a folder", remedy="Move away what is there.")


def _make_one(folder: Path, mode: int) -> None:
    folder.mkdir(mode=mode)
    try:
        folder.chmod(mode)
        with contextlib.suppress(PermissionError):  # not ours to read
            sync_folder(folder.parent)
    except OSError:
        folder.rmdir()  # or the next writer would take it for one that lasts
        raise


def _require_own(
    path: Path, status: os.stat_result, *, sticky_will_do: bool = False
) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise FileNotTrustedError(
            f"{path} belongs to uid {status.st_uid}, not to root",
            remedy=f"chown root:root {path}",
        )
    sticky = sticky_will_do and status.st_mode & stat.S_ISVTX
    if status.st_mode & 0o022 and not sticky:
        raise FileNotTrustedError(
            f"{path} can be written by group or others (mode "
            f"{stat.S_IMODE(status.st_mode):04o})",
            remedy=f"chmod go-w {path}",
        )


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _missing(path: Path) -> FileMissingError:
    return FileMissingError(f"{path} does not exist", remedy="Check the path.")


def _too_large(path: Path, max_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"{path} has more than {max_bytes} bytes",
        remedy="Nothing that large is read.",
    )


def _cannot(verb: str, path: Path, error: OSError | ValueError) -> FileError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        why = "it is a symbolic link, which is not followed here"
    return FileError(
        f"cannot {verb} {path}: {why}",
        remedy="Check the path, its owner and mode, and the disk.",
    )
