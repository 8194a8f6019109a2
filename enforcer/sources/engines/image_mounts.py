"""Mounts out of an engine's image store, and the images they are.

What a mount shows decides, never what it is called: the file system it comes from, that
file system's layers, and the images of the store that have exactly those layers. Named
volumes and other paths of the host are none of our business, nor is a folder that has
the image store somewhere in it: that is the host's file system, and root's to give.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.image import parse_config
from enforcer.core.subject import Claim, ImageMount, ImageName
from enforcer.ports import EngineError
from enforcer.sources.engines.bundle import BundleMount, Start
from enforcer.sources.engines.containerd import Containerd, Runnable, parse_name
from enforcer.sources.engines.docker import (
    GRAPH_DRIVER,
    NAMESPACE,
    SNAPSHOTTER,
    Docker,
    familiar,
)
from enforcer.sources.engines.mount_table import MountTable, Place

MAX_STORED_IMAGES = 4000  # looked through for one mount; a second or so

# Docker's storage drivers of its own; other than overlay2 their mounts are all refused.
_DRIVERS = ("overlay2", "vfs", "btrfs", "zfs", "fuse-overlayfs")

Finder = Callable[[Place], Sequence[Claim]]
_T = TypeVar("_T")
_Namer = Callable[[str, Runnable], ImageName]


def image_mounts(
    start: Start, stores: Iterable[Path], find: Finder
) -> tuple[ImageMount, ...]:
    """Return the mounts of a start that come from an image store.

    `stores` are the folders in which engines keep the file systems of images; `find`
    returns the images at a place, as far as the container's own engine knows them.

    Raises:
        EngineError: A mount comes from a store, but from no image of this engine.
    """
    sources = [
        (mount, _place(start.table, mount, source))
        for mount in start.bundle.mounts
        for source in mount.sources
    ]
    folders = [place for store in stores if (place := _existing(start.table, store))]
    return tuple(
        _image_mount(mount, place, find)
        for mount, place in sources
        if any(_shows(place, folder, start.table) for folder in folders)
    )


def store_folders(
    containerds: Iterable[Containerd], dockers: Iterable[Docker]
) -> list[Path]:
    """Return where engines keep the file systems of images."""
    found = [path for c in containerds for path in c.root.glob("*.snapshotter.v1.*")]
    return found + [docker.root / name for docker in dockers for name in _DRIVERS]


def containerd_images(
    engine: Containerd, namespace: str, container: str, place: Place
) -> list[Claim]:
    """Return the images of a namespace that are mounted at a place."""
    snapshotter = engine.record(namespace, container).snapshotter
    return list(
        _stored(engine, namespace, snapshotter, place, lambda name, _: parse_name(name))
    )


def docker_images(docker: Docker, container: str, place: Place) -> list[Claim]:
    """Return the images of Docker's that are mounted at a place."""
    if docker.driver_of(container) == GRAPH_DRIVER:
        return list(_graph(docker, place))
    engine = docker.containerd

    def name(stored: str, found: Runnable) -> ImageName:
        origin = engine.has_origin(NAMESPACE, found)
        return docker.name(familiar(stored), origin=origin)

    return list(_stored(engine, NAMESPACE, SNAPSHOTTER, place, name))


def _image_mount(mount: BundleMount, place: Place, find: Finder) -> ImageMount:
    images = find(place) if place.overlay else ()
    if not images:
        raise EngineError(
            f"what is mounted at {mount.destination} is out of an engine's image store "
            f"({clip(place.path)}), and no image there has exactly these files",
            remedy="Mount an image by its name, or a folder outside the store.",
            code=Code.MOUNT_UNKNOWN,
        )
    at = f"mounted at {mount.destination}"
    named = (replace(image, shown=f"{image.shown} {at}") for image in images)
    return ImageMount(mount.destination, tuple(named))


def _place(table: MountTable, mount: BundleMount, source: str) -> Place:
    try:
        return table.place(source)
    except OSError as error:
        raise EngineError(
            f"the source of the mount at {mount.destination} cannot be looked at: "
            f"{clip(source)}: {error.strerror}",
            remedy="Create the container again.",
            code=Code.MOUNT_UNKNOWN,
        ) from error


def _existing(table: MountTable, path: Path | str) -> Place | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        return table.place(str(path))
    return None


def _shows(place: Place, store: Place, table: MountTable) -> bool:
    """Whether a place is in a store, or made of layers that are.

    An overlay that the store itself stands on is the host's own root file system.
    """
    if place.is_below(store):
        return True
    if place.overlay is None or place.is_mount_of(store):
        return False
    # Where what stands relative is meant, containerd's way and Docker's.
    bases = (Path(store.real) / "snapshots", Path(store.real))
    layers = (layer for layer in (*place.overlay.lower, place.overlay.upper) if layer)
    found = (_existing(table, base / layer) for layer in layers for base in bases)
    return any(layer.is_below(store) for layer in found if layer)


def _stored(
    engine: Containerd, namespace: str, snapshotter: str, place: Place, name: _Namer
) -> Iterator[Claim]:
    if place.overlay is None:
        return
    chain = engine.snapshots.mounted_chain(
        namespace, snapshotter, place.point, place.overlay
    )
    if chain is None:
        return
    names: dict[Descriptor, list[str]] = {}
    for stored, target in engine.images(namespace):
        names.setdefault(target, []).append(stored)
    for target in _bounded(list(names)):
        found = _with_chain(engine, target, chain)
        if found:
            known = tuple(
                name(stored, found)
                for stored in sorted(names[target])
                if not stored.startswith("sha256:")  # CRI's ids
            )
            yield Claim(
                known[0].shown if known else f"image {target.digest.short}",
                known,
                found.config_digest,
                found.config,
                chain,
                found.contents,
            )


def _with_chain(
    engine: Containerd, target: Descriptor, chain: Digest
) -> Runnable | None:
    """Return what a stored image runs, if that has this root file system."""
    with suppress(EnforcerError):  # no image, not for this host, damaged: not this one
        found = engine.runnable(target, rootfs=chain, shown=target.digest.short)
        if parse_config(found.config).chain_id == chain:
            return found
    return None


def _graph(docker: Docker, place: Place) -> Iterator[Claim]:
    graph = docker.graph
    chain = graph.mounted_chain(place.overlay) if place.overlay else None
    if chain is None:
        return
    for image in _bounded(graph.ids("")):
        config = graph.config(image)
        if parse_config(config).chain_id == chain:
            origin = graph.has_origin(image)
            known = tuple(docker.name(n, origin=origin) for n in graph.names_of(image))
            shown = known[0].shown if known else f"image {image.short}"
            yield Claim(shown, known, image, config, chain, ())


def _bounded(images: Sequence[_T]) -> Sequence[_T]:
    if len(images) > MAX_STORED_IMAGES:
        raise EngineError(
            f"there are more than {MAX_STORED_IMAGES} images to find a mounted one in",
            remedy="Remove images nobody uses.",
            code=Code.TOO_LARGE,
        )
    return images
