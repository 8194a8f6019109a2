"""What a Notary signature signs: the descriptor of one artifact, and annotations."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from enforcer.core.codes import Code
from enforcer.core.descriptor import (
    DESCRIPTOR_MEMBERS,
    Descriptor,
    parse_annotations,
    parse_size,
    require_readable,
)
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.strictjson import parse_json, require_object, require_text

PAYLOAD_MEDIA_TYPE = "application/vnd.cncf.notary.payload.v1+json"
RESERVED_PREFIX = "io.cncf.notary"  # SS45: no user metadata begins with it
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024  # a manifest's limit; real payloads have 250 bytes


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """What was signed. `annotations` are the signer's user metadata."""

    target: Descriptor
    annotations: Mapping[str, str]


def parse_payload(raw: bytes) -> SignedPayload:
    """Read a payload (signature-specification.md, "Payload").

    Members nobody specified are passed over, as SS32-38 allows.

    Raises:
        MalformedError: No `targetArtifact` with media type, digest and size.
        TooLargeError: More than MAX_PAYLOAD_BYTES.
    """
    what = "the signature's payload"
    try:
        value = parse_json(raw, what=what, max_bytes=MAX_PAYLOAD_BYTES)
        members = require_object(value, what=what, known=("targetArtifact",))
        what = "the payload's targetArtifact"
        target = require_object(
            members.get("targetArtifact"), what=what, known=DESCRIPTOR_MEMBERS
        )
        require_readable(target, what=what)
        return SignedPayload(
            Descriptor(
                require_text(target, "mediaType", what=what),
                Digest.parse(require_text(target, "digest", what=what)),
                parse_size(target.get("size"), what=what),
            ),
            MappingProxyType(
                parse_annotations(target.get("annotations", {}), what=what)
            ),
        )
    except MalformedError as error:
        raise MalformedError(
            error.what, remedy=error.remedy, code=Code.SIGNATURE_INVALID
        ) from error
