"""What the asking process sees mounted, and where a path's content really is."""

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.files import read_file
from enforcer.ports import EngineError

MAX_MOUNTINFO_BYTES = 32 * 1024 * 1024  # the kernel's default limit is 100,000 mounts
OPENAT2 = 437  # Linux 5.6, the same on every architecture
RESOLVE_IN_ROOT = 0x10

_OCTAL = re.compile(r"\\([0-7]{3})")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class OverlayMount:
    """An overlay file system: its layers, top first, and where changes go."""

    lower: tuple[str, ...]
    upper: str

    def resolved_under(self, base: Path) -> "OverlayMount":
        """Make relative layers absolute and follow links, as the kernel did.

        Engines mount with relative names when the absolute ones do not fit a page.
        """
        return OverlayMount(
            tuple(os.path.realpath(base / layer) for layer in self.lower),
            os.path.realpath(base / self.upper),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where content is, by whatever path it is reached: a path of a file system.

    `real` is the path it was reached by, without links, and `point` where the mount
    begins that it is in; `overlay` has the layers of a file system made of some.
    """

    device: str
    path: str
    real: str
    point: str
    overlay: OverlayMount | None = None

    def is_below(self, folder: "Place") -> bool:
        """Whether this is in a folder, or that folder itself."""
        within = Path(self.path).is_relative_to(folder.path)
        return self.device == folder.device and within

    def is_mount_of(self, other: "Place") -> bool:
        """Whether the other place is somewhere under the mount this one is in."""
        return Path(other.real).is_relative_to(self.point)


class MountTable:
    """The mounts of one process."""

    def __init__(self, pid: int) -> None:
        """Read them. Raises EngineError."""
        self._process = Path("/proc") / (str(pid) if pid else "self")
        try:
            raw = read_file(self._process / "mountinfo", max_bytes=MAX_MOUNTINFO_BYTES)
        except EnforcerError as error:
            raise EngineError(
                f"the mounts of the asking process cannot be read: {error.what}",
                remedy="Try again.",
            ) from error
        # Not splitlines: a path may hold what Python also takes for the end of one.
        self._lines = raw.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
        self._by_number = {line.partition(" ")[0]: line for line in self._lines}

    def overlay_at(self, path: str) -> OverlayMount:
        """Return the overlay that is mounted at `path`.

        Raises:
            EngineError: Nothing is mounted there, or no overlay.
        """
        found = ""
        for line in self._lines:
            if _plain(line.split(" ", 5)[4]) == path:
                found = line  # the last one is on top
        overlay = _overlay_of(found)
        if overlay is None:
            kind = found.partition(" - ")[2].partition(" ")[0] or "none"
            raise EngineError(
                f"the root file system at {clip(path)} is not an overlay mount "
                f"({kind})",
                remedy="This version judges the overlayfs snapshotter and the overlay2 "
                "storage driver only.",
                code=Code.NOT_SUPPORTED,
            )
        return overlay

    def place(self, path: str) -> Place:
        """Say where the content of an absolute path is, links followed.

        Raises:
            OSError: There is nothing, or it cannot be looked at.
        """
        with self._opened(path) as handle:
            real = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
            info = Path(f"/proc/self/fdinfo/{handle}").read_text()
        (mount,) = re.findall(r"(?m)^mnt_id:\s*(\d+)$", info)
        line = self._by_number.get(mount)
        if line is None:  # mounted since
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        _, _, device, root, point, _ = line.split(" ", 5)
        root, point = _plain(root), _plain(point)
        held = os.path.normpath(f"{root}/{os.path.relpath(real, point)}")
        return Place(device, held, real, point, _overlay_of(line))

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """Open a path as that process would; its links stay in its own file system."""
        root = os.open(self._process / "root", os.O_PATH)
        try:
            how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
            handle = _LIBC.syscall(
                OPENAT2, root, os.fsencode(path), how, ctypes.sizeof(how)
            )
            if handle < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(root)
        try:
            yield handle
        finally:
            os.close(handle)


def overlay_of(options: list[str]) -> OverlayMount:
    """Read the options an engine mounts an overlay with."""
    values = dict(option.partition("=")[::2] for option in options)
    layers = tuple(_plain(layer) for layer in values.get("lowerdir", "").split(":"))
    return OverlayMount(layers, _plain(values.get("upperdir", "")))


def _overlay_of(line: str) -> OverlayMount | None:
    """Return the overlay a line of mountinfo is about, if it is one."""
    kind, _, options = line.partition(" - ")[2].partition(" ")
    return overlay_of(options.split(" ")[-1].split(",")) if kind == "overlay" else None


def _plain(field: str) -> str:
    """Undo the kernel's octal escapes for blanks."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), field)
