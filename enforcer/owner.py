"""Root in another user's folder: it touches what is there with that user's rights."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from enforcer.files import FileError

_UNCHANGED = -1  # what setfsuid(2) takes for a question


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Touch a folder as the user it belongs to, where this thread is root's.

    Whoever may change the folder may have put a link there, or a journal that names a
    file to delete: root must not follow. The user is the first on the way down who is
    not root, so that nothing of theirs says whose the rest is. Supplementary groups
    stay: the command line has none.

    Raises:
        FileError: The folder cannot be looked at, or the user not be changed.
    """
    owner = _first_other(folder) if os.geteuid() == 0 else None
    with _acting(owner) if owner else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def as_caller() -> Iterator[None]:
    """Be oneself again, inside `as_owner`: to read what is not in that folder."""
    if os.geteuid() == 0:
        with _acting((0, os.getegid())):
            yield
    else:
        yield


def _first_other(path: Path) -> tuple[int, int] | None:
    """Return uid and gid of the first folder that is not root's; None without one."""
    whole = path.absolute()
    for folder in (*reversed(whole.parents), whole):
        try:
            status = folder.lstat()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise FileError(
                f"cannot look at {folder}: {why}", remedy="Check the path."
            ) from error
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
    return None


@contextlib.contextmanager
def _acting(who: tuple[int, int]) -> Iterator[None]:
    """Have files opened as another user, by this thread alone (setfsuid(2)).

    The kernel takes root's rights over files away with it, and gives them back.
    """
    import ctypes  # here: few need it, and it takes milliseconds to load

    libc = ctypes.CDLL(None)
    uid, gid = who
    before = libc.setfsuid(_UNCHANGED), libc.setfsgid(_UNCHANGED)
    try:
        libc.setfsgid(gid)
        libc.setfsuid(uid)
        if (libc.setfsuid(_UNCHANGED), libc.setfsgid(_UNCHANGED)) != who:
            raise FileError(
                f"cannot act as uid {uid}", remedy="Run it as root, or as that user."
            )
        yield
    finally:
        libc.setfsuid(before[0])
        libc.setfsgid(before[1])
