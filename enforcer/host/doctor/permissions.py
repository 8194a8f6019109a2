"""Who could change what rules this host: owners and modes, file by file."""

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from enforcer.assembly import RESOLVER_SOCKET
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import require_trusted_folder
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.look import Look

MAX_ENTRIES = 20_000  # a policy of 256 files, trust stores of a few hundred
USER = "enforcer"  # whose the daemon's own state and audit log may be
PRIVATE = ("admin.sock", "ask.sock", "cri.sock", "fetcher.sock", "resolver.sock")


def check(look: Look) -> Iterator[Finding | str]:
    """Walk configuration, policy and trust; look at state, logs and sockets."""
    settings = look.settings
    rules = {settings.config_dir, settings.policy_place, settings.trust_dir}
    for folder in sorted(rules):
        if any(folder != other and folder.is_relative_to(other) for other in rules):
            continue
        yield from _ruled_by_root(folder)
    owners = {0, os.geteuid(), *_daemon(settings.run_dir / RESOLVER_SOCKET)}
    for folder in (settings.state_dir, settings.log_dir):
        if folder.exists():
            yield from _kept_by_us(folder, owners)
    yield from _sockets(settings.run_dir)


def _ruled_by_root(folder: Path) -> Iterator[Finding | str]:
    if not folder.exists():
        return  # which enforcerd has a word about
    well = True
    try:
        if folder.is_dir():
            require_trusted_folder(folder)
    except EnforcerError as error:
        well = False
        yield Finding(Code.WRITABLE, str(folder), error.what, error.remedy)
    count = 0
    for path in _below(folder):
        count += 1
        if count > MAX_ENTRIES:
            raise UnseenError(str(folder), f"more than {MAX_ENTRIES} files", "-")
        for finding in _own(path, {0, os.geteuid()}, links=False):
            well = False
            yield finding
    if well:
        yield f"{count} files in {folder} are root's alone"


def _kept_by_us(folder: Path, owners: set[int]) -> Iterator[Finding]:
    """Look at a folder of the daemon's own: the first levels, not each of its blobs."""
    paths = [folder, *folder.glob("*"), *folder.glob("*/*")][:MAX_ENTRIES]
    for path in paths:
        yield from _own(path, owners, links=True)


def _sockets(run_dir: Path) -> Iterator[Finding]:
    if not run_dir.exists():
        return
    yield from _own(run_dir, {0, os.geteuid()}, links=False)
    for path in run_dir.glob("*.sock"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        most = 0o600 if path.name in PRIVATE else 0o660
        if mode & ~most:
            what = f"its mode is {mode:04o}, and {most:04o} is enough"
            yield Finding(Code.WRITABLE, str(path), what, f"chmod {most:04o} {path}")


def _own(path: Path, owners: set[int], *, links: bool) -> Iterator[Finding]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return  # it went meanwhile
    if stat.S_ISLNK(status.st_mode) and links:
        return
    if status.st_uid not in owners:
        what = f"it belongs to uid {status.st_uid}"
        yield Finding(Code.WRITABLE, str(path), what, f"chown root:root {path}")
    if status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode):
        what = (
            f"group or others may write to it (mode {stat.S_IMODE(status.st_mode):04o})"
        )
        yield Finding(Code.WRITABLE, str(path), what, f"chmod go-w {path}")


def _below(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder; what cannot be read raises OSError."""
    if not folder.is_dir():
        yield folder
        return

    def complain(error: OSError) -> None:
        raise error

    for base, folders, files in os.walk(folder, onerror=complain):
        yield Path(base)
        for name in (*files, *(f for f in folders if (Path(base) / f).is_symlink())):
            yield Path(base) / name


def _daemon(asks: Path) -> set[int]:
    """Return the users enforcerd may be: by name, and whom root gave its socket to."""
    found = set[int]()
    with contextlib.suppress(KeyError):
        found.add(pwd.getpwnam(USER).pw_uid)
    with contextlib.suppress(OSError):
        found.add(asks.lstat().st_uid)
    return found
