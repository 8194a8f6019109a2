"""One registry: manifests, blobs and referrers (OCI distribution-spec v1.1).

What comes is hashed before anybody sees it as what was asked for. URLs inside
descriptors are never followed: content is asked for by its digest, from this registry.
"""

import hashlib
import hmac
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import quote

from enforcer import net
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    media_type_of,
)
from enforcer.core.reference import parse_tag_or_digest
from enforcer.core.registry_access import Access
from enforcer.core.subject import Content
from enforcer.sources.registry.errors import wrong
from enforcer.sources.registry.referrers import Referrers, ReferrersReader
from enforcer.sources.registry.session import (
    REQUEST_SECONDS,
    Asked,
    Session,
    scope_of,
)
from enforcer.sources.registry.transport import Answer, Connect

ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))


class Registry:
    """A registry for one run, which ends at a deadline."""

    def __init__(
        self,
        access: Access,
        until: float,
        *,
        connect: Connect = net.connect,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        """Ask until then, a time.monotonic(); what is small in `request_seconds`."""
        self.session = Session(
            access, until, connect=connect, request_seconds=request_seconds
        )
        self._referrers = ReferrersReader(self.session)

    @property
    def host(self) -> str:
        """HOST[:PORT] of the registry, for people."""
        return self.session.host

    def manifest(self, repository: str, reference: str | Digest) -> Content:
        """Return the manifest or index with this tag or digest.

        Raises:
            RegistryError: It is not to be had, or is not what it should be.
            MalformedError: `reference` is neither a tag nor a digest.
        """
        if isinstance(reference, str):
            reference = parse_tag_or_digest(reference)
        shown, named = self._shown(repository, reference), str(reference)
        asked = Asked(
            shown,
            f"/v2/{quote(repository)}/manifests/{quote(named, safe=':')}",
            scope_of(repository),
            headers={"Accept": ACCEPT},
        )
        with self.session.open(asked) as answer:
            stated = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            raw = answer.read(MAX_MANIFEST_BYTES)
            told = answer.headers.get("Docker-Content-Digest", "")
        _require_digest(raw, told if isinstance(reference, str) else named, shown)
        try:
            content = Content(media_type_of(raw), raw)
        except EnforcerError as error:
            raise wrong(shown, f"is no manifest: {error.what}") from error
        if content.media_type != stated or stated not in MANIFEST_TYPES | INDEX_TYPES:
            was = f"{clip(stated)}, and says itself that it is {content.media_type}"
            raise wrong(shown, f"is sent as {clip(was)}")
        return content

    def described(self, repository: str, descriptor: Descriptor) -> Content:
        """Return the manifest or index that a descriptor names.

        Raises:
            RegistryError: As `manifest`, or its size or media type are others.
        """
        content = self.manifest(repository, descriptor.digest)
        size = len(content.raw)
        if (content.media_type, size) != (descriptor.media_type, descriptor.size):
            raise wrong(
                self._shown(repository, descriptor.digest),
                f"is listed as {clip(descriptor.media_type)} of {descriptor.size} "
                f"bytes, and is {content.media_type} of {size}",
            )
        return content

    def blob(self, repository: str, descriptor: Descriptor, *, max_bytes: int) -> bytes:
        """Return a blob, whole and checked.

        Raises:
            RegistryError: It is not to be had, is other content, or too large.
        """
        if descriptor.size > max_bytes:
            shown = self._shown(repository, descriptor.digest)
            raise wrong(shown, f"is listed with more than {max_bytes} bytes")
        return b"".join(self._blob(repository, descriptor, None))

    def stream(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield a blob piece by piece; it counts only once this ends without error.

        Raises:
            RegistryError: At any point, also after the last byte: it is other content.
        """
        return self._blob(repository, descriptor, 0)

    def referrers(self, repository: str, digest: Digest) -> Referrers:
        """Return what the registry lists as about `digest`, from API and tag; bounded.

        Raises:
            RegistryError: Asking on is of no use now (`is_final`).
        """
        return self._referrers.read(repository, digest)

    def open(self, asked: Asked) -> Answer:
        """Ask for anything else; see `Session.open`."""
        return self.session.open(asked)

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _blob(
        self, repository: str, descriptor: Descriptor, seconds: float | None
    ) -> Iterator[bytes]:
        digest, shown = descriptor.digest, self._shown(repository, descriptor.digest)
        url = f"/v2/{quote(repository)}/blobs/{digest}"
        asked = Asked(shown, url, scope_of(repository), seconds=seconds)
        hashed, count = hashlib.new(digest.algorithm), 0
        with self.session.open(asked) as answer:
            for chunk in answer.chunks(descriptor.size):
                hashed.update(chunk)
                count += len(chunk)
                yield chunk
        if count != descriptor.size:
            raise wrong(shown, f"has {count} bytes, not {descriptor.size}")
        if not hmac.compare_digest(hashed.hexdigest(), digest.hex):
            raise wrong(shown, "holds other content than its digest says")

    def _shown(self, repository: str, reference: str | Digest) -> str:
        if isinstance(reference, Digest):
            return f"{self.host}/{repository}@{reference.short}"
        return f"{self.host}/{repository}:{reference}"


def _require_digest(raw: bytes, named: str, shown: str) -> None:
    """Return if the bytes have the digest that was asked for, or told with a tag."""
    if not named:  # spec.md, "Pulling manifests": the header is a SHOULD
        return
    try:
        digest = Digest.parse(named)
    except EnforcerError as error:
        raise wrong(shown, "comes with a digest that is none") from error
    if not digest.matches(raw):
        raise wrong(shown, f"holds other content than its digest says ({digest.short})")
