"""OCI descriptors: what some bytes are, how many, and their digest."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.strictjson import Json

# image-spec descriptor.md. Others are passed over.
DESCRIPTOR_MEMBERS = (
    "mediaType",
    "digest",
    "size",
    "annotations",
    "artifactType",
    "urls",
    "data",
    "platform",
)
MAX_SIZE = 2**63 - 1  # descriptor.md: "size: int64"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content without holding it. `size` is in bytes.

    Two descriptors are equal when media type, digest and size are: that is what
    a Notary signature signs (signature-specification.md, "Payload").
    """

    media_type: str
    digest: Digest
    size: int

    def __str__(self) -> str:
        return f"{self.digest} {self.size} {self.media_type}"

    @classmethod
    def of(cls, media_type: str, content: bytes) -> "Descriptor":
        """Describe bytes at hand."""
        return cls(media_type, Digest.of(content), len(content))


def parse_size(value: Json, *, what: str) -> int:
    """Read a descriptor's size, or raise MalformedError."""
    # bool is an int in Python, and 259.0 is none in Go
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise MalformedError(
            f'{what} has no whole number "size"', remedy="It is required."
        )
    return value


def parse_annotations(value: Json, *, what: str) -> dict[str, str]:
    """Read annotations: text by name, or raise MalformedError."""
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


def require_readable(members: dict[str, Json], *, what: str) -> None:
    """Return if the optional members of a descriptor are of their types.

    Nothing here looks at them, but Go, under notation, fails to read the document
    they are in.

    Raises:
        MalformedError: One is not.
    """
    for name, is_right in _OPTIONAL.items():
        if name in members and not is_right(members[name]):
            raise MalformedError(
                f"{what} has a malformed {name}", remedy="Leave it out."
            )


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_base64(value: Json) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return False


def _is_platform(value: Json) -> bool:
    return isinstance(value, dict) and all(
        _is_texts(item) if name == "os.features" else isinstance(item, str)
        for name, item in value.items()
    )


_OPTIONAL: dict[str, Callable[[Json], bool]] = {
    "artifactType": _is_text,
    "data": _is_base64,
    "urls": _is_texts,
    "platform": _is_platform,
}
