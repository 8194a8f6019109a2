"""The accounts that systemd-sysusers made, taken out of the lists of accounts again."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.host.install.kept import keep, put
from enforcer.host.install.steps import Accounts
from enforcer.host.processes import holders

LISTS = ("passwd", "group", "shadow", "gshadow")
MAX_OWNED = 1_000_000  # files of a signature cache
_ETC = Path("/etc")
LOCK = _ETC / ".pwd.lock"  # lckpwdf(3)
LOCK_SECONDS = 15.0  # lckpwdf(3), which useradd and passwd wait by
POLL_SECONDS = 0.1
_OURS = (Path("/var/lib/enforcer"), Path("/var/log/enforcer"))


class AccountsError(EnforcerError):
    """The lists of accounts cannot be changed now."""

    default_code = Code.UNINSTALL_INCOMPLETE


def account_names(sysusers: str) -> tuple[str, ...]:
    """Return the names of the users and groups in a file of sysusers.d(5)."""
    lines = (line.split() for line in sysusers.splitlines())
    found = (words[1] for words in lines if len(words) > 1 and words[0][:1] in "ug")
    return tuple(dict.fromkeys(found))


def missing_accounts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of the names are in no list of accounts yet."""
    return tuple(n for n in names if not any(_lines(name, (n,)) for name in LISTS))


@contextlib.contextmanager
def held_lists() -> Iterator[None]:
    """Be the only one who changes the lists of accounts.

    Raises:
        AccountsError: Somebody else does, for longer than LOCK_SECONDS.
        OSError: The lock cannot be made.
    """
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError) as error:  # fcntl(2): either
                if time.monotonic() > until:
                    raise _held() from error
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def remove_accounts(step: Accounts, *, lock_existed: bool) -> str:
    """Take the lines of these names out; their files become root's.

    Raises:
        AccountsError: Somebody else holds the lists; nothing was changed.
        OSError: They cannot be written.
    """
    if lock_existed and missing_accounts(step.names) == step.names:
        return ""
    with held_lists():
        owners = _ids("passwd", step.names), _ids("group", step.names)
        for folder in _OURS:
            _give_to_root(folder, *owners)  # whoever gets the number next is a stranger
        for name in LISTS:
            _take_out(_ETC / name, step.names)
        if not lock_existed:
            LOCK.unlink()
    return ""


def _held() -> AccountsError:
    who = "a process that is not seen"
    with contextlib.suppress(OSError):
        found = sorted(holders(LOCK) - {os.getpid()})
        names = (Path(f"/proc/{pid}/comm").read_text().strip() for pid in found)
        shown = (f"{n} (pid {pid})" for n, pid in zip(names, found, strict=True))
        who = clip(", ".join(shown)) or who
    return AccountsError(
        f"{LOCK} was held for {LOCK_SECONDS:g} s by {who}, so no list of accounts was "
        "changed",
        remedy="Let that end (passwd, useradd, vipw, a package's script), and run "
        "this again.",
    )


def _take_out(path: Path, names: tuple[str, ...]) -> None:
    kept, ours = keep(path), set(_lines(path.name, names))
    if kept is None or not ours:
        return
    lines = kept.content.splitlines(keepends=True)
    rest = b"".join(line for line in lines if line.rstrip(b"\n") not in ours)
    put(path, replace(kept, content=rest))


def _lines(name: str, names: tuple[str, ...]) -> list[bytes]:
    kept = keep(_ETC / name)
    heads = tuple(f"{name}:".encode() for name in names)
    lines = kept.content.splitlines() if kept else []
    return [line for line in lines if line.startswith(heads)]


def _ids(name: str, names: tuple[str, ...]) -> frozenset[int]:
    numbers = (line.split(b":")[2] for line in _lines(name, names))
    return frozenset(int(number) for number in numbers if number.isdigit())


def _give_to_root(top: Path, users: frozenset[int], groups: frozenset[int]) -> None:
    names = (
        os.path.join(folder, name)  # noqa: PTH118 - a million of them
        for folder, folders, files in os.walk(top)
        for name in (".", *folders, *files)
    )
    for _, path in zip(range(MAX_OWNED), names, strict=False):
        status = os.lstat(path)
        uid = 0 if status.st_uid in users else -1
        gid = 0 if status.st_gid in groups else -1
        if (uid, gid) != (-1, -1):
            os.chown(path, uid, gid, follow_symlinks=False)
