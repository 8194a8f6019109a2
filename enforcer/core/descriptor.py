"""OCI descriptors: what some bytes are, how many, and their digest."""

from dataclasses import dataclass

from enforcer.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content without holding it. `size` is in bytes.

    Two descriptors are equal when media type, digest and size are: that is what
    a Notary signature signs (signature-specification.md, "Payload").
    """

    media_type: str
    digest: Digest
    size: int

    @classmethod
    def of(cls, media_type: str, content: bytes) -> "Descriptor":
        """Describe bytes at hand."""
        return cls(media_type, Digest.of(content), len(content))
