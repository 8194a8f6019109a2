"""How `index.db` is opened: its files, its settings, and what makes it unusable."""

import os
import sqlite3
import stat
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.ports import CacheError
from enforcer.sources.cache.schema import SCHEMA

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

VERSIONS = 2**31  # of the index, until they repeat

Marks = tuple[tuple[int, ...] | None, ...]  # which files, in which state


def connect(path: Path, how: str, seconds: float) -> sqlite3.Connection:
    """Open a database for any thread, `how` in the words of SQLite's URIs."""
    return sqlite3.connect(
        f"{path.as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        timeout=seconds,
        check_same_thread=False,
    )


def settle(connection: sqlite3.Connection, cache_kib: int) -> None:
    """Believe nothing of the schema, and bound what is kept in memory."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")


def require_schema(connection: sqlite3.Connection) -> None:
    """A view or a trigger of somebody else's would run while we ask."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    if [row[0] for row in rows.fetchmany(len(SCHEMA) + 1)] != list(SCHEMA):
        raise sqlite3.DatabaseError("its tables are not those of this version")


def require_log(connection: sqlite3.Connection) -> None:
    """Have changes go to the log first, or raise sqlite3.OperationalError."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"its journal is {mode}, not a log")


def count_change(connection: sqlite3.Connection, by: int = 1) -> None:
    """Change what readers of the file alone know it by."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {(version + by) % VERSIONS}")


def check_point(connection: sqlite3.Connection) -> None:
    """Copy the log into the file; where a reader is in the way, the next one does."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def is_refused(error: Exception) -> bool:
    """Whether this is for want of leave or room, and not about what the file holds."""
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its subkind
    return number in _UNAVAILABLE


def is_there(path: Path) -> bool:
    """Say so; that it cannot be looked at is an error, unlike to os.path.lexists."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def mark(path: Path) -> tuple[int, int] | None:
    """Return which file this is; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise sqlite3.DatabaseError(f"{path.name} is not a regular file")
    return status.st_dev, status.st_ino


def log_of(path: Path) -> Path:
    """Name the log of a database."""
    return path.with_name(f"{path.name}-wal")


def require_files(path: Path) -> Marks:
    """Return which files these are; what is no file would be waited for."""
    if not os.path.lexists(path):
        raise sqlite3.DatabaseError("it is missing")
    return tuple(mark(each) for each in (path, *companions(path)))


def companions(path: Path) -> tuple[Path, Path]:
    """Name the log, and the index of that which processes share."""
    return log_of(path), path.with_name(f"{path.name}-shm")


def unusable(path: Path, error: Exception) -> CacheError:
    """Say that the index cannot be used, and what to do."""
    unavailable = isinstance(error, OSError) or is_refused(error)
    return CacheError(
        f"the index of the signature cache, {path}, cannot be used: {error}",
        remedy="Check the folder, its owner and the disk."
        if unavailable
        else "Run `enforcer cache fsck --repair`; nothing is lost by it.",
        code=Code.CACHE_UNAVAILABLE if unavailable else Code.CACHE_CORRUPT,
    )
