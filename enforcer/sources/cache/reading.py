"""`index.db`, asked: while nobody writes by itself, else by way of its log.

While nobody writes, the file is read alone, under a lock that keeps writers out for as
long as a question takes: nothing is written for it, no `-shm` made, whatever the disk
is like. The log of a writer that has died is read so as well. While a writer is at
work, readers take the last commit out of the log by way of `-shm`, and wait for nobody.

Who opens a log acts as the folder's owner: to open it is to write.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from enforcer.owner import as_owner
from enforcer.sources.cache.connection import (
    ERRORS,
    Marks,
    connect,
    is_refused,
    is_there,
    log_of,
    mark,
    require_files,
    require_schema,
    settle,
    unusable,
)

RECOVER_SECONDS = 1.0  # another process reads the log of a writer that died
ALONE_SECONDS = 1.0  # a writer, where the log cannot be read; a decision has three
ALONE_POLL_SECONDS = 0.02
CACHE_KIB = 512
ATTEMPTS = 3  # at a file that is replaced meanwhile

_VERSION_OFFSET = 60  # of user_version in the file (sqlite.org/fileformat2, 1.3)

_Found = TypeVar("_Found")
Question = Callable[[sqlite3.Connection], _Found]


class Reader:
    """Asks the index file of a cache folder. Safe to share between threads.

    Without the file the cache is empty, unless there are blobs: then it was lost,
    which is an error.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root.absolute() / "index.db"
        self._lock = root / "lock"
        self._kept: sqlite3.Connection | None = None
        self._handle: int | None = None  # of the file, where nobody writes
        self._marks: Marks = ()
        self._turn = threading.Lock()

    def __del__(self) -> None:
        self._let_go()

    def ask(self, question: Question[_Found]) -> _Found | None:
        """Return what a question finds in the last commit; None without a cache.

        Raises:
            CacheError: The index cannot be used.
        """
        try:
            if not is_there(self._path) and not is_there(self._root / "blobs"):
                return None
            with self._turn:
                return self._answer(question)
        except ERRORS as error:
            raise unusable(self._path, error) from error

    def _answer(self, question: Question[_Found]) -> _Found:
        with _no_writer(self._lock, 0) as free:
            if free:
                return self._ask_alone(question)
        try:
            return self._ask_log(question)
        except ERRORS as error:
            self._let_go()
            if not is_refused(error):
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
        require_files(self._path)
        if self._kept is None or self._marks != self._version():
            self._let_go()
            with as_owner(self._root):
                _, logged, _ = self._log()
                if logged:
                    self._keep("mode=ro&vfs=unix-none", "locking_mode = EXCLUSIVE")
                else:
                    self._keep("mode=ro&immutable=1")
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
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
            before = require_files(self._path)
            if self._kept is None or self._marks != before:
                self._let_go()
                with as_owner(self._root):
                    self._keep("mode=ro")
                self._marks = require_files(self._path)
            found = question(self._reader())
            if mark(self._path) == before[0]:
                return found
        raise OSError("it is replaced again and again")

    def _keep(self, how: str, *settings: str) -> None:
        self._kept = connect(self._path, how, RECOVER_SECONDS)
        for setting in settings:  # before the first look at the file
            self._kept.execute(f"PRAGMA {setting}")
        settle(self._kept, CACHE_KIB)
        self._kept.execute("PRAGMA query_only = ON")
        require_schema(self._kept)  # opens the log, too

    def _reader(self) -> sqlite3.Connection:
        if self._kept is None:
            raise sqlite3.OperationalError("it is closed")
        return self._kept

    def _log(self) -> tuple[int, int, int]:
        """Return which log it is, its size, and when it was last written."""
        try:
            status = log_of(self._path).lstat()
        except FileNotFoundError:
            return 0, 0, 0
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _version(self) -> Marks:
        """Return what is another after every change, however soon it comes."""
        if self._handle is None:
            return ()
        status = self._path.lstat()
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
