"""What root did that may let images in, one line each: `admin.jsonl`.

The audit log has one writer, the daemon, so not there.
"""

import json
import os

from enforcer.audit.clock import HostClock
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.files import make_folder
from enforcer.settings import Settings

FILE = "admin.jsonl"  # in the log folder
MAX_REASON = 1000  # characters: a sentence or two, and a ticket


def record(settings: Settings, what: str, **members: object) -> None:
    """Append one line, before it is done: what cannot be recorded is not (law 7).

    Raises:
        EnforcerError: It could not be written whole.
    """
    path = settings.log_dir / FILE
    values = {
        "time": format_rfc3339(HostClock().now()),
        "what": what,
        "uid": os.getuid(),
        **members,
    }
    line = json.dumps(values, ensure_ascii=True).encode() + b"\n"
    make_folder(path.parent, mode=0o755)  # the audit log is below, enforcerd's own
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # A pipe without a reader is an error, and does not hold us up.
        handle = os.open(path, flags | os.O_NONBLOCK, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as file:
            os.fchmod(handle, 0o600)
            written = file.write(line)
            if written != len(line):
                file.truncate(file.tell() - written)  # or it spoils the next line
                raise OSError(0, "no space for a whole line")
            os.fsync(handle)
    except OSError as error:
        raise EnforcerError(
            f"{path} cannot be written: {error.strerror}; nothing was done",
            remedy="Free space on that disk, or remove what is there.",
            code=Code.AUDIT_UNAVAILABLE,
        ) from error
