"""Room to write: what cannot be recorded does not start."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from enforcer.audit.log import MAX_FILE_BYTES
from enforcer.core.codes import Code
from enforcer.host.doctor.finding import Finding
from enforcer.host.doctor.look import Look

# One more file of the audit log has to fit; below sixteen it is time to look.
LEAST_BYTES = MAX_FILE_BYTES
FEW_BYTES = 16 * MAX_FILE_BYTES
LEAST_FILES = 64
FEW_FILES = 2000


def check(look: Look) -> Iterator[Finding | str]:
    """Look at the disks below state and logs, and at the audit log itself."""
    settings = look.settings
    for folder in dict.fromkeys((settings.state_dir, settings.log_dir)):
        yield from _disk(folder)
    yield from _log(settings.audit_dir / "audit.jsonl")


def _disk(folder: Path) -> Iterator[Finding | str]:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    mend = f"df -h {there}; df -i {there}"
    if found.f_flag & os.ST_RDONLY:
        what = "it is on a file system that is mounted read-only"
        yield Finding(Code.DISK_FULL, str(folder), what, f"mount -o remount,rw {there}")
    elif free < LEAST_BYTES or (found.f_files and found.f_favail < LEAST_FILES):
        what = f"{free >> 20} MiB and {found.f_favail} files are left on its disk"
        yield Finding(Code.DISK_FULL, str(folder), what, mend)
    elif free < FEW_BYTES or (found.f_files and found.f_favail < FEW_FILES):
        what = f"{free >> 20} MiB and {found.f_favail} files are left on its disk"
        yield Finding(Code.DISK_LOW, str(folder), what, mend)
    else:
        yield f"{free >> 20} MiB are free for {folder}"


def _log(path: Path) -> Iterator[Finding | str]:
    """Look at the audit log without writing to it."""
    if not path.parent.is_dir():
        what = f"{path.parent} does not exist"
        if os.path.lexists(path.parent):
            what = f"{path.parent} is not a folder"
            yield Finding(Code.AUDIT_UNWRITABLE, str(path), what, f"rm {path.parent}")
        else:
            yield what + ", and enforcerd makes it at its first decision"
        return
    if not os.path.lexists(path):
        yield f"{path} has not been begun"
    elif not stat.S_ISREG(path.lstat().st_mode):
        what = "it is not a regular file"
        yield Finding(Code.AUDIT_UNWRITABLE, str(path), what, f"mv {path} {path}.away")
    elif not os.access(path, os.W_OK):
        what = "it cannot be written to"
        remedy = f"lsattr {path}; chattr -ia {path}"
        yield Finding(Code.AUDIT_UNWRITABLE, str(path), what, remedy)
    else:
        yield f"{path} can be written to"
