"""Another user reaches a checkout that is closed to others, in a namespace of its own.

Run as root: `python tests/reach.py PROGRAM ...` starts a program where that is so. What
is closed above the checkout is covered there, and everything in it is where it was.
"""

import ctypes
import os
import stat
import sys
from pathlib import Path

CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE = 0x00020000, 4096, 16384, 1 << 19
MAX_ENTRIES = 1000  # of a checkout's first level

_LIBC = ctypes.CDLL(None, use_errno=True)


CHECKOUT = Path(__file__).resolve().parents[1]
REACHING = (sys.executable, __file__)  # in front of a command


def as_user(uid: int) -> tuple[str, ...]:
    """Return the words that start a command of this checkout as another user."""
    ids = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    return (*REACHING, "/usr/bin/setpriv", *ids)


def open_way(here: Path = CHECKOUT) -> None:
    """Make a folder reachable for everybody in this process's mount namespace."""
    closed = _closed(here)
    if closed is None:
        return
    inside = Path.cwd().is_relative_to(here)
    mask = os.umask(0o022)
    old = os.open(here, os.O_PATH | os.O_DIRECTORY)
    entries = sorted(here.iterdir())[:MAX_ENTRIES]
    _mount("none", str(closed), "tmpfs", 0, "mode=0755,size=1m")
    here.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        source = Path(f"/proc/self/fd/{old}") / entry.name
        if source.is_symlink():
            entry.symlink_to(source.readlink())
            continue
        entry.mkdir() if source.is_dir() else entry.touch()
        _mount(str(source), str(entry), "", MS_BIND | MS_REC)
    os.close(old)
    os.umask(mask)
    if inside:
        os.chdir(here)


def _closed(here: Path) -> Path | None:
    """Return the first folder on the way down that others may not pass."""
    way = (*reversed(here.parents), here)
    return next((p for p in way if not p.stat().st_mode & stat.S_IXOTH), None)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (word.encode() for word in (source, target, kind))
    if _LIBC.mount(*words, flags, data.encode()) < 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def _main(command: list[str]) -> None:
    if _LIBC.unshare(CLONE_NEWNS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("", "/", "", MS_REC | MS_SLAVE)
    open_way()
    os.execv(command[0], command)  # noqa: S606 - there shall be no shell


if __name__ == "__main__":
    _main(sys.argv[1:])
