"""What `docker save` wrote before Docker 25: no layout, no manifest, only parts of one.

skopeo and podman write the like. `manifest.json` names a configuration and layers by
file. The manifest is made from
them as Docker 25 and later make it, which is what `enforcer sign docker:NAME` signs
for an image in Docker's own store.
"""

from collections.abc import Callable, Collection, Iterator

from enforcer.core.codes import Code
from enforcer.core.collected import Collected
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, clip
from enforcer.core.image import (
    MAX_CONFIG_BYTES,
    OCI_CONFIG,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    image_manifest_bytes,
    parse_config,
)
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.core.subject import Content
from enforcer.sources.layout.archive import ArchiveFiles
from enforcer.sources.layout.tar_header import ArchiveError

MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_IMAGES = 10_000

_LIST = "manifest.json"


def is_saved(files: ArchiveFiles) -> bool:
    """Whether an archive is one of these; a layout that has the list, too, is not."""
    return files.has(_LIST) and not files.has("oci-layout")


def collect_saved(files: ArchiveFiles) -> Iterator[Collected]:
    """Yield the manifest of each image in it, made from configuration and layers.

    `files` was read whole: the layers' digests are those of their bytes.

    Raises:
        MalformedError: It is malformed, or lacks a layer.
    """
    for name in _configurations(files):
        yield _manifest(files, name)


def require_same_images(
    files: ArchiveFiles, configurations: Callable[[], Collection[Digest]]
) -> None:
    """Return if what older Dockers would load is among a layout's images.

    They go by the list, all others by index.json: one tar could be two images.

    Raises:
        ArchiveError: The list names something else than one of `configurations`.
        MalformedError: It is malformed.
    """
    if not files.has(_LIST):
        return
    known = {path for config in configurations() for path in _paths(config)}
    for name in _configurations(files):
        if name not in known:
            raise ArchiveError(
                f"is two images: its {_LIST} names {clip(name, limit=80)}, which no "
                "manifest of its index.json does",
                Code.ARCHIVE_TWO_IMAGES,
            ).about(files.name)


def _paths(config: Digest) -> tuple[str, str]:
    return f"blobs/{config.algorithm}/{config.hex}", f"{config.hex}.json"


def _configurations(files: ArchiveFiles) -> Iterator[str]:
    """Yield the name of each configuration in the list."""
    what = f"{_LIST} of {files.name}"
    raw = files.read(_LIST, max_bytes=MAX_LIST_BYTES)
    listed = parse_json(raw, what=what, max_bytes=MAX_LIST_BYTES)
    if not isinstance(listed, list) or len(listed) > MAX_IMAGES:
        raise MalformedError(
            f"{what} lists nothing, or more than {MAX_IMAGES} images",
            remedy="Save it again.",
        )
    for entry in listed:
        members = require_object(entry, what=what, known=("Config",))
        yield require_text(members, "Config", what=what)


def _manifest(files: ArchiveFiles, name: str) -> Content:
    raw = files.read(name, max_bytes=MAX_CONFIG_BYTES)
    layers = [
        Descriptor(OCI_LAYER_TAR, diff_id, _size(files, diff_id, name))
        for diff_id in parse_config(raw).diff_ids
    ]
    config = Descriptor(OCI_CONFIG, Digest.of(raw), len(raw))
    return Content(OCI_MANIFEST, image_manifest_bytes(config, layers))


def _size(files: ArchiveFiles, layer: Digest, name: str) -> int:
    size = files.layers.get(layer)
    if size is None:
        raise MalformedError(
            f"{files.name} lacks layer {layer.short} of {clip(name, limit=80)}",
            remedy="Save the image again.",
        )
    return size
