"""What a Notary signature signs: the descriptor of one artifact, and annotations."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.strictjson import Json, parse_json, require_object, require_text

PAYLOAD_MEDIA_TYPE = "application/vnd.cncf.notary.payload.v1+json"
RESERVED_PREFIX = "io.cncf.notary"  # SS45: no user metadata begins with it
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024  # a manifest's limit; real payloads have 250 bytes

_DESCRIPTOR = (
    "mediaType",
    "digest",
    "size",
    "annotations",
    "artifactType",
    "urls",
    "data",
    "platform",
)


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
            members.get("targetArtifact"), what=what, known=_DESCRIPTOR
        )
        _require_readable(target, what)
        return SignedPayload(
            Descriptor(
                require_text(target, "mediaType", what=what),
                Digest.parse(require_text(target, "digest", what=what)),
                _size(target.get("size"), what),
            ),
            MappingProxyType(_texts(target.get("annotations", {}), what)),
        )
    except MalformedError as error:
        raise MalformedError(
            error.what, remedy=error.remedy, code=Code.SIGNATURE_INVALID
        ) from error


def _size(value: Json, what: str) -> int:
    # bool is an int in Python, and 259.0 is none in Go
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError(
            f'{what} has no whole number "size"', remedy="It is required."
        )
    return value


def _texts(value: Json, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise MalformedError(
            f"{what} has annotations that are no object", remedy="Expected { … }."
        )
    texts = {name: text for name, text in value.items() if isinstance(text, str)}
    if len(texts) != len(value):
        raise MalformedError(
            f"{what} has an annotation that is not text", remedy="Expected text."
        )
    return texts


def _require_readable(target: dict[str, Json], what: str) -> None:
    """Refuse optional members of a type that notation fails to read."""
    types = {"artifactType": str, "data": str, "urls": list, "platform": dict}
    for name, type_ in types.items():
        if name in target and not isinstance(target[name], type_):
            raise MalformedError(
                f"{what} has a malformed {name}", remedy="Leave it out."
            )
