"""A repository as the origin of a copy: what it lists as about a manifest, read."""

from collections.abc import Iterator

from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.referrers import refusal


class Repository:
    """One repository of a registry."""

    def __init__(self, registry: Registry, path: str) -> None:
        self._registry = registry
        self._path = path
        self.name = f"{registry.host}/{path}"

    def find(self, reference: str) -> Content:
        """Return what a tag or digest names, or raise RegistryError."""
        return self._registry.manifest(self._path, reference)

    def manifest(self, named: Descriptor) -> Content:
        """Return the manifest or index of just this descriptor; see `copying`."""
        return self._registry.described(self._path, named)

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        """Yield a blob a part at a time; see `copying`."""
        return self._registry.stream(self._path, named)

    def referrers(self, subject: Digest) -> Iterator[Content | Refused]:
        """Yield everything listed as about a manifest; see `copying`."""
        listed = self._registry.referrers(self._path, subject)
        yield from listed.refused
        for entry in listed.entries:
            try:
                yield self._registry.described(self._path, entry.descriptor)
            except RegistryError as error:
                if error.is_final:
                    raise
                yield refusal(str(entry.descriptor.digest), error)
