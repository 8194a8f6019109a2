"""Remove what a stopped engine leaves: shims, containers, mounts, control groups.

Everything is found by the engine's own private folder or socket, never by a
program's name: other engines on the machine are none of our business.
"""

import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.engines.process import wait_until

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# Where ctr puts runc's state, whatever the containerd (seen with 1.6 and 2.1).
CTR_RUNC_ROOT = Path("/run/containerd/runc")
CTR_PIPES = Path("/run/containerd/fifo")
SHIM_SOCKETS = Path("/run/containerd/s")
MAX_TREE_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Shim:
    """A running containerd shim, and the container it was started for."""

    pid: int
    namespace: str
    container: str


def find_shims(socket: Path) -> tuple[Shim, ...]:
    """The shims that report to the containerd at `socket`."""
    found = []
    for pid, words in _command_lines().items():
        options = dict(itertools.pairwise(words))
        if options.get("-address") == str(socket) and "-id" in options:
            found.append(Shim(pid, options.get("-namespace", ""), options["-id"]))
    return tuple(found)


def reap_shims(socket: Path) -> None:
    """Kill what runs under our shims, then the shims, and drop their cgroups."""
    shims = find_shims(socket)
    below = [pid for shim in shims for pid in descendants(shim.pid)]
    pipes = {folder for shim in shims for folder in _pipe_folders(shim.pid)}
    kill_all(below)
    kill_all([shim.pid for shim in shims])
    for folder in pipes:
        shutil.rmtree(folder, ignore_errors=True)
    for shim in shims:
        if shim.namespace and shim.container not in ("", ".", ".."):
            state = CTR_RUNC_ROOT / shim.namespace / shim.container
            shutil.rmtree(state, ignore_errors=True)
            leave_namespace(shim.namespace)


def remove_shim_sockets(bundles: Path) -> None:
    """Remove the sockets which the bundles of killed shims still name.

    `bundles` is a containerd's `io.containerd.runtime.v2.task` state folder. The
    sockets are elsewhere, in SHIM_SOCKETS: nothing outside of it is touched.
    """
    for record in [*bundles.glob("*/*/address"), *bundles.glob("*/*/bootstrap.json")]:
        text = record.read_text()
        address = json.loads(text)["address"] if text.startswith("{") else text
        path = Path(address.removeprefix("unix://"))
        if path.parent == SHIM_SOCKETS:
            path.unlink(missing_ok=True)


def kill_all(pids: list[int]) -> None:
    """Kill processes, wait until they are gone, and remove their empty cgroups."""
    groups = {group for pid in pids for group in _cgroups(pid)}
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not any(map(_is_alive, pids)), f"{pids} are gone")
    for group in sorted(groups, reverse=True):
        _remove_group(group)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, deepest last."""
    parents = _parents()
    found: list[int] = []
    layer = {pid}
    for _ in range(MAX_TREE_DEPTH):
        layer = {child for child, parent in parents.items() if parent in layer}
        if not layer:
            break
        found += sorted(layer)
    return found


def unmount_below(folder: Path) -> None:
    """Unmount everything mounted at or below a folder, the last mount first."""
    lines = (PROC / "self/mountinfo").read_text().splitlines()
    points = [_unescape(line.split(" ")[4]) for line in lines]
    for point in reversed(points):
        if Path(point).is_relative_to(folder):
            # Lazy: a process in another mount namespace must not keep us waiting.
            subprocess.run(["/bin/umount", "-l", point], check=False)


def remove_cgroup_tree(name: str) -> None:
    """Remove the control groups an engine made below a parent of this name."""
    for hierarchy in [CGROUPS, *CGROUPS.iterdir()]:
        top = hierarchy / name
        if top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                _remove_group(Path(folder))


@functools.cache
def leave_namespace(name: str) -> None:
    """Have a namespace's empty control group and runc folder removed at our end.

    Not before: all engines of a machine share them, and another one's runc may be
    between making the folder and making its own in there.
    """
    atexit.register(_remove_empty_namespace, name)


@functools.cache
def leave_folder(folder: Path) -> None:
    """Have a folder that others use as well removed at our end, if it is empty."""
    atexit.register(_remove_group, folder)


def _remove_empty_namespace(name: str) -> None:
    for hierarchy in [CGROUPS, *CGROUPS.iterdir()]:
        _remove_group(hierarchy / name)
    _remove_group(CTR_RUNC_ROOT / name)


def _remove_group(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # gone already, or somebody else's process is in it
        return


def _command_lines() -> dict[int, list[str]]:
    lines = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                raw = (entry / "cmdline").read_bytes()
            except OSError:  # it ended while we looked
                continue
            words = raw.decode(errors="replace").split("\0")
            lines[int(entry.name)] = words
    return lines


def _parents() -> dict[int, int]:
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    return parents


def _pipe_folders(pid: int) -> set[Path]:
    """The folders of ctr's pipes a process has open."""
    found = set()
    with contextlib.suppress(OSError):  # it ended while we looked
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                pipe = link.readlink()
                if pipe.is_relative_to(CTR_PIPES) and pipe.parent != CTR_PIPES:
                    found.add(pipe.parent)
    return found


def _is_alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    # proc(5): the name in parentheses may hold anything, even parentheses.
    return text.rpartition(")")[2].split()


def _cgroups(pid: int) -> list[Path]:
    """The groups of a process in each hierarchy, the root group left out."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return []
    mine = (PROC / "self/cgroup").read_text().splitlines()
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if line not in mine and path != "/":
            name = controllers.removeprefix("name=") or "unified"
            folders.append(CGROUPS / name / path.lstrip("/"))
            folders.append(CGROUPS / path.lstrip("/"))
    return folders


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes (proc(5))."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode()
