"""The audit log: one JSON line a decision, on the disk before an allow leaves.

Each line carries the hash of the one before (`prev`), so that a line cannot be
changed or taken out unnoticed. Full files are rotated; a bounded number is kept.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from enforcer.audit.append import append_whole
from enforcer.core.record import DecisionRecord, audit_json
from enforcer.core.strictjson import Json
from enforcer.files import FileError, make_folder, open_regular, sync_folder
from enforcer.ports import AuditError

MAX_FILE_BYTES = 16 * 1024 * 1024  # some ten thousand decisions
KEPT_FILES = 8
MAX_LINE_BYTES = 256 * 1024  # a hundred signatures with all their checks
MAX_BATCH = 64  # lines that one wait for the disk is for
FIRST = "0" * 64  # the `prev` of the very first line
FILE = "audit.jsonl"  # the newest; full ones have .1, .2, ... behind it


class FileAuditLog:
    """Appends to `audit.jsonl` in a folder. Safe to share between threads.

    One process writes. When another program takes the file away, the chain goes on
    in a new one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._handle = -1
        self._previous = ""

    @property
    def head(self) -> str:
        """The hash of the last line that was written; "" before the first."""
        return self._previous

    def append(self, record: DecisionRecord) -> None:
        """Write the record and wait for the disk, or raise AuditError."""
        self.append_all([record])

    def append_all(self, records: Sequence[DecisionRecord]) -> None:
        """Write all, and wait for the disk once for many; see `ports.SweepLog`."""
        with self._lock:
            try:
                for first in range(0, len(records), MAX_BATCH):
                    self._open()
                    self._write(map(audit_json, records[first : first + MAX_BATCH]))
            except (OSError, FileError) as error:
                self._close()
                why = error.strerror if isinstance(error, OSError) else error.what
                raise AuditError(
                    f"the audit log {self._path} cannot be written: {why}",
                    remedy="Free space on that disk; what cannot be recorded is not "
                    "allowed.",
                ) from error

    def _write(self, records: Iterable[Mapping[str, Json]]) -> None:
        previous, lines = self._previous, list[bytes]()
        for members in records:
            line = _line({"prev": previous, **members})
            if len(line) > MAX_LINE_BYTES:  # the checks are what is long
                line = _line({"prev": previous, **members, "signatures": []})
            previous = hashlib.sha256(line).hexdigest()
            lines.append(line)
        append_whole(self._handle, b"".join(lines))
        self._previous = previous

    def _open(self) -> None:
        """Open or rotate, and pick up the chain where the file ends."""
        if self._handle >= 0 and self._is_ours():
            return
        self._close()
        make_folder(self._path.parent)
        self._handle = open_to_append(self._path)
        if not _cut_torn_line(self._handle):
            self._rotate()
        last = _last_hash(self._handle) or self._previous
        self._previous = last or _last_hash_of(self._numbered(1)) or FIRST

    def _is_ours(self) -> bool:
        """Whether the file is not full, and still the one at our path."""
        status = os.fstat(self._handle)
        try:
            named = self._path.lstat()
        except FileNotFoundError:
            return False
        same = (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)
        return same and status.st_size < MAX_FILE_BYTES

    def _rotate(self) -> None:
        """Put a full file away and open an empty one."""
        self._previous = _last_hash(self._handle) or self._previous
        self._close()
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self._numbered(number)
            if os.path.lexists(older):
                older.rename(self._numbered(number + 1))
        self._path.rename(self._numbered(1))
        self._handle = open_to_append(self._path)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def open_to_append(path: Path) -> int:
    """Open a regular file, or make it; its name survives a power cut, too.

    A pipe does not hold us up, and a link is not followed; raises OSError.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags | os.O_NONBLOCK, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        sync_folder(path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


def _line(members: Mapping[str, object]) -> bytes:
    return (json.dumps(members, ensure_ascii=True) + "\n").encode("ascii")


def _cut_torn_line(handle: int) -> bool:
    """Cut off what a crash left of a line; say whether more lines may follow.

    A file that is full, or ends in more than a line can be, is put away as it is.
    """
    size = os.fstat(handle).st_size
    tail = _tail(handle)
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if size >= MAX_FILE_BYTES or torn > MAX_LINE_BYTES:
        return False
    if torn:
        os.ftruncate(handle, size - torn)
    return True


def _last_hash(handle: int) -> str:
    """Return the hash of the last whole line, or "" where there is none."""
    whole, newline, _ = _tail(handle).rpartition(b"\n")
    last = whole.rpartition(b"\n")[2] + newline
    return hashlib.sha256(last).hexdigest() if newline else ""


def _last_hash_of(path: Path) -> str:
    with contextlib.suppress(FileError), open_regular(path, follow=False) as handle:
        return _last_hash(handle)
    return ""


def _tail(handle: int) -> bytes:
    """Return the end of a file: a torn line and the whole one before it."""
    want = 2 * MAX_LINE_BYTES + 2
    return os.pread(handle, want, max(0, os.fstat(handle).st_size - want))
