"""What root did that may let images in, one line each: `admin.jsonl`.

The audit log has one writer, the daemon, so not there.
"""

import json
import os
from pathlib import Path

from enforcer.audit.append import append_whole
from enforcer.audit.clock import HostClock
from enforcer.audit.log import open_to_append
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.files import FileError, lock, make_folder
from enforcer.settings import Settings

FILE = "admin.jsonl"  # in the log folder
MAX_REASON = 1000  # characters: a sentence or two, and a ticket


def record(settings: Settings, what: str, **members: object) -> None:
    """Append one line, before it is done: what cannot be recorded is not (law 7).

    Raises:
        EnforcerError: It could not be written whole, or others write for too long.
    """
    path = settings.log_dir / FILE
    values = {
        "time": format_rfc3339(HostClock().now()),
        "what": what,
        "uid": os.getuid(),
        **members,
    }
    line = json.dumps(values, ensure_ascii=True).encode() + b"\n"
    try:
        make_folder(path.parent, mode=0o755)  # the audit log is below, enforcerd's own
        _append(path, line)
    except FileError as error:
        raise _refused(error.what, error.remedy) from error
    except OSError as error:
        remedy = "Free space on that disk, or remove what is there."
        why = f"{path} cannot be written: {error.strerror}"
        raise _refused(why, remedy) from error


def _append(path: Path, line: bytes) -> None:
    handle = open_to_append(path)
    try:
        os.fchmod(handle, 0o600)
        # Or a line taken back because the disk is full takes another's with it.
        lock(handle, path, wait=True)
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        # What a killed command left is a line of its own, and says nothing.
        append_whole(handle, b"\n" + line if torn else line)
    finally:
        os.close(handle)


def _refused(why: str, remedy: str) -> EnforcerError:
    return EnforcerError(
        f"{why}; nothing was done", remedy=remedy, code=Code.AUDIT_UNAVAILABLE
    )
