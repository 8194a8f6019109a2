"""What runc is about to use: the bundle's root path and what is mounted there."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.files import read_file
from enforcer.ports import ContainerRef, EngineError

MAX_SPEC_BYTES = 16 * 1024 * 1024  # a runtime specification with very many mounts
MAX_MOUNTINFO_BYTES = 32 * 1024 * 1024  # the kernel's default limit is 100,000 mounts

_OCTAL = re.compile(r"\\([0-7]{3})")


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


def root_path(container: ContainerRef) -> str:
    """Return the absolute root path of the bundle's config.json.

    Raises:
        EngineError: There is none, or it cannot be read.
    """
    path = Path(container.bundle) / "config.json"
    try:
        raw = read_file(path, max_bytes=MAX_SPEC_BYTES)
        document = parse_json(raw, what=str(path), max_bytes=MAX_SPEC_BYTES)
        spec = require_object(document, what=str(path), known=("root",))
        root = require_object(spec.get("root"), what="its root", known=("path",))
        named = require_text(root, "path", what="its root")
    except EnforcerError as error:
        raise EngineError(
            f"the bundle of container {clip(container.id, limit=64)} cannot be read: "
            f"{error.what}",
            remedy="Create the container again.",
        ) from error
    return os.path.normpath(os.path.join(container.bundle, named))  # noqa: PTH118


def mounted_at(path: str, *, pid: int) -> OverlayMount:
    """Return the overlay that process `pid` sees at `path`.

    Raises:
        EngineError: Nothing is mounted there, or no overlay.
    """
    source = Path("/proc") / (str(pid) if pid else "self") / "mountinfo"
    try:
        raw = read_file(source, max_bytes=MAX_MOUNTINFO_BYTES)
    except EnforcerError as error:
        raise EngineError(
            f"the mounts of the asking process cannot be read: {error.what}",
            remedy="Try again.",
        ) from error
    found = None
    for line in raw.decode("utf-8", "replace").splitlines():
        fields, _, tail = line.partition(" - ")
        if _plain(fields.split(" ")[4]) == path:
            found = tail  # the last one is on top
    kind, _, options = (found or "none").partition(" ")
    if kind != "overlay":
        raise EngineError(
            f"the root file system at {clip(path)} is not an overlay mount ({kind})",
            remedy="This version judges the overlayfs snapshotter and the overlay2 "
            "storage driver only.",
            code=Code.NOT_SUPPORTED,
        )
    return _overlay(options.split(" ")[-1].split(","))


def overlay_of(options: list[str]) -> OverlayMount:
    """Read the options an engine mounts an overlay with."""
    return _overlay(options)


def _overlay(options: list[str]) -> OverlayMount:
    values = dict(option.partition("=")[::2] for option in options)
    layers = tuple(_plain(layer) for layer in values.get("lowerdir", "").split(":"))
    return OverlayMount(layers, _plain(values.get("upperdir", "")))


def _plain(field: str) -> str:
    """Undo the kernel's octal escapes for blanks."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), field)
