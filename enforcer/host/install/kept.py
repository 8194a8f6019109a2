"""Regular files with all that is needed to put one back as it was."""

import base64
import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError

MAX_KEPT_BYTES = 4 * 1024 * 1024  # an engine's configuration has a few thousand
MAX_XATTRS = 64


class KeptError(EnforcerError):
    """What is at a path is no plain file that could be put back."""

    default_code = Code.INSTALL_CONFIG_UNREADABLE


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: content, owner, mode, time of its last change, extended attributes."""

    content: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of its content, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def access(self) -> tuple[int, int, int]:
        """Who may do what with it."""
        return self.uid, self.gid, self.mode

    def to_json(self) -> dict[str, Any]:
        """Write it for the journal."""
        return {
            "content": base64.b64encode(self.content).decode(),
            "mode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
            "mtime_ns": self.mtime_ns,
            "xattrs": [[n, base64.b64encode(v).decode()] for n, v in self.xattrs],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read it from the journal; raises KeyError, TypeError or ValueError."""
        pairs = [(str(n), base64.b64decode(v)) for n, v in found["xattrs"]]
        return cls(
            base64.b64decode(found["content"], validate=True),
            int(found["mode"]) & 0o7777,
            int(found["uid"]),
            int(found["gid"]),
            None if found["mtime_ns"] is None else int(found["mtime_ns"]),
            tuple(pairs),
        )


def keep(path: Path) -> Kept | None:
    """Return the file at a path; None where there is nothing.

    Raises:
        KeptError: A link, a folder, too large, or not to be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = "a symbolic link" if path.is_symlink() else error.strerror
        raise _no_file(path, str(why)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _no_file(path, "not a regular file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(MAX_KEPT_BYTES + 1)
        if len(content) > MAX_KEPT_BYTES:
            raise _no_file(path, f"more than {MAX_KEPT_BYTES} bytes")
        return Kept(
            content,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            _xattrs(handle),
        )
    finally:
        os.close(handle)


def put(path: Path, kept: Kept) -> None:
    """Put a whole file in place or none, and on the disk; raises OSError."""
    new = new_name(path)
    new.unlink(missing_ok=True)  # of somebody who was killed here
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        handle = file.fileno()
        file.write(kept.content)
        file.flush()
        os.fchown(handle, kept.uid, kept.gid)
        os.fchmod(handle, kept.mode)
        for name, value in kept.xattrs:
            os.setxattr(handle, name, value)
        if kept.mtime_ns is not None:
            os.utime(handle, ns=(kept.mtime_ns, kept.mtime_ns))
        os.fsync(handle)
    new.rename(path)
    sync(path.parent)


def take_away(path: Path) -> None:
    """Remove a file, or nothing, and what a killed `put` left; raises OSError."""
    for name in (new_name(path), path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            name.unlink()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        sync(path.parent)


def new_name(path: Path) -> Path:
    """Return where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.enforcer-new")


def sync(folder: Path) -> None:
    """Make what was renamed in a folder survive a power cut; raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _xattrs(handle: int) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(handle)[:MAX_XATTRS]
        return tuple((name, os.getxattr(handle, name)) for name in names)
    except OSError:  # a file system without any
        return ()


def _no_file(path: Path, why: str) -> KeptError:
    return KeptError(
        f"{path} is {why}, and cannot be put back as it was",
        remedy="Put a plain file there, which belongs to root.",
    )
