"""Which images an engine has, by digest: read from its store on disk, not asked for.

So it is known while the engine is down, in every namespace at once, and for images
that only a container still has. What an engine can start has its manifest (containerd's
store) or its configuration (Docker's own) there, and so has what runs.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.ports import EngineError
from enforcer.sources.engines.graphdriver import GraphDriver

MAX_BLOBS = 1_000_000  # of one store, layers among them; two seconds to list


def held_by_containerd(root: Path) -> set[Digest]:
    """Return the digests of all that a containerd's content store has.

    Layers are among them; no signature is about one.

    Raises:
        EngineError: The store is not there, cannot be read, or has too much.
    """
    # The store's own folder comes with the first blob; the database's, at first start.
    _require(root / "io.containerd.metadata.v1.bolt")
    store = root / "io.containerd.content.v1.content"
    if os.path.lexists(store):  # and empty, it is a disk that is not mounted
        _require(store / "ingest")
    blobs = store / "blobs"
    found: set[Digest] = set()
    for algorithm in _names(blobs):
        for name in _names(blobs / algorithm):
            with suppress(EnforcerError):  # no digest, so no content
                found.add(Digest.parse(f"{algorithm}:{name}"))
    return found


def held_by_docker(root: Path) -> set[Digest]:
    """Return the ids of all images of Docker's own store, and their repository digests.

    With containerd's store there are none: that store is containerd's.

    Raises:
        EngineError: No dockerd has ever run here, or its store cannot be read.
    """
    _require(root / "containers")
    graph = GraphDriver(root)
    return {*graph.ids(""), *graph.repository_digests()}


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_BLOBS:
                    raise _unknown(folder, f"it has more than {MAX_BLOBS} files")
                yield entry.name
    except FileNotFoundError:  # a store that is new
        return
    except OSError as error:
        raise _unknown(folder, error.strerror or "") from error


def _require(folder: Path) -> None:
    """A root without it is not mounted, or none: never an engine without images."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise _unknown(folder, error.strerror or "") from error


def _unknown(folder: Path, why: str) -> EngineError:
    return EngineError(
        f"which images are on this host is not known: {folder}: {why}",
        remedy="Run it as root, with all disks mounted.",
        code=Code.IMAGES_UNKNOWN,
    )
