"""OCI image layouts: what a signature cache needs of them (image-spec image-layout.md).

Reads manifests, indexes and signatures. What a descriptor says about a manifest is
not believed; the manifest's own bytes are read.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from enforcer.core.carried import is_carried
from enforcer.core.codes import Code
from enforcer.core.collected import Collected, EvidenceFile, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Index,
    Manifest,
    media_type_of,
    parse_manifest_or_index,
)
from enforcer.core.revocation_artifact import (
    EvidenceManifest,
    parse_evidence_manifest,
)
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.core.subject import Content
from enforcer.files import FileMissingError
from enforcer.sources.layout.archive import ArchiveFiles, open_archive
from enforcer.sources.layout.files import FolderFiles, LayoutFiles
from enforcer.sources.layout.index import MAX_ENTRIES, LayoutError, load_entries
from enforcer.sources.layout.saved import require_same_images
from enforcer.sources.layout.tar import Tell


class Layout:
    """An OCI layout, read on demand. Every blob is hashed as it is read."""

    def __init__(self, files: LayoutFiles) -> None:
        self._files = files
        self.name = files.name
        self.entries = load_entries(files)

    def blob(self, digest: Digest, *, max_bytes: int) -> bytes:
        """Return a blob whose bytes hash to `digest`, or raise an EnforcerError."""
        name = f"blobs/{digest.algorithm}/{digest.hex}"
        raw = self._files.read(name, max_bytes=max_bytes)
        if not digest.matches(raw):
            raise _other_content(name, self.name)
        return raw

    def stream(self, content: Descriptor) -> Iterator[bytes]:
        """Yield a blob a part at a time; count on it only once it has ended.

        Raises:
            FileMissingError: The layout does not hold it.
            MalformedError: It has another size or digest; some of it was yielded.
        """
        digest = content.digest
        name = f"blobs/{digest.algorithm}/{digest.hex}"
        hashed = hashlib.new(digest.algorithm)
        for part in self._files.chunks(name, size=content.size):
            hashed.update(part)
            yield part
        if hashed.hexdigest() != digest.hex:
            raise _other_content(name, self.name)

    def find(self, *, tag: str = "", digest: Digest | None = None) -> Content:
        """Return the manifest or index with this tag, full name or digest.

        Without either: the only tagged one, or the only one at all.

        Raises:
            LayoutError: None, or several.
        """
        found = {
            e.descriptor.digest: e.descriptor
            for e in self.entries
            if (not tag or tag in (e.tag, e.name))
            and digest in (None, e.descriptor.digest)
        }
        if not tag and digest is None:
            tagged = {e.descriptor.digest: e.descriptor for e in self.entries if e.tag}
            found = tagged or found
        if len(found) != 1:
            wanted = tag or (str(digest) if digest else "one manifest")
            have = ", ".join(sorted(clip(e.tag) for e in self.entries if e.tag)[:10])
            raise LayoutError(
                f"{self.name} has {len(found)} entries for {clip(wanted)}",
                remedy=f"Name one by :TAG or @DIGEST; tags there: {have or 'none'}.",
            )
        return self._content(next(iter(found.values())))

    def name_of(self, digest: Digest) -> str:
        """Return the full name recorded for this digest; else a tag of it, or ""."""
        here = [e for e in self.entries if e.descriptor.digest == digest]
        return next((n for e in here for n in (e.name, e.tag) if n), "")

    def children(self, content: Content) -> tuple[Content, ...]:
        """Return the manifests an index lists, as far as the layout holds them."""
        found = []
        for descriptor in _listed(content.raw):
            with contextlib.suppress(EnforcerError):
                found.append(self._content(descriptor))
        return tuple(found)

    def configurations(self) -> set[Digest]:
        """Return what the manifests name that can be read: what engines go by."""
        found = set()
        for descriptor in self.descriptors():
            with contextlib.suppress(EnforcerError):
                parsed = parse_manifest_or_index(self._manifest(descriptor))
                if isinstance(parsed, Manifest):
                    found.add(parsed.config.digest)
        return found

    def collect(self, only: Digest | None = None) -> Iterator[Collected]:
        """Yield what a signature cache keeps: all, or only what is about one subject.

        With `only`, that manifest or index, what it lists, and signatures about those.
        What cannot be read is yielded as `Refused`, and the rest goes on; what an index
        lists and the layout does not hold is no loss (image-layout.md).

        Raises:
            LayoutError: There is too much of it; nothing was yielded.
        """
        wanted: set[Digest] | None = None
        if only is not None:
            listed = _listed(self.find(digest=only).raw)
            wanted = {only} | {descriptor.digest for descriptor in listed}
        for descriptor, is_due in self.descriptors().items():
            try:
                yield from self._collect_one(descriptor, wanted)
            except EnforcerError as error:
                if is_due or not isinstance(error, FileMissingError):
                    why = f"{error.what} [{error.code}]"
                    yield Refused(str(descriptor.digest), why)

    def _collect_one(
        self, descriptor: Descriptor, wanted: set[Digest] | None
    ) -> Iterator[Collected]:
        raw = self._manifest(descriptor)
        found = parse_signature_manifest(raw) or parse_evidence_manifest(raw)
        if found is None:
            is_wanted = descriptor.digest in wanted if wanted else not is_carried(raw)
            if is_wanted:
                yield self._content(descriptor)
        elif wanted is None or found.subject.digest in wanted:
            yield self._about(raw, found)

    def _about(
        self, raw: bytes, found: SignatureManifest | EvidenceManifest
    ) -> SignatureFile | EvidenceFile:
        """Return what is about a subject, with the bytes its manifest names."""
        if isinstance(found, SignatureManifest):
            return SignatureFile(raw, self._named(found.envelope))
        return EvidenceFile(raw, tuple(self._named(d) for d, _, _ in found.pieces))

    def _named(self, named: Descriptor) -> bytes:
        try:
            most = min(named.size, MAX_ENVELOPE_BYTES)
            raw = self.blob(named.digest, max_bytes=most)
        except FileMissingError as error:  # unlike a manifest's own, a loss
            raise LayoutError(error.what, remedy=error.remedy) from error
        if len(raw) != named.size:
            raise MalformedError(
                f"{named.digest.short} has {len(raw)} bytes, not {named.size}",
                remedy="Sign or export again.",
            )
        return raw

    def descriptors(self) -> dict[Descriptor, bool]:
        """Return all that index.json names, and what indexes among that name, once.

        And whether it has to be here: of an image not every platform has.

        Raises:
            LayoutError: It is more than MAX_ENTRIES.
        """
        found = {_short(entry.descriptor): True for entry in self.entries}
        for descriptor in list(found):
            if descriptor.media_type in INDEX_TYPES:
                with contextlib.suppress(EnforcerError):  # it is refused later on
                    raw = self._manifest(descriptor)
                    is_due = is_carried(raw)
                    for listed in _listed(raw):
                        found.setdefault(_short(listed), is_due)
            if len(found) > MAX_ENTRIES:
                raise LayoutError(
                    f"{self.name} lists more than {MAX_ENTRIES} manifests",
                    remedy="Import it piece by piece, by tag or digest.",
                    code=Code.ARCHIVE_TOO_LARGE,
                )
        return found

    def _content(self, descriptor: Descriptor) -> Content:
        raw = self._manifest(descriptor)
        content = Content(media_type_of(raw), raw)
        if content.descriptor != descriptor:
            raise MalformedError(
                f"{descriptor.digest.short} in {self.name} is listed as "
                f"{clip(descriptor.media_type)} of {descriptor.size} bytes, and is "
                f"{clip(content.media_type)} of {len(raw)}",
                remedy="Make the layout again.",
            )
        return content

    def _manifest(self, descriptor: Descriptor) -> bytes:
        if descriptor.media_type not in MANIFEST_TYPES | INDEX_TYPES:
            raise MalformedError(
                f"{descriptor.digest.short} in {self.name} is a "
                f"{clip(descriptor.media_type)}, not a manifest",
                remedy="Only manifests and indexes can be named there.",
            )
        return self.blob(descriptor.digest, max_bytes=MAX_MANIFEST_BYTES)


@contextlib.contextmanager
def open_layout(
    path: Path, *, archive: bool, whole: bool = False, tell: Tell | None = None
) -> Iterator[Layout]:
    """Open a layout folder, or a plain tar archive of one.

    With `whole` every byte of an archive is hashed before anything is lent; `tell`
    hears of each that went by.

    Raises:
        FileError: It is none, or cannot be read.
        ArchiveError: The archive is refused as a whole.
        MalformedError: Its index.json is malformed.
    """
    if not archive:
        yield Layout(FolderFiles(path))
        return
    with open_archive(path, whole=whole, tell=tell) as files:
        yield whole_layout(files) if whole else Layout(files)


def whole_layout(files: ArchiveFiles) -> Layout:
    """Return the layout in an archive that was read whole.

    Raises:
        LayoutError, MalformedError: It is none, or malformed.
        ArchiveError: It is another image to some engines than to others.
    """
    layout = Layout(files)
    require_same_images(files, layout.configurations)
    return layout


def _other_content(name: str, layout: str) -> MalformedError:
    return MalformedError(
        f"{name} in {layout} holds other content than its name says",
        remedy="Make the layout again; suspect the disk.",
        code=Code.CONTENT_TAMPERED,
    )


def _listed(raw: bytes) -> tuple[Descriptor, ...]:
    parsed = parse_manifest_or_index(raw)
    entries = parsed.entries if isinstance(parsed, Index) else ()
    return tuple(entry.manifest for entry in entries)


def _short(named: Descriptor) -> Descriptor:
    """Return a descriptor to hold: a type as long as a manifest names no manifest."""
    return replace(named, media_type=clip(named.media_type))
