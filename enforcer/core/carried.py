"""The index that a layout keeps its signatures in, beside the images.

Docker and containerd make an image of every line of index.json. So what is about an
image, or known of it without being here, is listed one level down, in one index that
says what it is: engines see one thing they cannot run and no tool shows, while
notation, oras and enforcer look into indexes anyway.
"""

import json
from collections.abc import Iterable, Iterator

from enforcer.core.descriptor import Descriptor
from enforcer.core.image import MAX_INDEX_ENTRIES, MAX_MANIFEST_BYTES, OCI_INDEX
from enforcer.core.strictjson import parse_json, require_object

CARRIED_INDEX = "application/vnd.enforcer.carried.v1"


def build_carried(manifests: Iterable[Descriptor]) -> Iterator[bytes]:
    """Write as many indexes as it takes, the same bytes for the same manifests."""
    listed = sorted(set(manifests), key=lambda one: one.digest)
    for start in range(0, len(listed), MAX_INDEX_ENTRIES):
        some = listed[start : start + MAX_INDEX_ENTRIES]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": CARRIED_INDEX,
            "manifests": [
                {"mediaType": d.media_type, "digest": str(d.digest), "size": d.size}
                for d in some
            ],
        }
        yield json.dumps(document, separators=(",", ":")).encode("ascii")


def is_carried(raw: bytes) -> bool:
    """Whether these are the bytes of such an index, or raise MalformedError."""
    value = parse_json(raw, what="the index", max_bytes=MAX_MANIFEST_BYTES)
    members = require_object(value, what="the index", known=("artifactType",))
    return members.get("artifactType") == CARRIED_INDEX
