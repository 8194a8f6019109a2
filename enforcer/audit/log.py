"""The audit log: one JSON line a decision, on the disk before an allow leaves.

Each line carries the hash of the one before (`prev`), so that a line cannot be
changed or taken out unnoticed. Full files are rotated; a bounded number is kept.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from enforcer.core.record import DecisionRecord, audit_json
from enforcer.core.strictjson import Json
from enforcer.files import make_folder
from enforcer.ports import AuditError

MAX_FILE_BYTES = 16 * 1024 * 1024  # some ten thousand decisions
KEPT_FILES = 8
MAX_LINE_BYTES = 256 * 1024  # a hundred signatures with all their checks
FIRST = "0" * 64


class FileAuditLog:
    """Appends to `audit.jsonl` in a folder. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "audit.jsonl"
        self._lock = threading.Lock()
        self._handle = -1
        self._previous = ""

    def append(self, record: DecisionRecord) -> None:
        """Write the record and wait for the disk, or raise AuditError."""
        with self._lock:
            try:
                self._open()
                self._write(audit_json(record))
            except OSError as error:
                self._close()
                raise AuditError(
                    f"the audit log {self._path} cannot be written: {error.strerror}",
                    remedy="Free space on that disk; what cannot be recorded is not "
                    "allowed.",
                ) from error

    def _write(self, members: Mapping[str, Json]) -> None:
        line = _line({"prev": self._previous, **members})
        if len(line) > MAX_LINE_BYTES:  # the checks are what is long; the rest stays
            line = _line({"prev": self._previous, **members, "signatures": []})
        before = os.fstat(self._handle).st_size
        written = os.write(self._handle, line)
        if written != len(line):  # disk full half-way: leave no torn line behind
            os.ftruncate(self._handle, before)
            raise OSError(28, "no space for a whole line")
        os.fdatasync(self._handle)
        self._previous = hashlib.sha256(line).hexdigest()

    def _open(self) -> None:
        """Open or rotate, and pick up the chain where the file ends."""
        if self._handle >= 0 and not self._rotated_away():
            return
        self._close()
        make_folder(self._path.parent)
        if self._path.exists() and self._path.stat().st_size >= MAX_FILE_BYTES:
            self._previous = _last_hash(self._path)
            self._rotate()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(self._path, flags, 0o600)
        self._previous = _last_hash(self._path) or self._previous or FIRST

    def _rotated_away(self) -> bool:
        """Whether the file is full, or no longer the one at our path."""
        status = os.fstat(self._handle)
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        same = (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)
        return not same or status.st_size >= MAX_FILE_BYTES

    def _rotate(self) -> None:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.rename(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.rename(self._path.with_name(f"{self._path.name}.1"))

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _line(members: Mapping[str, object]) -> bytes:
    return (json.dumps(members, ensure_ascii=True) + "\n").encode("ascii")


def _last_hash(path: Path) -> str:
    """Return the hash of the last whole line; a torn one (a crash) is cut off."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 2 * MAX_LINE_BYTES))
        tail = file.read()
        whole, newline, torn = tail.rpartition(b"\n")
        if torn:
            file.truncate(end - len(torn))
        if not newline:
            return ""
        return hashlib.sha256(whole.rpartition(b"\n")[2] + b"\n").hexdigest()
