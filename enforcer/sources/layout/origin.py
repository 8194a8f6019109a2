"""A layout as the origin of a copy: it lists everything and says nothing of subjects.

So every manifest it names is read once, to find out what is about what. None is held:
what is about a subject is read again when that is asked for.
"""

from collections.abc import Iterator

from enforcer.core.codes import Code
from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    media_type_of,
)
from enforcer.core.referring import parse_referring
from enforcer.core.subject import Content
from enforcer.files import FileMissingError
from enforcer.sources.layout.index import LayoutError
from enforcer.sources.layout.reader import Layout

# Of all manifests that are read to find subjects; as much as an archive may hold of
# them, and two hundred times what the most signatures take.
MAX_READ_BYTES = 1024 * 1024 * 1024


class LayoutOrigin:
    """A layout or archive that an artifact is copied from."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._about: dict[Digest, list[Descriptor]] | None = None
        self.name = layout.name

    def manifest(self, named: Descriptor) -> Content:
        """Return the manifest or index of just this descriptor; see `copying`."""
        most = min(named.size, MAX_MANIFEST_BYTES)
        raw = self._layout.blob(named.digest, max_bytes=most)
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

        Raises:
            LayoutError: It lists more, or more bytes, than anybody reads.
        """
        if self._about is None:
            self._about = {}
            yield from self._read_all(self._about)
        for named in self._about.get(subject, ()):
            yield self.manifest(named)

    def _read_all(self, found: dict[Digest, list[Descriptor]]) -> Iterator[Refused]:
        for named, is_due in self._named().items():
            try:
                referring = parse_referring(self.manifest(named).raw)
            except EnforcerError as error:
                # what an index lists and is not here is no loss (image-layout.md)
                if is_due or not isinstance(error, FileMissingError):
                    yield Refused(str(named.digest), f"{error.what} [{error.code}]")
                continue
            if referring is not None:
                found.setdefault(referring.subject.digest, []).append(named)

    def _named(self) -> dict[Descriptor, bool]:
        """All manifests there should be; whether each has to be here."""
        kinds = MANIFEST_TYPES | INDEX_TYPES
        listed = self._layout.descriptors().items()
        named = {one: is_due for one, is_due in listed if one.media_type in kinds}
        if sum(min(one.size, MAX_MANIFEST_BYTES) for one in named) > MAX_READ_BYTES:
            raise LayoutError(
                f"{self.name} lists more than {MAX_READ_BYTES} bytes of manifests",
                remedy="Copy from a layout of fewer images.",
                code=Code.ARCHIVE_TOO_LARGE,
            )
        return named
