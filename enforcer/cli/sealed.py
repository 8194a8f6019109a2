"""Verified bytes as a file that nobody can change any more.

A small one is a sealed memfd: not even root can write to it. A large one is a file
without a name on disk, open for reading only; whoever could still get at it, root or
this very user, could as well change the program that reads it.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterable

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError, TooLargeError

MAX_MEMORY_BYTES = 256 * 1024 * 1024  # what a small device has to spare
MAX_BYTES = 64 * 1024**3  # an image of a whole disk; beyond, hashing takes minutes
CHUNK_BYTES = 1024 * 1024
FIRST_HANDLE = 20  # shell scripts use those below 10 for their own redirections
_MODE = 0o555  # a verified program may be run, by whomever CMD becomes
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_DISK = "/var/tmp"  # noqa: S108 - nothing there gets a name


class SealError(EnforcerError):
    """There is no place where bytes can be kept unchanged."""

    default_code = Code.EXEC_NO_ROOM


def sealed_copy(
    content: Descriptor,
    parts: Iterable[bytes],
    *,
    max_memory_bytes: int = MAX_MEMORY_BYTES,
) -> int:
    """Copy what `content` describes; return a descriptor closed on exec, at its start.

    The copy is hashed after it was sealed: what is hashed is what is read later on.

    Raises:
        SealError: No memory, no disk, or no way to seal it.
        TooLargeError: More than MAX_BYTES.
        EnforcerError: Other bytes than described, or `parts` cannot be read.
    """
    if content.size > MAX_BYTES:
        raise TooLargeError(
            f"{content.digest.short} has {content.size} bytes, more than {MAX_BYTES}",
            remedy="Nothing that large is handed on.",
        )
    in_memory = content.size <= max_memory_bytes
    with contextlib.ExitStack() as undo:
        try:
            handle = _memory() if in_memory else _unnamed()
            undo.callback(os.close, handle)
            _fill(handle, content, parts)
            if in_memory:
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
            else:
                reading = os.O_RDONLY | os.O_CLOEXEC
                read_only = os.open(f"/proc/self/fd/{handle}", reading)
                undo.close()  # the last way to write to it
                handle = read_only
                undo.callback(os.close, handle)
            _require(handle, content)
            found = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, FIRST_HANDLE)
        except OSError as error:
            raise _no_room(content, error, in_memory=in_memory) from error
    return found


def _memory() -> int:
    return os.memfd_create("enforcer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _unnamed() -> int:
    # O_EXCL: nobody can give it a name, either
    folder = os.environ.get("TMPDIR") or _DISK
    return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _fill(handle: int, content: Descriptor, parts: Iterable[bytes]) -> None:
    if content.size:
        os.posix_fallocate(handle, 0, content.size)  # a full disk is known beforehand
    written = 0
    for part in parts:
        written += len(part)
        if written > content.size:
            raise _other(content)
        view = memoryview(part)
        while view:
            view = view[os.write(handle, view) :]
    os.fchmod(handle, _MODE)


def _require(handle: int, content: Descriptor) -> None:
    """Return if the sealed bytes are the ones described."""
    hashed, position = hashlib.new(content.digest.algorithm), 0
    while part := os.pread(handle, CHUNK_BYTES, position):
        hashed.update(part)
        position += len(part)
    is_it = hmac.compare_digest(hashed.hexdigest(), content.digest.hex)
    if position != content.size or not is_it:
        raise _other(content)
    os.lseek(handle, 0, os.SEEK_SET)  # for whoever reads the descriptor itself


def _other(content: Descriptor) -> EnforcerError:
    return EnforcerError(
        f"what was read is not the {content.size} bytes of {content.digest.short}",
        remedy="Something changes it while it is read; nothing was run.",
        code=Code.CONTENT_TAMPERED,
    )


def _no_room(content: Descriptor, error: OSError, *, in_memory: bool) -> SealError:
    place = "memory" if in_memory else os.environ.get("TMPDIR") or _DISK
    return SealError(
        f"no copy of {content.size} bytes can be kept in {place}: {error.strerror}",
        remedy="Free some; a large file goes to the folder that TMPDIR names, which "
        "must be on ext4, xfs, btrfs or tmpfs.",
    )
