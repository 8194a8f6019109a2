"""What runc is about to use: the bundle's root path, and where its mounts come from."""

import os
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.strictjson import Json, parse_json, require_object, require_text
from enforcer.files import read_file
from enforcer.ports import ContainerRef, EngineError
from enforcer.sources.engines.mount_table import MountTable

MAX_SPEC_BYTES = 16 * 1024 * 1024  # a runtime specification with very many mounts

_MOUNT = ("destination", "type", "source", "options")  # runtime-spec, "Mounts"
_LAYERS = ("lowerdir", "lowerdir+", "datadir+", "upperdir")  # of an overlay


@dataclass(frozen=True, slots=True)
class BundleMount:
    """A mount runc is told to make, and the absolute host paths it shows."""

    destination: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The part of a bundle's config.json that says what the container gets to see."""

    root: str
    mounts: tuple[BundleMount, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """A container about to start: what runc will read, and what it sees mounted."""

    container: ContainerRef
    bundle: Bundle
    table: MountTable


def load_start(container: ContainerRef) -> Start:
    """Read a container's bundle and mounts, or raise EngineError."""
    return Start(container, load_bundle(container), MountTable(container.peer_pid))


def load_bundle(container: ContainerRef) -> Bundle:
    """Return the root path of the bundle's config.json, absolute, and its mounts.

    Raises:
        EngineError: There is none, or it cannot be read.
    """
    path = Path(container.bundle) / "config.json"
    try:
        raw = read_file(path, max_bytes=MAX_SPEC_BYTES)
        document = parse_json(raw, what=str(path), max_bytes=MAX_SPEC_BYTES)
        spec = require_object(document, what=str(path), known=("root", "mounts"))
        root = require_object(spec.get("root"), what="its root", known=("path",))
        named = require_text(root, "path", what="its root")
        if ".." in Path(named).parts:  # leads elsewhere than it reads, behind a link
            raise MalformedError("its root goes up", remedy="Name it plainly.")
        mounts = tuple(_mount(m, container.bundle) for m in _listed(spec, "mounts"))
    except EnforcerError as error:
        raise EngineError(
            f"the bundle of container {clip(container.id, limit=64)} cannot be read: "
            f"{error.what}",
            remedy="Create the container again.",
        ) from error
    folder = os.path.realpath(container.bundle)  # as mountinfo names it
    root_path = os.path.join(folder, named)  # noqa: PTH118
    return Bundle(os.path.normpath(root_path), mounts)


def _mount(value: Json, bundle: str) -> BundleMount:
    """Read one mount; runc takes a bind mount's source from the bundle's folder."""
    members = require_object(value, what="a mount", known=_MOUNT)
    kind, source = (str(members.get(name) or "") for name in ("type", "source"))
    options = [str(option) for option in _listed(members, "options")]
    sources = []
    if source.startswith("/") or kind == "bind" or {"bind", "rbind"} & set(options):
        sources.append(os.path.join(bundle, source))  # noqa: PTH118
    for option in options:
        name, _, layers = option.partition("=")
        if name in _LAYERS:
            sources += [layer for layer in layers.split(":") if layer]
    destination = require_text(members, "destination", what="a mount")
    return BundleMount(clip(destination), tuple(sources))


def _listed(members: dict[str, Json], name: str) -> list[Json]:
    value = members.get(name)
    return value if isinstance(value, list) else []
