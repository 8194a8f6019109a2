"""Revocation evidence that travels with an image: an OCI artifact about it.

A list or answer is signed by its issuer, so it needs no other wrapping; the manifest
only says in which place each piece belongs. All of that is a hint: what does not count
in its place, for a chain that this host trusts, is not kept (`core.revocation_places`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.collected import EvidenceFile
from enforcer.core.descriptor import Descriptor, parse_annotations
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.evidence import (
    MAX_CRL_BYTES,
    MAX_ITEMS,
    MAX_OCSP_BYTES,
    EvidenceKind,
    Item,
    Slot,
)
from enforcer.core.image import MAX_MANIFEST_BYTES, OCI_MANIFEST, parse_descriptor
from enforcer.core.signature_manifest import EMPTY_CONFIG, EMPTY_MEDIA_TYPE
from enforcer.core.strictjson import Json, parse_json, require_object, require_text

REVOCATION_ARTIFACT = "application/vnd.enforcer.revocation.v1"
MAX_EVIDENCE_BYTES = 64 * 1024 * 1024  # of all pieces about one image

_MEDIA_TYPES = {
    EvidenceKind.CRL: "application/pkix-crl",
    EvidenceKind.OCSP: "application/ocsp-response",
}
_KINDS = {text: kind for kind, text in _MEDIA_TYPES.items()}
_MOST = {EvidenceKind.CRL: MAX_CRL_BYTES, EvidenceKind.OCSP: MAX_OCSP_BYTES}
_ISSUER = "vnd.enforcer.revocation.issuer"  # digest of the key that vouches for it
_ABOUT = "vnd.enforcer.revocation.about"  # a list's URL, or a serial number in hex
_URL = "vnd.enforcer.revocation.url"
_MAX_TEXT = 2048
_WHAT = "the manifest of revocation evidence"


@dataclass(frozen=True, slots=True)
class EvidenceManifest:
    """What an artifact says it holds: its pieces' descriptors, places and URLs."""

    subject: Descriptor
    pieces: tuple[tuple[Descriptor, Slot, str], ...]


def parse_evidence_manifest(raw: bytes) -> EvidenceManifest | None:
    """Read a manifest; None if it does not claim to be one of these.

    Raises:
        MalformedError: It does, and breaks a rule.
    """
    value = parse_json(raw, what="the manifest", max_bytes=MAX_MANIFEST_BYTES)
    known = ("artifactType", "subject", "layers")
    members = require_object(value, what="the manifest", known=known)
    if members.get("artifactType") != REVOCATION_ARTIFACT:
        return None
    layers = members.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_ITEMS:
        raise MalformedError(
            f"{_WHAT} lists nothing, or more than {MAX_ITEMS} pieces",
            remedy="Export it again.",
        )
    found = EvidenceManifest(
        parse_descriptor(members.get("subject"), what=f"subject of {_WHAT}"),
        tuple(_piece(layer) for layer in layers),
    )
    if sum(descriptor.size for descriptor, _, _ in found.pieces) > MAX_EVIDENCE_BYTES:
        raise MalformedError(
            f"{_WHAT} lists more than {MAX_EVIDENCE_BYTES} bytes",
            remedy="Export fewer images at a time.",
        )
    return found


def build_evidence(subject: Descriptor, items: Sequence[Item]) -> EvidenceFile:
    """Write the artifact for some evidence: the same bytes for the same evidence."""
    ordered = sorted(set(items), key=lambda item: (item.slot, item.untrusted_der))
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": REVOCATION_ARTIFACT,
        "config": _json(Descriptor.of(EMPTY_MEDIA_TYPE, EMPTY_CONFIG)),
        "layers": [_layer(item) for item in ordered],
        "subject": _json(subject),
    }
    raw = json.dumps(manifest, separators=(",", ":")).encode("ascii")
    return EvidenceFile(raw, tuple(item.untrusted_der for item in ordered))


def untrusted_items(file: EvidenceFile, obtained: datetime) -> tuple[Item, ...]:
    """Return the pieces of an artifact, each in the place it claims; MalformedError."""
    manifest = parse_evidence_manifest(file.manifest)
    listed = manifest.pieces if manifest else ()
    if len(listed) != len(file.pieces) or any(
        Descriptor.of(descriptor.media_type, raw) != descriptor
        for (descriptor, _, _), raw in zip(listed, file.pieces, strict=False)
    ):
        raise MalformedError(
            f"{_WHAT} does not name its pieces by size and sha256",
            remedy="Export it again.",
        )
    return tuple(
        Item(slot, url, obtained, raw)
        for (_, slot, url), raw in zip(listed, file.pieces, strict=True)
    )


def _piece(value: Json) -> tuple[Descriptor, Slot, str]:
    what = f"a piece of {_WHAT}"
    descriptor = parse_descriptor(value, what=what)
    members = value if isinstance(value, dict) else {}
    said: dict[str, Json] = dict(
        parse_annotations(members.get("annotations", {}), what=what)
    )
    kind = _KINDS.get(descriptor.media_type)
    issuer, about, url = (
        require_text(said, name, what=what) for name in (_ISSUER, _ABOUT, _URL)
    )
    if kind is None or descriptor.size > _MOST[kind] or len(about + url) > _MAX_TEXT:
        raise MalformedError(
            f"{what} is neither a list nor an answer, or too large",
            remedy="Export it again.",
        )
    return descriptor, Slot(kind, Digest.parse(issuer), about), url


def _layer(item: Item) -> dict[str, Json]:
    described = Descriptor.of(_MEDIA_TYPES[item.slot.kind], item.untrusted_der)
    said: dict[str, Json] = {
        _ISSUER: str(item.slot.issuer),
        _ABOUT: item.slot.about,
        _URL: item.url,
    }
    return {**_json(described), "annotations": said}


def _json(descriptor: Descriptor) -> dict[str, Json]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
