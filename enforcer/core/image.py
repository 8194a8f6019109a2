"""OCI and Docker images as values: manifest, index, configuration, chain id.

These are the bytes that decide what runs, so each is read strictly: a manifest
that one reader could take for an index and another for a manifest is neither
(CVE-2021-41190).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, clip
from enforcer.core.strictjson import Json, parse_json, require_object, require_text

MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # what registries and notation accept
MAX_CONFIG_BYTES = 8 * 1024 * 1024  # Docker's own limit for an image configuration
MAX_INDEX_ENTRIES = 1024
MAX_LAYERS = 1024  # overlayfs stops at 500 lower directories

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
CONFIG_TYPES = frozenset({OCI_CONFIG, "application/vnd.docker.container.image.v1+json"})

_MANIFEST_MEMBERS = frozenset(
    {
        "schemaVersion", "mediaType", "artifactType", "config", "layers",
        "subject", "annotations", "manifests", "fsLayers",
    }
)  # fmt: skip
_DESCRIPTOR_MEMBERS = frozenset(
    {"mediaType", "digest", "size", "platform", "artifactType", "annotations"}
)
_CONFIG_MEMBERS = frozenset(
    {"architecture", "os", "variant", "rootfs", "config", "history"}
)


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system, architecture and variant, as Go names them."""

    os: str
    architecture: str
    variant: str = ""

    def agrees_with(self, other: "Platform") -> bool:
        """Same system; a variant counts only where both sides name one."""
        return (self.os, self.architecture) == (other.os, other.architecture) and (
            self.variant == other.variant or "" in (self.variant, other.variant)
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: the configuration it names, and its layers.

    `is_image` is false for anything with a `subject`, an `artifactType` or a
    configuration that is not an image's: such a manifest never runs.
    """

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    is_image: bool


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One manifest an index lists, and for which platform, if it says so."""

    manifest: Descriptor
    platform: Platform | None


@dataclass(frozen=True, slots=True)
class Index:
    """An image index (or Docker manifest list), in its own order."""

    media_type: str
    entries: tuple[IndexEntry, ...]
    is_image: bool


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What of an image configuration decides the root file system."""

    platform: Platform
    diff_ids: tuple[Digest, ...]

    @property
    def chain_id(self) -> Digest:
        """The id of the whole layer stack (image-spec config.md, "Layer ChainID")."""
        chain = self.diff_ids[0]
        for diff_id in self.diff_ids[1:]:
            joined = f"{chain} {diff_id}".encode("ascii")
            chain = Digest("sha256", hashlib.sha256(joined).hexdigest())
        return chain


def parse_manifest_or_index(raw: bytes) -> Manifest | Index:
    """Read manifest bytes, telling the two kinds apart by what they contain.

    Raises:
        MalformedError: Not JSON, both kinds at once, or neither.
        TooLargeError: More than MAX_MANIFEST_BYTES.
    """
    document = parse_json(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES)
    members = require_object(document, what="manifest", known=_MANIFEST_MEMBERS)
    if members.get("schemaVersion") != 2:
        raise MalformedError(
            "manifest is not of schemaVersion 2",
            remedy="Push or save the image again with a current tool.",
        )
    has_layers = "layers" in members or "config" in members or "fsLayers" in members
    if has_layers == ("manifests" in members):
        raise MalformedError(
            "manifest is not plainly an image manifest or plainly an image index",
            remedy="It must have either config and layers, or manifests.",
        )
    return _manifest(members) if has_layers else _index(members)


def media_type_of(raw: bytes) -> str:
    """Return the media type manifest bytes give themselves, or their kind's default.

    Raises:
        MalformedError: As `parse_manifest_or_index`.
    """
    return parse_manifest_or_index(raw).media_type


def parse_config(raw: bytes) -> ImageConfig:
    """Read an image configuration.

    Raises:
        MalformedError: Not JSON, no layers, or digests that are not digests.
        TooLargeError: More than MAX_CONFIG_BYTES.
    """
    what = "image configuration"
    document = parse_json(raw, what=what, max_bytes=MAX_CONFIG_BYTES)
    members = require_object(document, what=what, known=_CONFIG_MEMBERS)
    rootfs = require_object(
        members.get("rootfs"), what=f"rootfs of {what}", known=("type", "diff_ids")
    )
    listed = rootfs.get("diff_ids")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_LAYERS:
        raise MalformedError(
            f"{what} lists no layers, or more than {MAX_LAYERS}",
            remedy="rootfs.diff_ids must name each layer.",
        )
    return ImageConfig(
        _platform(members, what),
        tuple(
            Digest.parse(entry if isinstance(entry, str) else "") for entry in listed
        ),
    )


def image_manifest_bytes(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """Write the OCI manifest that `docker save` writes for the same image.

    Docker's graph drivers keep no manifest. Written exactly as Docker 28 does,
    a signature made here stays good when the image is saved and loaded elsewhere.
    """
    listed = ",".join(_descriptor_text(layer) for layer in layers)
    return (
        f'{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}",'
        f'"config":{_descriptor_text(config)},"layers":[{listed}]}}'
    ).encode("ascii")


def parse_descriptor(value: Json, *, what: str) -> Descriptor:
    """Read media type, digest and size of one descriptor, or raise MalformedError."""
    members = require_object(value, what=what, known=_DESCRIPTOR_MEMBERS)
    size = members.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise MalformedError(
            f"{what} has no size", remedy="size must be a number of bytes."
        )
    return Descriptor(
        require_text(members, "mediaType", what=what),
        Digest.parse(require_text(members, "digest", what=what)),
        size,
    )


def _manifest(members: dict[str, Json]) -> Manifest:
    config = parse_descriptor(members.get("config"), what="config of the manifest")
    listed = members.get("layers")
    if not isinstance(listed, list) or len(listed) > MAX_LAYERS:
        raise MalformedError(
            f"manifest has no layers, or more than {MAX_LAYERS}",
            remedy="layers must be a list.",
        )
    media_type = _own_media_type(members, OCI_MANIFEST)
    return Manifest(
        media_type,
        config,
        tuple(
            parse_descriptor(entry, what="layer of the manifest") for entry in listed
        ),
        is_image=media_type in MANIFEST_TYPES
        and config.media_type in CONFIG_TYPES
        and "subject" not in members
        and "artifactType" not in members,
    )


def _index(members: dict[str, Json]) -> Index:
    listed = members.get("manifests")
    if not isinstance(listed, list) or len(listed) > MAX_INDEX_ENTRIES:
        raise MalformedError(
            f"image index lists nothing, or more than {MAX_INDEX_ENTRIES} manifests",
            remedy="manifests must be a list.",
        )
    media_type = _own_media_type(members, OCI_INDEX)
    return Index(
        media_type,
        tuple(_index_entry(entry) for entry in listed),
        is_image=media_type in INDEX_TYPES
        and "subject" not in members
        and "artifactType" not in members,
    )


def _own_media_type(members: dict[str, Json], default: str) -> str:
    # image-spec manifest.md: mediaType SHOULD be there, and may be left out.
    if "mediaType" not in members:
        return default
    return require_text(members, "mediaType", what="manifest")


def _index_entry(value: Json) -> IndexEntry:
    what = "entry of the image index"
    descriptor = parse_descriptor(value, what=what)
    platform = value.get("platform") if isinstance(value, dict) else None
    if platform is None:
        return IndexEntry(descriptor, None)
    members = require_object(
        platform, what=f"platform of {what}", known=("os", "architecture", "variant")
    )
    return IndexEntry(descriptor, _platform(members, what))


def _platform(members: dict[str, Json], what: str) -> Platform:
    variant = members.get("variant", "")
    if not isinstance(variant, str):
        raise MalformedError(
            f"{what} has a variant that is no text: {clip(repr(variant))}",
            remedy='Expected text such as "v8".',
        )
    return Platform(
        require_text(members, "os", what=what),
        require_text(members, "architecture", what=what),
        variant,
    )


def _descriptor_text(descriptor: Descriptor) -> str:
    return (
        f'{{"mediaType":"{descriptor.media_type}",'
        f'"digest":"{descriptor.digest}","size":{descriptor.size}}}'
    )
