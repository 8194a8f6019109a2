"""Artifacts that are no container image: charts, SIF files, firmware, anything.

Whatever a manifest's media types say, it is verified by the signatures on it alone
(notation signs any manifest). What is read here is for people, and for finding one
part of it by name; no decision depends on it.
"""

from dataclasses import dataclass

from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import MalformedError
from enforcer.core.image import (
    MAX_MANIFEST_BYTES,
    Index,
    parse_manifest_or_index,
)
from enforcer.core.strictjson import Json, parse_json, require_object

TITLE = "org.opencontainers.image.title"  # what oras calls the file (annotations.md)

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
# The second is SingularityCE's own spelling, of before it was noticed.
SIF_LAYERS = frozenset(
    {
        "application/vnd.sylabs.sif.layer.v1.sif",
        "appliciation/vnd.sylabs.sif.layer.tar",
    }
)


@dataclass(frozen=True, slots=True)
class Part:
    """A layer, and what its file was called; "" where nobody says so."""

    content: Descriptor
    title: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a manifest names. Texts are the manifest's: escape them.

    Attributes:
        kind: In words; "" where the media type is all there is to say.
        media_type: `artifactType`, else the configuration's (image-spec manifest.md).
        config: The configuration, which for most artifacts is `{}`.
        parts: The layers, in order.
        uncounted: What else vouches for it in another way, which nobody looked at.
    """

    kind: str
    media_type: str
    config: Descriptor
    parts: tuple[Part, ...]
    uncounted: tuple[str, ...]
    is_image: bool


def parse_artifact(raw: bytes) -> Artifact:
    """Read the manifest of an artifact, or of an image.

    Raises:
        MalformedError: No manifest, or an index, which has parts for nobody.
    """
    parsed = parse_manifest_or_index(raw)
    if isinstance(parsed, Index):
        raise MalformedError(
            "an index of several manifests is no single artifact",
            remedy="Name one of its manifests by @DIGEST.",
        )
    value = parse_json(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES)
    members = require_object(value, what="manifest")
    layers = members["layers"]
    titles = [_title(layer) for layer in layers] if isinstance(layers, list) else []
    parts = tuple(map(Part, parsed.layers, titles))
    declared = members.get("artifactType")
    type_ = declared if isinstance(declared, str) else parsed.config.media_type
    kind, uncounted = _kind(parsed.config, parts)
    return Artifact(kind, type_, parsed.config, parts, uncounted, parsed.is_image)


def find_part(artifact: Artifact, name: str) -> Part:
    """Return the part of this title, media type or digest; the only one for "".

    Raises:
        MalformedError: None, or several.
    """
    found = [part for part in artifact.parts if name in ("", *_names(part))]
    if len(found) != 1:
        count = len(found) or "no"
        which = f'of title, media type or digest "{name}"' if name else "to choose from"
        have = ", ".join(p.title or str(p.content.media_type) for p in artifact.parts)
        raise MalformedError(
            f"there are {count} layers {which}",
            remedy=f"Name one of these by --layer: {have or 'none'}.",
        )
    return found[0]


def _names(part: Part) -> tuple[str, str, str]:
    return part.title, part.content.media_type, str(part.content.digest)


def _kind(config: Descriptor, parts: tuple[Part, ...]) -> tuple[str, tuple[str, ...]]:
    types = {part.content.media_type for part in parts}
    if config.media_type == HELM_CONFIG:
        has_pgp = HELM_PROVENANCE in types
        return "Helm chart", ("PGP provenance (.prov)",) if has_pgp else ()
    if types & SIF_LAYERS:
        return "Singularity image", ("PGP signatures inside the SIF file, if any",)
    return "", ()


def _title(layer: Json) -> str:
    annotations = layer.get("annotations") if isinstance(layer, dict) else None
    title = annotations.get(TITLE) if isinstance(annotations, dict) else None
    return title if isinstance(title, str) else ""
