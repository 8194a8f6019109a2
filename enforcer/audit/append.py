"""Whole lines at the end of a file, or none.

The undo program carries this module: the standard library only.
"""

import errno
import os


def append_whole(handle: int, lines: bytes) -> None:
    """Append, and wait for the disk; or leave the file as it was, and raise OSError.

    `handle` is open with O_APPEND, and nobody else writes meanwhile: what stands behind
    the old end is cut off when this fails.
    """
    before = os.fstat(handle).st_size
    try:
        if os.write(handle, lines) != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except BaseException:  # Ctrl-C, too: neither a torn line nor one that did not count
        os.ftruncate(handle, before)
        raise
