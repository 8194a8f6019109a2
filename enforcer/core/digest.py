"""Content digests, as the OCI image spec writes them: `sha256:<64 hex>`."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from enforcer.core.errors import MalformedError, clip

_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A checked digest. If you hold one, its text is safe to put in a path."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `<algorithm>:<lower-case hex>` (OCI image-spec, descriptor.md).

        Raises:
            MalformedError: Unknown algorithm, wrong length, or not lower-case hex.
        """
        algorithm, _, hex_ = text.partition(":")
        if _HEX_LENGTH.get(algorithm) != len(hex_) or not _HEX.fullmatch(hex_):
            raise MalformedError(
                f'"{clip(text)}" is not a digest',
                remedy="Expected sha256, sha384 or sha512, a colon, and "
                "lower-case hex of full length.",
            )
        return cls(algorithm, hex_)

    @classmethod
    def of(cls, content: bytes) -> "Digest":
        """Compute the sha256 digest of these bytes."""
        return cls("sha256", hashlib.sha256(content).hexdigest())

    def matches(self, content: bytes) -> bool:
        """Say whether these bytes hash to this digest."""
        actual = hashlib.new(self.algorithm, content).hexdigest()
        return hmac.compare_digest(actual, self.hex)

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
