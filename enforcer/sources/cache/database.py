"""`index.db`, opened to be asked or to be changed: SQLite in WAL mode.

Every write ends with the log (`-wal`) copied into the file, so that at rest the file
alone is whole. Then it is read alone, under a lock that keeps writers out for as long
as a question takes: nothing is written for it, no `-shm` made, whatever the disk is
like. The log of a writer that has died is read so as well. While a writer is at work,
readers take the last commit out of the log by way of `-shm`, and wait for nobody.

Who opens a log acts as the folder's owner: to open it is to write.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from enforcer.core.codes import Code
from enforcer.files import sync_folder
from enforcer.owner import as_owner
from enforcer.ports import CacheError
from enforcer.sources.cache.schema import SCHEMA, create

RECOVER_SECONDS = 1.0  # another process reads the log of a writer that died
CHECKPOINT_SECONDS = 5.0  # a reader's question, which takes milliseconds
ALONE_SECONDS = 1.0  # a writer, where the log cannot be read; a decision has three
ALONE_POLL_SECONDS = 0.02
READ_CACHE_KIB = 512
WRITE_CACHE_KIB = 16 * 1024  # a hundred thousand signatures are four times that
ATTEMPTS = 3  # at a file that is replaced meanwhile

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
# sqlite3 raises UnicodeDecodeError for messages that quote a damaged schema.
ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)

_VERSION_OFFSET = 60  # of user_version in the file (sqlite.org/fileformat2, 1.3)
_VERSIONS = 2**31

_Found = TypeVar("_Found")
_Marks = tuple[tuple[int, ...] | None, ...]  # which files, in which state
Question = Callable[[sqlite3.Connection], _Found]


class Database:
    """The index file of a cache folder. Safe to share between threads.

    Without the file the cache is empty, unless there are blobs: then it was lost,
    which is an error.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root.absolute() / "index.db"
        self._lock = root / "lock"
        self._kept: sqlite3.Connection | None = None
        self._handle: int | None = None  # of the file, where nobody writes
        self._marks: _Marks = ()
        self._turn = threading.Lock()

    def __del__(self) -> None:
        self._let_go()

    # -- reading -----------------------------------------------------------------

    def ask(self, question: Question[_Found]) -> _Found | None:
        """Return what a question finds in the last commit; None without a cache.

        Raises:
            CacheError: The index cannot be used.
        """
        try:
            if not _is_there(self.path) and not _is_there(self._root / "blobs"):
                return None
            with self._turn:
                return self._answer(question)
        except ERRORS as error:
            raise self.unusable(error) from error

    def _answer(self, question: Question[_Found]) -> _Found:
        with _no_writer(self._lock, 0) as free:
            if free:
                return self._ask_alone(question)
        try:
            return self._ask_log(question)
        except ERRORS as error:
            self._let_go()
            if not _is_refused(error):
                raise
            refused = error
        with _no_writer(self._lock, ALONE_SECONDS) as free:
            if free:
                return self._ask_alone(question)
        raise refused

    def _ask_alone(self, question: Question[_Found]) -> _Found:
        """Ask the file, and the log if there is anything in it, while nobody writes.

        With an exclusive lock SQLite has no `-shm`, and this VFS locks nothing: where
        that has no room, it is a page that this process would die of (SIGBUS).
        """
        self._require_files()
        if self._kept is None or self._marks != self._version():
            self._let_go()
            with as_owner(self._root):
                _, logged, _ = self._log()
                if logged:
                    self._keep("mode=ro&vfs=unix-none", "locking_mode = EXCLUSIVE")
                else:
                    self._keep("mode=ro&immutable=1")
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._marks = self._version()
        try:
            return question(self._reader())
        except ERRORS:
            self._let_go()
            raise

    def _ask_log(self, question: Question[_Found]) -> _Found:
        """Ask for the last commit in the log; the file may be replaced meanwhile.

        The log and its `-shm` that are open are those first found, whatever has been
        put in their places since.
        """
        for _ in range(ATTEMPTS):
            before = self._require_files()
            if self._kept is None or self._marks != before:
                self._let_go()
                with as_owner(self._root):
                    self._keep("mode=ro")
                self._marks = self._require_files()
            found = question(self._reader())
            if _mark(self.path) == before[0]:
                return found
        raise OSError("it is replaced again and again")

    def _keep(self, how: str, *settings: str) -> None:
        self._kept = _connect(self.path, how, RECOVER_SECONDS)
        for setting in settings:  # before the first look at the file
            self._kept.execute(f"PRAGMA {setting}")
        _settle(self._kept, READ_CACHE_KIB)
        self._kept.execute("PRAGMA query_only = ON")
        _require_schema(self._kept)  # opens the log, too

    def _reader(self) -> sqlite3.Connection:
        if self._kept is None:
            raise sqlite3.OperationalError("it is closed")
        return self._kept

    def _log(self) -> tuple[int, int, int]:
        """Return which log it is, its size, and when it was last written."""
        try:
            status = _log_of(self.path).lstat()
        except FileNotFoundError:
            return 0, 0, 0
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _version(self) -> _Marks:
        """Return what is another after every change, however soon it comes."""
        if self._handle is None:
            return ()
        status = self.path.lstat()
        number = os.pread(self._handle, 4, _VERSION_OFFSET)
        times = status.st_mtime_ns, int.from_bytes(number, "big")
        file = status.st_dev, status.st_ino, status.st_size
        return file, times, self._log()

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
        if self._handle is not None:
            # This lets go of all locks this process has on the file (fcntl(2)). What
            # keeps writers apart is `lock`, and what readers need is on `-shm`.
            os.close(self._handle)
        self._kept, self._handle, self._marks = None, None, ()

    # -- changing: the caller holds the lock, and is the owner ---------------------

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Lend a transaction; when the block raises, nothing has changed.

        Raises:
            CacheError: The index cannot be used, or the disk did not take it.
        """
        try:
            self._require_files()
            opened = _connect(self.path, "mode=rw", CHECKPOINT_SECONDS)
            with contextlib.closing(opened) as connection:
                _settle(connection, WRITE_CACHE_KIB)
                _require_schema(connection)
                _require_log(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                _count(connection)
                yield connection
                connection.execute("COMMIT")
                _check_point(connection)
        except ERRORS as error:
            raise self.unusable(error) from error

    @contextlib.contextmanager
    def making(self) -> Iterator[sqlite3.Connection]:
        """Lend an empty index, in a file beside that is gone afterwards.

        `put_in_place` makes it the index.
        """
        path = self._beside
        try:
            _remove(path)
            path.touch(mode=0o600, exist_ok=False)
            with contextlib.closing(_connect(path, "mode=rw", 0)) as connection:
                _settle(connection, WRITE_CACHE_KIB)
                for setting in ("journal_mode", "synchronous"):
                    connection.execute(f"PRAGMA {setting} = OFF")  # it may be lost
                connection.execute("BEGIN")
                create(connection)
                _count(connection, secrets.randbelow(_VERSIONS))
                yield connection
        except ERRORS as error:
            raise self.unusable(error) from error
        finally:
            with contextlib.suppress(OSError):
                _remove(path)

    def put_in_place(self, made: sqlite3.Connection) -> None:
        """Make what `making` lent the index, under the eyes of readers.

        1. The new file is whole and on the disk. 2. The log of the old one is empty, or
        gone: it must not be taken for the new one's. 3. Rename. 4. `-shm` goes, so that
        who still reads the old file does not speak with who reads the new.
        """
        if made.in_transaction:
            made.execute("COMMIT")
        _require_log(made)
        made.close()
        _sync(self._beside)
        if os.path.lexists(_log_of(self.path)):
            self._empty_log()
        self._beside.rename(self.path)
        sync_folder(self.path.parent)
        for beside in self._companions():
            beside.unlink(missing_ok=True)

    def _empty_log(self) -> None:
        try:
            with contextlib.closing(
                _connect(self.path, "mode=rw", CHECKPOINT_SECONDS)
            ) as old:
                _check_point(old)
        except sqlite3.Error:
            pass  # the old one is damaged: so is what its log says
        log = _log_of(self.path)
        if log.exists() and log.stat().st_size:
            log.unlink()

    @property
    def _beside(self) -> Path:
        return self.path.with_name("index.new")

    def _companions(self) -> tuple[Path, Path]:
        return _log_of(self.path), self.path.with_name("index.db-shm")

    def _require_files(self) -> _Marks:
        """Return which files these are; what is no file would be waited for."""
        if not os.path.lexists(self.path):
            raise sqlite3.DatabaseError("it is missing")
        return tuple(_mark(path) for path in (self.path, *self._companions()))

    def unusable(self, error: Exception) -> CacheError:
        """Say that the index cannot be used, and what to do."""
        unavailable = isinstance(error, OSError) or _is_refused(error)
        return CacheError(
            f"the index of the signature cache, {self.path}, cannot be used: {error}",
            remedy="Check the folder, its owner and the disk."
            if unavailable
            else "Run `enforcer cache fsck --repair`; nothing is lost by it.",
            code=Code.CACHE_UNAVAILABLE if unavailable else Code.CACHE_CORRUPT,
        )


def _connect(path: Path, how: str, seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        timeout=seconds,
        check_same_thread=False,
    )


def _settle(connection: sqlite3.Connection, cache_kib: int) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")


def _require_schema(connection: sqlite3.Connection) -> None:
    """A view or a trigger of somebody else's would run while we ask."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    if [row[0] for row in rows.fetchmany(len(SCHEMA) + 1)] != list(SCHEMA):
        raise sqlite3.DatabaseError("its tables are not those of this version")


def _require_log(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"its journal is {mode}, not a log")


def _count(connection: sqlite3.Connection, by: int = 1) -> None:
    """Change what readers of the file alone know it by."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {(version + by) % _VERSIONS}")


def _check_point(connection: sqlite3.Connection) -> None:
    """Copy the log into the file; where a reader is in the way, the next one does."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _is_refused(error: Exception) -> bool:
    """Whether this is for want of leave or room, and not about what the file holds."""
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its subkind
    return number in _UNAVAILABLE


@contextlib.contextmanager
def _no_writer(lock: Path, seconds: float) -> Iterator[bool]:
    """Keep writers out for as long as a question takes; False where one is at work."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(lock, flags)
    except FileNotFoundError:  # nobody ever wrote here: it was copied
        yield True
        return
    try:
        yield _share(handle, time.monotonic() + seconds)
    finally:
        os.close(handle)


def _share(handle: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(ALONE_POLL_SECONDS)
        else:
            return True


def _is_there(path: Path) -> bool:
    """Say so; that it cannot be looked at is an error, unlike to os.path.lexists."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _mark(path: Path) -> tuple[int, int] | None:
    """Return which file this is; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise sqlite3.DatabaseError(f"{path.name} is not a regular file")
    return status.st_dev, status.st_ino


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _remove(path: Path) -> None:
    for name in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
