"""What a layout is to hold, all of it said before any of it is written."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from enforcer.core.carried import CARRIED_INDEX, build_carried
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import OCI_INDEX
from enforcer.sources.layout.index import IMAGE_NAME, LAYOUT_VERSION, REF_NAME


class ExportError(EnforcerError):
    """A layout was not written: something lacks, is in the way, or has no room."""

    default_code = Code.EXPORT_FAILED


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to come: `open` yields them, whoever writes them checks size and digest."""

    digest: Digest
    size: int
    open: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, raw: bytes) -> "Blob":
        """Make one of bytes at hand."""
        return cls(Digest.of(raw), len(raw), lambda: iter((raw,)))


@dataclass(frozen=True, slots=True)
class Named:
    """A line of index.json: an image or artifact, under full names or a bare tag.

    A full name has a host and a tag, as in `docker.io/library/app:1`. Without either
    it is listed by its digest alone.
    """

    descriptor: Descriptor
    names: tuple[str, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Loadable:
    """What Docker's own image store loads: a configuration, its layers, the names."""

    config: Digest
    layers: tuple[Digest, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayoutContents:
    """All that a layout is to hold.

    Attributes:
        named: What it is about, in index.json.
        beside: Manifests about those, or known of them; see `core.carried`.
        blobs: By digest; those of the manifests above among them.
        loadable: For manifest.json, which Docker before 25 and its graph drivers ask.
    """

    named: tuple[Named, ...]
    beside: tuple[Descriptor, ...]
    blobs: Mapping[Digest, Blob]
    loadable: tuple[Loadable, ...] = field(default=())

    def files(self) -> dict[str, Blob]:
        """Return every file by name, sorted: the same for the same contents."""
        carried = [*build_carried(self.beside)]
        blobs = {**self.blobs, **{(b := Blob.of(raw)).digest: b for raw in carried}}
        found = {f"blobs/{d.algorithm}/{d.hex}": blob for d, blob in blobs.items()}
        found["oci-layout"] = _json({"imageLayoutVersion": LAYOUT_VERSION})
        found["index.json"] = _json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [*named_entries(self.named), *map(_entry, carried)],
            }
        )
        if self.loadable:
            found["manifest.json"] = _json([_for_docker(one) for one in self.loadable])
        return dict(sorted(found.items()))


def named_entries(named: tuple[Named, ...]) -> list[dict[str, object]]:
    """Return the lines of index.json for what is named, as engines and oras read them.

    The bare tag is what oras goes by; where two images have the same, the full name.
    """
    listed = [(one, name) for one in named for name in one.names or ("",)]
    tags = Counter(_tag(one, name) for one, name in listed)
    entries = []
    for one, name in listed:
        tag = _tag(one, name)
        said = {REF_NAME: name if name and tags[tag] > 1 else tag, IMAGE_NAME: name}
        kept = {key: text for key, text in sorted(said.items()) if text}
        annotations = {"annotations": kept} if kept else {}
        entries.append(described(one.descriptor) | annotations)
    return entries


def described(descriptor: Descriptor) -> dict[str, object]:
    """Return a descriptor's members."""
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def _tag(one: Named, name: str) -> str:
    return name.rpartition(":")[2] if name else one.tag


def _entry(raw: bytes) -> dict[str, object]:
    return described(Descriptor.of(OCI_INDEX, raw)) | {"artifactType": CARRIED_INDEX}


def _for_docker(one: Loadable) -> dict[str, object]:
    paths = [f"blobs/{d.algorithm}/{d.hex}" for d in (one.config, *one.layers)]
    familiar = [
        n.removeprefix("docker.io/").removeprefix("library/") for n in one.names
    ]
    return {"Config": paths[0], "RepoTags": familiar or None, "Layers": paths[1:]}


def _json(value: object) -> Blob:
    return Blob.of(json.dumps(value, separators=(",", ":")).encode("ascii"))
