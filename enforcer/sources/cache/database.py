"""`index.db`, changed and made anew: SQLite in WAL mode.

Every write ends with the log (`-wal`) copied into the file, so that at rest the file
alone is whole. Whoever changes it holds the cache's lock, and acts as its owner.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from enforcer.files import sync_folder
from enforcer.sources.cache.connection import (
    ERRORS,
    VERSIONS,
    check_point,
    companions,
    connect,
    count_change,
    log_of,
    require_files,
    require_log,
    require_schema,
    settle,
    unusable,
)
from enforcer.sources.cache.reading import Question, Reader
from enforcer.sources.cache.schema import create

CHECKPOINT_SECONDS = 5.0  # a reader's question, which takes milliseconds
CACHE_KIB = 16 * 1024  # a hundred thousand signatures are four times that

_Found = TypeVar("_Found")


class Database:
    """The index file of a cache folder, and who asks it."""

    def __init__(self, root: Path) -> None:
        self.path = root.absolute() / "index.db"
        self._reader = Reader(root)

    def ask(self, question: Question[_Found]) -> _Found | None:
        """Return what a question finds; see `Reader.ask`."""
        return self._reader.ask(question)

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Lend a transaction; when the block raises, nothing has changed.

        Raises:
            CacheError: The index cannot be used, or the disk did not take it.
        """
        try:
            require_files(self.path)
            opened = connect(self.path, "mode=rw", CHECKPOINT_SECONDS)
            with contextlib.closing(opened) as connection:
                settle(connection, CACHE_KIB)
                require_schema(connection)
                require_log(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                count_change(connection)
                yield connection
                connection.execute("COMMIT")
                check_point(connection)
        except ERRORS as error:
            raise unusable(self.path, error) from error

    @contextlib.contextmanager
    def making(self) -> Iterator[sqlite3.Connection]:
        """Lend an empty index, in a file beside that is gone afterwards.

        `put_in_place` makes it the index.
        """
        path = self._beside
        try:
            _remove(path)
            path.touch(mode=0o600, exist_ok=False)
            with contextlib.closing(connect(path, "mode=rw", 0)) as connection:
                settle(connection, CACHE_KIB)
                for setting in ("journal_mode", "synchronous"):
                    connection.execute(f"PRAGMA {setting} = OFF")  # it may be lost
                connection.execute("BEGIN")
                create(connection)
                count_change(connection, secrets.randbelow(VERSIONS))
                yield connection
        except ERRORS as error:
            raise unusable(self.path, error) from error
        finally:
            with contextlib.suppress(OSError):
                _remove(path)

    @contextlib.contextmanager
    def drafting(self) -> Iterator[sqlite3.Connection]:
        """Lend an empty index to compare with: nobody's file, and gone afterwards."""
        try:
            # Without a name: SQLite's own, on the disk only as far as it is large.
            draft = sqlite3.connect("", isolation_level=None)
            with contextlib.closing(draft):
                draft.execute("BEGIN")
                create(draft)
                yield draft
        except ERRORS as error:
            raise unusable(self.path, error) from error

    def is_half_made(self) -> bool:
        """Whether there is an index that is not in place, or not yet."""
        return os.path.lexists(self._beside)

    def remove_half_made(self) -> None:
        """Take away what `making` left that did not end."""
        _remove(self._beside)

    def put_in_place(self, made: sqlite3.Connection) -> None:
        """Make what `making` lent the index, under the eyes of readers.

        1. The new file is whole and on the disk. 2. The log of the old one is empty, or
        gone: it must not be taken for the new one's. 3. Rename. 4. `-shm` goes, so that
        who still reads the old file does not speak with who reads the new.
        """
        if made.in_transaction:
            made.execute("COMMIT")
        require_log(made)
        made.close()
        _sync(self._beside)
        if os.path.lexists(log_of(self.path)):
            self._empty_log()
        self._beside.rename(self.path)
        sync_folder(self.path.parent)
        for beside in companions(self.path):
            beside.unlink(missing_ok=True)

    def _empty_log(self) -> None:
        try:
            with contextlib.closing(
                connect(self.path, "mode=rw", CHECKPOINT_SECONDS)
            ) as old:
                check_point(old)
        except sqlite3.Error:
            pass  # the old one is damaged: so is what its log says
        log = log_of(self.path)
        if log.exists() and log.stat().st_size:
            log.unlink()

    @property
    def _beside(self) -> Path:
        return self.path.with_name("index.new")


def _remove(path: Path) -> None:
    for name in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
