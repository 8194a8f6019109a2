"""Put a file or folder in place whole, whatever happens meanwhile.

It grows beside its place and is renamed to it: whenever it is killed, what was there
before still is, or all of the new. What a killed one left goes when the next begins.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from hashlib import blake2s
from pathlib import Path

from enforcer.files import sync_folder

FILE_MODE, FOLDER_MODE = 0o644, 0o755
MAX_BESIDE = 100_000  # names in the folder something goes to; beyond, none is tidied
OLD = ".old"  # ends the name of what was moved away to make room

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD (renameat2(2))
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # exchange, there
_IN_THE_WAY = frozenset({errno.ENOTEMPTY, errno.EEXIST})


@contextlib.contextmanager
def beside(path: Path, *, folder: bool = False) -> Iterator[tuple[Path, int]]:
    """Lend a new file or folder beside `path`, open; whatever has its name then goes.

    It is locked as long, so that nobody takes it for something left over.

    Raises:
        OSError, ValueError: There can be none.
    """
    temporary = path.with_name(f"{_start(path)}{secrets.token_hex(8)}")
    with contextlib.ExitStack() as stack:
        if folder:
            temporary.mkdir(mode=FOLDER_MODE)
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            handle = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(temporary, flags, FILE_MODE)
            stack.callback(temporary.unlink, missing_ok=True)
        stack.callback(os.close, handle)
        _lock(handle)
        yield temporary, handle


def put_folder(temporary: Path, path: Path, *, replace: bool) -> None:
    """Rename a folder to where none is, or an empty one, or with `replace` any.

    What was there has the other's name afterwards, or is removed.

    Raises:
        OSError: It is not there; what was before still is.
    """
    try:
        temporary.rename(path)
    except OSError as error:
        if not replace or error.errno not in _IN_THE_WAY:
            raise
        try:
            _exchange(temporary, path)
        except OSError as cannot:
            if cannot.errno not in _CANNOT:
                raise
            _by_two_renames(temporary, path)
    sync_folder(path.parent)


def tidy(path: Path) -> None:
    """Remove what was growing beside `path` when it was killed, as far as that goes.

    What stood at `path`, and was moved away and not replaced, is put back. Only what
    belongs to this user, and nobody holds, is touched.
    """
    with contextlib.suppress(OSError, ValueError):
        start = _start(path)
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, MAX_BESIDE)]
        for name in names:
            if name.startswith(start):
                with contextlib.suppress(OSError):
                    _tidy_one(path.with_name(name), path)


def _tidy_one(left: Path, path: Path) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(left, flags)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            return
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(status.st_mode):
            left.unlink()
        elif not stat.S_ISDIR(status.st_mode):
            return  # of a pipe rmtree would wait for another end
        elif left.name.endswith(OLD) and not os.path.lexists(path):
            left.rename(path)
        else:
            shutil.rmtree(left, ignore_errors=True)
    finally:
        os.close(handle)


def _start(path: Path) -> str:
    """Return how the names of all begin that grow beside `path`, however long it is."""
    return f".tmp-{blake2s(os.fsencode(path.name), digest_size=8).hexdigest()}-"


def _lock(handle: int) -> None:
    """Lock what nobody else knows yet; where there are no locks, nobody tidies, too."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # somebody tidies it away this moment
        raise
    except OSError:
        pass


def _exchange(one: Path, other: Path) -> None:
    """Have two names change places at once, or raise OSError."""
    import ctypes  # here: few need it, and it takes milliseconds to load

    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _by_two_renames(temporary: Path, path: Path) -> None:
    """Replace a folder; killed half-way, `tidy` puts back what was there."""
    old = temporary.with_name(temporary.name + OLD)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(handle)  # or who tidies meanwhile would put it back
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        os.close(handle)
