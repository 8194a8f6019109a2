"""Read files that strangers may have touched, and write ones that survive a crash.

The one place that opens paths: bounded, regular files only, never waiting on a pipe,
links followed only where a caller says so.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, TooLargeError


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

    `trusted` demands that only root (or whoever runs this process) can change it.
    Without `follow`, a symbolic link at the end of `path` is an error.

    Raises:
        FileMissingError: No such file.
        FileNotTrustedError: `trusted`, and somebody else could change it.
        TooLargeError: More than `max_bytes`.
        FileError: Anything else; the message names the path.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hold us up
    try:
        handle = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise FileMissingError(
            f"{path} does not exist", remedy="Check the path."
        ) from None
    except OSError as error:
        raise _cannot("read", path, error) from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{path} is not a regular file", remedy="Remove it.")
        if trusted:
            _require_own(path, status)
        try:
            content = file.read(max_bytes + 1)
        except OSError as error:
            raise _cannot("read", path, error) from error
    if len(content) > max_bytes:
        raise TooLargeError(
            f"{path} has more than {max_bytes} bytes",
            remedy="Nothing that large is read.",
        )
    return content


def require_trusted_folder(path: Path) -> None:
    """Return if only root, or whoever runs this process, can change the folder.

    Raises:
        FileMissingError: No such folder.
        FileNotTrustedError: Somebody else could change it, or it is a link.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise FileMissingError(
            f"{path} does not exist", remedy="Create it or name another."
        ) from None
    except OSError as error:
        raise _cannot("read", path, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise FileNotTrustedError(
            f"{path} is not a folder", remedy="A link or file cannot stand there."
        )
    _require_own(path, status)


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


def sync_folder(path: Path) -> None:
    """Make renames in this folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an exclusive lock on a file, made if missing.

    Yields False where `wait` is off and somebody else holds it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot("open", path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(handle)


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    """Make a folder and its parents, or raise FileError."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot("make", path, error) from error


def _require_own(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise FileNotTrustedError(
            f"{path} belongs to uid {status.st_uid}, not to root",
            remedy=f"chown root:root {path}",
        )
    if status.st_mode & 0o022:
        raise FileNotTrustedError(
            f"{path} can be written by group or others (mode "
            f"{stat.S_IMODE(status.st_mode):04o})",
            remedy=f"chmod go-w {path}",
        )


def _cannot(verb: str, path: Path, error: OSError) -> FileError:
    return FileError(
        f"cannot {verb} {path}: {error.strerror}",
        remedy="Check the path, its owner and mode, and the disk.",
    )
