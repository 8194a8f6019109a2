"""A layout as the origin of a copy: it lists everything and says nothing of subjects.

So every manifest it names is read once, to find out what is about what.
"""

from collections.abc import Iterator

from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Index,
    media_type_of,
    parse_manifest_or_index,
)
from enforcer.core.referring import parse_referring
from enforcer.core.subject import Content
from enforcer.files import FileMissingError
from enforcer.sources.layout.index import MAX_ENTRIES
from enforcer.sources.layout.reader import Layout


class LayoutOrigin:
    """A layout or archive that an artifact is copied from."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._about: dict[Digest, list[Content]] | None = None
        self.name = layout.name

    def manifest(self, named: Descriptor) -> Content:
        """Return the manifest or index of just this descriptor; see `copying`."""
        raw = self._layout.blob(named.digest, max_bytes=MAX_MANIFEST_BYTES)
        content = Content(media_type_of(raw), raw)
        if content.descriptor != named:
            raise MalformedError(
                f"{named.digest.short} in {self.name} is another kind of manifest than "
                "it is listed as",
                remedy="Make the layout again.",
            )
        return content

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        """Yield a blob a part at a time; see `copying`."""
        return self._layout.stream(named)

    def referrers(self, subject: Digest) -> Iterator[Content | Refused]:
        """Yield every manifest whose `subject` this is; see `copying`.

        The first time also what cannot be read, for it may be about anything.
        """
        if self._about is None:
            self._about = {}
            yield from self._read_all(self._about)
        yield from self._about.get(subject, ())

    def _read_all(self, found: dict[Digest, list[Content]]) -> Iterator[Refused]:
        direct = {entry.descriptor for entry in self._layout.entries}
        for named in self._named():
            try:
                content = self.manifest(named)
                referring = parse_referring(content.raw)
            except EnforcerError as error:
                # what an index lists and is not here is no loss (image-layout.md)
                if named in direct or not isinstance(error, FileMissingError):
                    yield Refused(str(named.digest), f"{error.what} [{error.code}]")
                continue
            if referring is not None:
                found.setdefault(referring.subject.digest, []).append(content)

    def _named(self) -> list[Descriptor]:
        """What index.json lists, and what indexes among that list; each once."""
        named = {entry.descriptor: None for entry in self._layout.entries}
        for descriptor in list(named):
            if descriptor.media_type in INDEX_TYPES and len(named) < MAX_ENTRIES:
                named |= dict.fromkeys(self._listed(descriptor))
        kinds = MANIFEST_TYPES | INDEX_TYPES
        return [one for one in named if one.media_type in kinds][:MAX_ENTRIES]

    def _listed(self, index: Descriptor) -> tuple[Descriptor, ...]:
        try:
            parsed = parse_manifest_or_index(self.manifest(index).raw)
        except EnforcerError:
            return ()
        entries = parsed.entries if isinstance(parsed, Index) else ()
        return tuple(entry.manifest for entry in entries)
