"""What was seen before about revocation: `floors.db`, which may only ever deny.

Losing it must not grant anything. So the folder of the evidence keeps the database's
name, and evidence that goes with a database that is gone counts for nothing until
root resets it.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import (
    CertificateId,
    Floor,
    Memory,
    Revocation,
    Slot,
)
from enforcer.files import (
    FileMissingError,
    make_folder,
    read_file,
    write_file,
)
from enforcer.owner import as_owner

BUSY_SECONDS = 1.0  # how long a reader waits for SQLite
MAX_NAME_BYTES = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity(name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evidence_floors(
    slot TEXT PRIMARY KEY, this_update TEXT NOT NULL, number TEXT,
    doubt INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS revocations(
    certificate TEXT PRIMARY KEY, at TEXT NOT NULL, reason TEXT NOT NULL,
    invalid_from TEXT, source TEXT NOT NULL);
"""


class FloorsError(EnforcerError):
    """What was seen before cannot be read or written, or is lost."""

    default_code = Code.EVIDENCE_LOST


@dataclass(frozen=True, slots=True)
class Counts:
    """How many slots have a floor, and how many certificates are known as revoked."""

    slots: int
    revocations: int


class Floors:
    """The memory in one SQLite file, and the note that says it must be there."""

    def __init__(self, path: Path, note: Path) -> None:
        self._path = path
        self._note = note

    def memory(
        self, slots: Collection[Slot], certificates: Collection[CertificateId]
    ) -> Memory:
        """Return what is remembered of these; where it cannot be read, that it is so.

        A memory with a problem denies whatever needs evidence: admission gets a value
        and judges, and does not have to catch anything.
        """
        try:
            if not self._is_there():
                return Memory()
            with self._open(writable=False) as database:
                self._require_same(database)
                if _name_of(database) is None:  # others keep floors here, too
                    return Memory()
                return _read(database, slots, certificates)
        except EnforcerError as error:
            return Memory(problem=f"{error.what}. {error.remedy}".rstrip("."))

    def count(self) -> "Counts":
        """Return how much is remembered.

        Raises:
            FloorsError: It cannot be read, or an earlier memory was lost.
        """
        if not self._is_there():
            return Counts(0, 0)
        with self._open(writable=False) as database:
            self._require_same(database)
            if _name_of(database) is None:
                return Counts(0, 0)
            tables = ("evidence_floors", "revocations")
            return Counts(*(_count(database, table) for table in tables))

    def newest(self) -> datetime | None:
        """Return the newest time an issuer vouched for, of all that was ever seen.

        Raises:
            FloorsError: It cannot be read, or an earlier memory was lost.
        """
        if not self._is_there():
            return None
        with self._open(writable=False) as database:
            self._require_same(database)
            if _name_of(database) is None:
                return None
            rows = database.execute("SELECT this_update FROM evidence_floors")
            return max((_time(row[0]) for row in rows), default=None)

    def remember(self, memory: Memory) -> None:
        """Keep what is new or denies more than what is kept; nothing is taken back.

        Raises:
            FloorsError: It cannot be written, or an earlier memory was lost.
        """
        self._is_there()
        with self._open(writable=True) as database:
            self._require_same(database)
            known = _read(database, list(memory.floors), list(memory.revoked))
            _write(database, known.merged(memory))
            name = _name_of(database) or _new_name(database)
            database.commit()
        self._write_note(name)

    def reset(self) -> None:
        """Forget all of it, for root, who has a reason and says so in the audit log.

        Raises:
            FloorsError: It cannot be written.
        """
        with self._open(writable=True) as database:
            for table in ("identity", "evidence_floors", "revocations"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
            name = _new_name(database)
            database.commit()
        self._write_note(name)

    def _is_there(self) -> bool:
        """Whether there is a memory; raises where there was one and is none."""
        there = self._path.exists()
        if not there and self._noted() is not None:
            raise self._lost(f"{self._path} is gone")
        return there

    def _require_same(self, database: sqlite3.Connection) -> None:
        noted, found = self._noted(), _name_of(database)
        if noted is not None and noted != found:
            raise self._lost(f"{self._path} is not the one that was here")

    def _noted(self) -> str | None:
        try:
            return read_file(self._note, max_bytes=MAX_NAME_BYTES).decode("ascii")
        except FileMissingError:
            return None
        except UnicodeDecodeError:
            return ""  # no database is called that

    def _write_note(self, name: str) -> None:
        if self._noted() != name:
            with as_owner(self._note.parent):
                make_folder(self._note.parent)
                write_file(self._note, name.encode("ascii"))

    def _lost(self, what: str) -> FloorsError:
        return FloorsError(
            f"the memory of revocations was lost: {what}",
            remedy="Put it back, or have root run `enforcer floors reset`.",
        )

    @contextlib.contextmanager
    def _open(self, *, writable: bool) -> Iterator[sqlite3.Connection]:
        """Open it as its owner: a journal found beside it may name files to delete."""
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(as_owner(self._path.parent))
                if writable:
                    make_folder(self._path.parent)
                database = stack.enter_context(
                    contextlib.closing(
                        sqlite3.connect(self._path, timeout=BUSY_SECONDS)
                    )
                )
                database.execute("PRAGMA trusted_schema = OFF")
                if writable:
                    # With FULL, a power cut brings the journal back, and that undoes
                    # a commit that the note beside the evidence counts on.
                    database.execute("PRAGMA synchronous = EXTRA")
                    database.executescript(_SCHEMA)
                    self._path.chmod(0o600)
                    database.execute("BEGIN IMMEDIATE")
                else:
                    database.execute("PRAGMA query_only = ON")
                yield database
        except (sqlite3.Error, OSError, ValueError) as error:
            raise FloorsError(
                f"the memory of revocations, {self._path}, cannot be used: {error}",
                remedy="Check the file, its owner and the disk.",
            ) from error


def _name_of(database: sqlite3.Connection) -> str | None:
    """Return the database's name; None where nothing was ever remembered in it."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'identity'"
    if database.execute(known).fetchone() is None:
        return None
    row = database.execute("SELECT name FROM identity").fetchone()
    return None if row is None else str(row[0])


def _count(database: sqlite3.Connection, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(row[0])


def _new_name(database: sqlite3.Connection) -> str:
    name = secrets.token_hex(16)
    database.execute("INSERT INTO identity VALUES (?)", [name])
    return name


def _read(
    database: sqlite3.Connection,
    slots: Collection[Slot],
    certificates: Collection[CertificateId],
) -> Memory:
    floors, revoked = {}, {}
    for slot in slots:
        row = database.execute(
            "SELECT this_update, number, doubt FROM evidence_floors WHERE slot = ?",
            [str(slot)],
        ).fetchone()
        if row is not None:
            number = None if row[1] is None else int(row[1], 16)
            floors[slot] = Floor(_time(row[0]), number, bool(row[2]))
    for certificate in certificates:
        row = database.execute(
            "SELECT at, reason, invalid_from, source FROM revocations "
            "WHERE certificate = ?",
            [str(certificate)],
        ).fetchone()
        if row is not None:
            invalid_from = None if row[2] is None else _time(row[2])
            revoked[certificate] = Revocation(
                _time(row[0]), row[1], invalid_from, row[3]
            )
    return Memory(revoked, floors)


def _write(database: sqlite3.Connection, memory: Memory) -> None:
    database.executemany(
        "INSERT OR REPLACE INTO evidence_floors VALUES (?, ?, ?, ?)",
        [
            (
                str(slot),
                floor.this_update.isoformat(),
                None if floor.number is None else f"{floor.number:x}",
                int(floor.doubt),
            )
            for slot, floor in memory.floors.items()
        ],
    )
    database.executemany(
        "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?, ?)",
        [
            (
                str(certificate),
                said.at.isoformat(),
                said.reason,
                None if said.invalid_from is None else said.invalid_from.isoformat(),
                said.source,
            )
            for certificate, said in memory.revoked.items()
        ],
    )


def _time(text: str) -> datetime:
    """Read a time this module wrote; another one would make comparing it fail."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} is not an aware time")
    return found
