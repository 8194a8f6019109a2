"""What was changed on this host: written down, and on the disk, before it is done.

One JSON line a step, each with a checksum. A last line without an end is a step that
was never begun. The folder is root's alone, and who holds its lock may write.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enforcer.audit.append import append_whole
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.host.install.edits import edit_from_json
from enforcer.host.install.kept import Kept, sync
from enforcer.host.install.steps import (
    Accounts,
    File,
    Folder,
    Gate,
    Link,
    Step,
    Tell,
    Word,
)

FOLDER = Path("/var/lib/enforcer-install")
MAX_BYTES = 64 * 1024 * 1024  # some fifty steps, each with a file of MAX_KEPT_BYTES
VERSION = 1


class JournalError(EnforcerError):
    """The journal cannot be believed, or not be written."""

    default_code = Code.UNINSTALL_JOURNAL


@dataclass(frozen=True, slots=True)
class Entry:
    """A step that was begun, and what was in its place before."""

    number: int
    step: Step
    before: Kept | None
    existed: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a journal says: steps still to be undone, and lines that make no sense.

    Steps before such a line are not among them.
    """

    entries: tuple[Entry, ...] = ()
    complete: bool = False
    damaged: tuple[int, ...] = ()


class Journal:
    """The journal in one folder. Use it inside of `held`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.path = folder / "journal"

    def exists(self) -> bool:
        """Whether an installation was begun and not undone to its end."""
        return os.path.lexists(self.path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who installs or uninstalls; makes the folder if missing.

        Raises:
            JournalError: Somebody else does, or others could write there.
        """
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
            sync(self.folder.parent)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self.folder, flags)
        except OSError as error:
            raise _distrusted(self.folder, error.strerror) from error
        try:
            _require_own(self.folder, os.fstat(handle))
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise JournalError(
                "another enforcer install or uninstall is at work",
                remedy="Let it end.",
            ) from error
        finally:
            os.close(handle)

    def begin(self) -> None:
        """Start a journal, or raise OSError."""
        self._append({"begin": VERSION})
        sync(self.folder)

    def note(self, entry: Entry) -> None:
        """Write down a step that is about to be done, or raise OSError."""
        kind = type(entry.step).__name__
        kept = entry.before.to_json() if entry.before else None
        self._append(
            {
                "number": entry.number,
                "kind": kind,
                "step": _step_json(entry.step),
                "before": kept,
                "existed": entry.existed,
            }
        )

    def complete(self) -> None:
        """Write down that everything is in place, or raise OSError."""
        self._append({"complete": True})

    def undone(self, number: int) -> None:
        """Write down that a step is undone, or raise OSError."""
        self._append({"undone": number})

    def forget(self) -> None:
        """Remove the journal and its folder, if nothing else is in there."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def read(self) -> Found:
        """Return what is still to be undone, in the order it was done.

        A line without an end is none: what it would say was never begun.

        Raises:
            JournalError: Somebody else than root could have written it.
        """
        raw = self._raw()
        lines = raw[: raw.rfind(b"\n") + 1].splitlines()
        entries: dict[int, Entry] = {}
        complete, damaged = False, []
        for at, line in enumerate(lines):
            try:
                found = _checked(line)
                if "undone" in found:
                    entries.pop(int(found["undone"]), None)
                elif "kind" in found:
                    entry = _entry(found)
                    entries[entry.number] = entry
                complete = complete or bool(found.get("complete"))
            except (ValueError, KeyError, TypeError):
                damaged.append(at + 1)
                entries.clear()  # what came before may be what that step needs
        return Found(tuple(entries.values()), complete, tuple(damaged))

    def mend(self) -> None:
        """Cut off the end of a line that never became whole; raises as `read` does."""
        raw = self._raw()
        whole = raw.rfind(b"\n") + 1
        if whole != len(raw):
            with self.path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

    def _raw(self) -> bytes:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _distrusted(self.path, error.strerror) from error
        with os.fdopen(handle, "rb") as file:
            _require_own(self.path, os.fstat(handle))
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise _distrusted(self.path, f"it has more than {MAX_BYTES} bytes")
        return raw

    def _append(self, record: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self.path, flags, 0o600)
        try:
            append_whole(handle, _sealed(record))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        finally:
            os.close(handle)


def _sealed(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True)
    seal = hashlib.sha256(text.encode()).hexdigest()
    return f"{seal} {text}\n".encode()


def _checked(line: bytes) -> dict[str, Any]:
    seal, _, text = line.partition(b" ")
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise ValueError("not as it was written")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no record")
    return found


def _step_json(step: Step) -> dict[str, Any]:
    match step:
        case Folder():
            return {"path": str(step.path), "mode": step.mode}
        case File():
            kept = Kept(step.content, step.mode).to_json()
            edit = step.edit.to_json() if step.edit else None
            return {"path": str(step.path), "new": kept, "edit": edit}
        case Link():
            return {"path": str(step.path), "target": step.target}
        case Gate():
            new = Kept(step.content).to_json()
            return {"path": str(step.path), "real": str(step.real), "new": new}
        case Accounts():
            return {"path": str(step.file), "names": list(step.names)}
        case Tell():
            return {"word": step.word, "names": list(step.names), "undo": step.undo}


def _entry(found: dict[str, Any]) -> Entry:
    before = Kept.from_json(found["before"]) if found["before"] else None
    step = _step(str(found["kind"]), found["step"])
    return Entry(int(found["number"]), step, before, bool(found["existed"]))


def _step(kind: str, found: dict[str, Any]) -> Step:
    if kind == "Tell":
        names = tuple(map(str, found["names"]))
        return Tell(Word(found["word"]), names, bool(found["undo"]))
    path = _absolute(found["path"])
    if kind == "Folder":
        return Folder(path, int(found["mode"]) & 0o7777)
    if kind == "Link":
        return Link(path, str(found["target"]))
    if kind == "Accounts":
        return Accounts(path, tuple(map(str, found["names"])))
    new = Kept.from_json(found["new"])
    if kind == "Gate":
        return Gate(path, _absolute(found["real"]), new.content)
    if kind == "File":
        edit = edit_from_json(found["edit"]) if found["edit"] else None
        return File(path, new.content, new.mode, edit)
    raise ValueError(f"no step is called {kind}")


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(f"{text!r} is no absolute path")
    return path


def _require_own(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise _distrusted(path, "others than root could have written there")


def _distrusted(path: Path, why: str | None) -> JournalError:
    return JournalError(
        f"{path} cannot be believed: {why}; nothing was changed",
        remedy="Look at it; README, 'If enforcer itself is broken', says what to do.",
    )
