"""systemd's units of ours: masked, or installed and not there at the next boot?

Read from the folders systemd reads, so that a host that does not run (an image of
one) can be looked at, and nothing hangs on a bus.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.host.doctor.doors import is_used
from enforcer.host.doctor.finding import Finding
from enforcer.host.doctor.look import Look

# In systemd's order: the first that has a unit decides (systemd.unit(5)).
FOLDERS = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
)
ENABLING = ("etc/systemd/system", "run/systemd/system")
UNITS = Path(__file__).parents[1] / "systemd"  # what install puts on a host
# Who wants nothing from any network masks these.
OPTIONAL = ("enforcer-fetcher.", "enforcer-sync.")
# A caller waits at these for the daemon; without them it finds nobody at boot.
NEEDED = ("enforcer-ask.socket", "enforcer.socket", "enforcer-admin.socket")


def check(look: Look) -> Iterator[Finding | str]:
    """Look for masks that matter, and for sockets that nothing opens at boot."""
    root = look.places.root
    names = sorted(
        p.name for p in UNITS.iterdir() if p.suffix in (".socket", ".service", ".timer")
    )
    installed = [name for name in names if is_installed(root, name)]
    for name in names:
        if not is_masked(root, name) or name.startswith(OPTIONAL):
            continue
        if is_used(look, name):
            what = "it is masked, so systemd never starts it"
            remedy = f"systemctl unmask {name} && systemctl enable --now {name}"
            yield Finding(Code.UNIT_MASKED, name, what, remedy)
        else:
            yield f"{name} is masked, and no engine uses that door"
    for name in NEEDED:
        if name in installed and not is_enabled(root, name):
            what = "it is installed, and nothing starts it at boot"
            remedy = f"systemctl enable --now {name}"
            yield Finding(Code.UNIT_DISABLED, name, what, remedy)
    yield f"{len(installed)} of {len(names)} units are installed"


def is_masked(root: Path, name: str) -> bool:
    """Whether a link to /dev/null, or an empty file, stands for a unit."""
    found = _found(root, name)
    if found is None:
        return False
    if found.is_symlink() and os.fspath(found.readlink()) == os.devnull:
        return True
    return found.is_file() and found.stat().st_size == 0


def is_installed(root: Path, name: str) -> bool:
    """Whether systemd knows a unit that it may start."""
    return _found(root, name) is not None and not is_masked(root, name)


def is_enabled(root: Path, name: str) -> bool:
    """Whether something pulls a unit in at boot."""
    patterns = (f"*.wants/{name}", f"*.requires/{name}")
    return any(
        any((root / folder).glob(pattern))
        for folder in ENABLING
        for pattern in patterns
    )


def _found(root: Path, name: str) -> Path | None:
    places = (root / folder / name for folder in FOLDERS)
    return next((place for place in places if os.path.lexists(place)), None)
