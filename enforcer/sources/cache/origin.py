"""Where cached things came from: a small blob an import, so that a rebuild knows, too.

For people alone. It is not signed, and nothing is decided by it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.collected import Origin
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, clip
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339
from enforcer.core.strictjson import parse_json, require_object, require_text

MEDIA_TYPE = "application/vnd.enforcer.origin.v1+json"
MAX_BROUGHT = 2_000  # digests in one record: a batch of an import has no more
MAX_RECORD_BYTES = 1024 * 1024  # of that many
MAX_PLACE = 500  # characters of a place; a reference has at most 255 and a tag

_MEMBERS = ("mediaType", "place", "at", "brought")
_START = f'{{"mediaType":"{MEDIA_TYPE}"'.encode()


@dataclass(frozen=True, slots=True)
class OriginRecord:
    """What one import, or a part of it, brought: manifests, by digest."""

    raw: bytes
    place: str
    at: datetime
    brought: tuple[Digest, ...]

    @property
    def at_text(self) -> str:
        """The time as the index has it, which sorts."""
        return format_rfc3339(self.at)


def is_record(blob: bytes) -> bool:
    """Say whether a blob claims to be such a record; no other kind begins like that."""
    return blob.startswith(_START)


def build_record(origin: Origin, brought: Sequence[Digest]) -> OriginRecord:
    """Write down where manifests came from; at most MAX_BROUGHT."""
    members = {
        "mediaType": MEDIA_TYPE,
        "place": clip(origin.place, limit=MAX_PLACE),
        "at": format_rfc3339(origin.at),
        "brought": [str(digest) for digest in sorted(brought)],
    }
    return parse_record(json.dumps(members, separators=(",", ":")).encode("ascii"))


def parse_record(blob: bytes) -> OriginRecord:
    """Read a record, or raise MalformedError or TooLargeError."""
    what = "the record of an origin"
    value = parse_json(blob, what=what, max_bytes=MAX_RECORD_BYTES)
    members = require_object(value, what=what, known=_MEMBERS)
    brought = members.get("brought")
    if not isinstance(brought, list) or len(brought) > MAX_BROUGHT:
        raise MalformedError(
            f"{what} lists no digests, or more than {MAX_BROUGHT}",
            remedy="It says nothing; import again.",
        )
    return OriginRecord(
        blob,
        clip(require_text(members, "place", what=what), limit=MAX_PLACE + 3),
        parse_rfc3339(require_text(members, "at", what=what)),
        tuple(Digest.parse(str(item)) for item in brought),
    )
