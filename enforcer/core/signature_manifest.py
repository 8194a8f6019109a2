"""OCI manifests that carry a Notary signature: both forms read, the older one written.

Follows signature-specification.md, "OCI Signatures". notation 1.3 finds only the form
with `config.mediaType` in a layout, so that is the one we write.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.descriptor import (
    DESCRIPTOR_MEMBERS,
    Descriptor,
    parse_annotations,
    parse_size,
    require_readable,
)
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, TooLargeError, clip
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339
from enforcer.core.strictjson import Json, parse_json, require_object, require_text

MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # notation's limits
MAX_ENVELOPE_BYTES = 32 * 1024 * 1024

SIGNATURE_ARTIFACT_TYPE = "application/vnd.cncf.notary.signature"
MANIFEST_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
EMPTY_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"
JWS_MEDIA_TYPE = "application/jose+json"
COSE_MEDIA_TYPE = "application/cose"

THUMBPRINTS = "io.cncf.notary.x509chain.thumbprint#S256"
CREATED = "org.opencontainers.image.created"

EMPTY_CONFIG = b"{}"  # D7: its content is never looked at

_MANIFEST = (
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "subject",
    "annotations",
)
_WHAT = "the signature manifest"


@dataclass(frozen=True, slots=True)
class SignatureManifest:
    """Where an envelope is, and what it claims to be about.

    `thumbprints` and `created` are annotations anybody may have written: a hint for
    order and display, never for a decision (facts 2.4).
    """

    subject: Descriptor
    envelope: Descriptor
    thumbprints: tuple[str, ...]
    created: datetime | None


def parse_signature_manifest(raw: bytes) -> SignatureManifest | None:
    """Read a manifest; None if it is one, but does not claim to be a signature.

    Raises:
        MalformedError: No manifest, or it claims to be a signature and breaks a rule.
        TooLargeError: More than MAX_MANIFEST_BYTES, or an envelope over its limit.
    """
    value = parse_json(raw, what="the manifest", max_bytes=MAX_MANIFEST_BYTES)
    members = require_object(value, what="the manifest", known=_MANIFEST)
    if not _claims_signature(members):
        return None
    # D5; one without a media type is taken for the right one, as notation does.
    if members.get("mediaType", MANIFEST_MEDIA_TYPE) != MANIFEST_MEDIA_TYPE:
        raise _malformed(f"has another mediaType than {MANIFEST_MEDIA_TYPE}")
    version = members.get("schemaVersion", 2)  # SS227; absent is taken for right, too
    if version != 2 or isinstance(version, float):  # 2.0 is no number to Go
        raise _malformed("is not of schemaVersion 2")
    annotations = parse_annotations(members.get("annotations", {}), what=_WHAT)
    _descriptor(members.get("config"), "config")
    return SignatureManifest(
        subject=_descriptor(members.get("subject"), "subject"),
        envelope=_envelope(members.get("layers")),
        thumbprints=_thumbprints(annotations.get(THUMBPRINTS, "")),
        created=_created(annotations.get(CREATED, "")),
    )


def build_signature_manifest(
    envelope: Descriptor,
    subject: Descriptor,
    thumbprints: Sequence[str],
    created: datetime,
) -> bytes:
    """Write the manifest for an envelope, byte for byte as notation 1.3 lays it out."""
    config = Descriptor.of(SIGNATURE_ARTIFACT_TYPE, EMPTY_CONFIG)
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "config": _json(config),
        "layers": [_json(envelope)],
        "subject": _json(subject),
        "annotations": {
            THUMBPRINTS: _compact(list(thumbprints)).decode("ascii"),
            CREATED: format_rfc3339(created),
        },
    }
    return _compact(manifest)


def _claims_signature(members: dict[str, Json]) -> bool:
    """Say whether a manifest claims to be a signature, and in one of two ways only.

    SS247-251: artifactType with an empty config, or the config's media type alone.
    """
    type_, config_type = members.get("artifactType", ""), _config_type(members)
    if SIGNATURE_ARTIFACT_TYPE not in (type_, config_type):
        return False
    forms = ((SIGNATURE_ARTIFACT_TYPE, EMPTY_MEDIA_TYPE), ("", SIGNATURE_ARTIFACT_TYPE))
    if (type_, config_type) not in forms:
        raise _malformed("mixes two forms: its artifactType and config do not agree")
    return True


def _config_type(members: dict[str, Json]) -> Json:
    config = members.get("config")
    if not isinstance(config, dict):
        return ""
    return require_object(config, what="config", known=DESCRIPTOR_MEMBERS).get(
        "mediaType"
    )


def _envelope(layers: Json) -> Descriptor:
    # D8: exactly one layer; the media type is an exact string, without parameters
    if not isinstance(layers, list) or len(layers) != 1:
        raise _malformed("does not have exactly one layer")
    envelope = _descriptor(layers[0], "layer")
    if envelope.media_type not in (JWS_MEDIA_TYPE, COSE_MEDIA_TYPE):
        shown = clip(envelope.media_type, limit=80)
        raise _malformed(
            f'has a layer of media type "{shown}", expected {JWS_MEDIA_TYPE} '
            f"or {COSE_MEDIA_TYPE}"
        )
    if envelope.size > MAX_ENVELOPE_BYTES:
        raise TooLargeError(
            f"the envelope has {envelope.size} bytes, more than {MAX_ENVELOPE_BYTES}",
            remedy="Nothing that large is read.",
        )
    return envelope


def _descriptor(value: Json, name: str) -> Descriptor:
    what = f"{_WHAT}'s {name}"
    members = require_object(value, what=what, known=DESCRIPTOR_MEMBERS)
    require_readable(members, what=what)
    parse_annotations(members.get("annotations", {}), what=what)
    return Descriptor(
        require_text(members, "mediaType", what=what),
        Digest.parse(require_text(members, "digest", what=what)),
        parse_size(members.get("size"), what=what),
    )


def _thumbprints(text: str) -> tuple[str, ...]:
    try:
        value = parse_json(text.encode(), what="it", max_bytes=MAX_MANIFEST_BYTES)
    except MalformedError:
        return ()
    listed = value if isinstance(value, list) else []
    return tuple(item.lower() for item in listed if isinstance(item, str))


def _created(text: str) -> datetime | None:
    try:
        return parse_rfc3339(text)
    except MalformedError:
        return None


def _json(descriptor: Descriptor) -> Json:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _malformed(what: str) -> MalformedError:
    return MalformedError(f"{_WHAT} {what}", remedy="Sign the image again.")
