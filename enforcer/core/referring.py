"""Manifests that are about another one: signatures, evidence, SBOMs, anything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enforcer.core.descriptor import Descriptor, parse_annotations
from enforcer.core.errors import MalformedError, TooLargeError
from enforcer.core.image import (
    MAX_INDEX_ENTRIES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    Index,
    parse_descriptor,
    parse_manifest_or_index,
)
from enforcer.core.strictjson import Json, parse_json, require_object

MAX_LISTED = MAX_INDEX_ENTRIES  # more nobody would read

_MEMBERS = ("subject", "artifactType", "annotations")


@dataclass(frozen=True, slots=True)
class Referring:
    """What a manifest says it is about, and what it is.

    The last two are what a list of referrers repeats of it (distribution-spec v1.1,
    "Listing Referrers"); anybody may have written them.
    """

    subject: Descriptor
    artifact_type: str
    annotations: Mapping[str, str]


def parse_referring(raw: bytes) -> Referring | None:
    """Read a manifest or index; None if it has no `subject`.

    Raises:
        MalformedError: It is neither, or its subject is none.
    """
    parsed = parse_manifest_or_index(raw)
    value = parse_json(raw, what="manifest", max_bytes=MAX_MANIFEST_BYTES)
    members = require_object(value, what="manifest", known=_MEMBERS)
    if members.get("subject") is None:  # Go writes null for nothing
        return None
    default = "" if isinstance(parsed, Index) else parsed.config.media_type
    declared = members.get("artifactType") or default
    if not isinstance(declared, str):
        raise MalformedError(
            "manifest has an artifactType that is no text", remedy="Expected text."
        )
    annotations = members.get("annotations") or {}
    return Referring(
        parse_descriptor(members["subject"], what="subject of the manifest"),
        declared,
        parse_annotations(annotations, what="manifest"),
    )


def referrer_entry(content: Descriptor, referring: Referring) -> dict[str, Json]:
    """Return the line that lists a referrer, as registries write it."""
    entry: dict[str, Json] = {
        "mediaType": content.media_type,
        "digest": str(content.digest),
        "size": content.size,
    }
    if referring.annotations:
        entry["annotations"] = dict(referring.annotations)
    if referring.artifact_type:
        entry["artifactType"] = referring.artifact_type
    return entry


def listed_with(raw: bytes | None, entries: Sequence[dict[str, Json]]) -> bytes | None:
    """Return a referrers list with these lines as well; None if it has them all.

    `raw` is the list as it is, an image index; None where there is none yet. What it
    has is kept as it is (distribution-spec v1.1, "Referrers Tag Schema").

    Raises:
        MalformedError: It is no image index, so it is somebody else's.
        TooLargeError: It would list more than MAX_LISTED.
    """
    what = "the list of referrers"
    document: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
    }
    if raw is not None:
        if not isinstance(parse_manifest_or_index(raw), Index):
            raise MalformedError(
                f"{what} is an image manifest", remedy="Something else has its tag."
            )
        value = parse_json(raw, what=what, max_bytes=MAX_MANIFEST_BYTES)
        document = require_object(value, what=what, known=("manifests",))
    lines = document["manifests"]
    listed = list(lines) if isinstance(lines, list) else []
    known = {line.get("digest") for line in listed if isinstance(line, dict)}
    missing = [entry for entry in entries if entry["digest"] not in known]
    if not missing:
        return None
    if len(listed) + len(missing) > MAX_LISTED:
        raise TooLargeError(
            f"{what} would have more than {MAX_LISTED} lines",
            remedy="Remove from the registry what is not needed any more.",
        )
    document["manifests"] = [*listed, *missing]
    return json.dumps(document, separators=(",", ":")).encode("ascii")
