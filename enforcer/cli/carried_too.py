"""What this host's cache knows about a copy, carried with it."""

from collections.abc import Iterator

from enforcer.copying import Origin
from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.image import OCI_MANIFEST
from enforcer.core.signature_manifest import EMPTY_CONFIG
from enforcer.core.subject import Content
from enforcer.sources.cache import DiskCache


class WithCache:
    """An origin, and the signatures in this host's cache about what it holds."""

    def __init__(self, origin: Origin, cache: DiskCache) -> None:
        self._origin = origin
        self._cache = cache
        self._blobs = {Digest.of(EMPTY_CONFIG): EMPTY_CONFIG}
        self.name = origin.name

    def manifest(self, named: Descriptor) -> Content:
        """Return the manifest or index of just this descriptor; see `copying`."""
        return self._origin.manifest(named)

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        """Yield a blob a part at a time; see `copying`."""
        raw = self._blobs.get(named.digest)
        return self._origin.stream(named) if raw is None else iter((raw,))

    def referrers(self, subject: Digest) -> Iterator[Content | Refused]:
        """Yield what the origin lists, and then what is cached; see `copying`."""
        yield from self._origin.referrers(subject)
        for one in self._cache.signature_files([subject]):
            self._blobs[Digest.of(one.envelope)] = one.envelope
            yield Content(OCI_MANIFEST, one.manifest)
