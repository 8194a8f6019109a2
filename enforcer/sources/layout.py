"""OCI image layouts, as a folder or a plain tar archive (image-spec image-layout.md).

Reads what a signature cache needs: manifests, indexes and signatures. What a
descriptor says about a manifest is not believed; the manifest's own bytes are read.
"""

import contextlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enforcer.core.collected import Collected, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Index,
    parse_descriptor,
    parse_manifest_or_index,
)
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.core.subject import Content
from enforcer.files import FileError, FileMissingError, read_file

MAX_INDEX_BYTES = 32 * 1024 * 1024  # ten thousand signatures listed take 5 MiB
MAX_ENTRIES = 20_000  # manifests read from one layout
MAX_MEMBERS = 100_000  # files in one archive

REF_NAME = "org.opencontainers.image.ref.name"


class LayoutError(FileError):
    """This is no OCI layout, or it lacks what was asked for."""


class Blobs(Protocol):
    """Reads the files of a layout; names come from checked digests only."""

    name: str

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a file's bytes; FileMissingError, TooLargeError or FileError."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of index.json: what it names, and the tag it gives it, if any."""

    descriptor: Descriptor
    tag: str


class FolderBlobs:
    """A layout in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read a regular file below the folder; links are not followed."""
        return read_file(self._root / name, max_bytes=max_bytes, follow=False)


class ArchiveBlobs:
    """A layout in an uncompressed tar; members are found by exact name."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 - closed by `open_layout`
            self._members = self._list()
        except (OSError, tarfile.TarError) as error:
            raise LayoutError(
                f"{path} is not a plain tar archive: {clip(str(error))}",
                remedy="Give an uncompressed OCI archive (gunzip it first).",
            ) from error

    def close(self) -> None:
        """Close the archive."""
        self._tar.close()

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read one member, refusing links, devices and more than `max_bytes`."""
        member = self._members.get(name)
        if member is None:
            raise FileMissingError(
                f"{self.name} has no {name}", remedy="Make the archive again."
            )
        if not member.isreg() or member.size > max_bytes:
            raise LayoutError(
                f"{name} in {self.name} is no file of at most {max_bytes} bytes",
                remedy="Make the archive again.",
            )
        try:
            file = self._tar.extractfile(member)
            return file.read(max_bytes + 1) if file else b""
        except (OSError, tarfile.TarError) as error:
            raise LayoutError(
                f"{name} in {self.name} cannot be read: {clip(str(error))}",
                remedy="Make the archive again.",
            ) from error

    def _list(self) -> dict[str, tarfile.TarInfo]:
        members: dict[str, tarfile.TarInfo] = {}
        for member in self._tar:
            name = member.name.removeprefix("./")
            if name in members and not member.isdir():
                raise tarfile.TarError(f"two members are called {clip(name)}")
            if len(members) >= MAX_MEMBERS:
                raise tarfile.TarError(f"more than {MAX_MEMBERS} members")
            members[name] = member
        return members


class Layout:
    """An OCI layout, read on demand. Every blob is hashed as it is read."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self.name = blobs.name
        self.entries = self._entries()

    def blob(self, digest: Digest, *, max_bytes: int) -> bytes:
        """Return a blob whose bytes hash to `digest`, or raise an EnforcerError."""
        name = f"blobs/{digest.algorithm}/{digest.hex}"
        raw = self._blobs.read(name, max_bytes=max_bytes)
        if not digest.matches(raw):
            raise MalformedError(
                f"{name} in {self.name} holds other content than its name says",
                remedy="Make the layout again; suspect the disk.",
            )
        return raw

    def find(self, *, tag: str = "", digest: Digest | None = None) -> Content:
        """Return the manifest or index with this tag or digest.

        Without either: the only tagged one, or the only one at all.

        Raises:
            LayoutError: None, or several.
        """
        found = {
            e.descriptor.digest: e.descriptor
            for e in self.entries
            if (not tag or e.tag == tag) and digest in (None, e.descriptor.digest)
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

    def tag_of(self, digest: Digest) -> str:
        """Return a tag of this digest, or ""."""
        tags = (e.tag for e in self.entries if e.descriptor.digest == digest and e.tag)
        return next(tags, "")

    def children(self, content: Content) -> tuple[Content, ...]:
        """Return the manifests an index lists, as far as the layout holds them."""
        parsed = parse_manifest_or_index(content.raw)
        found = []
        for entry in parsed.entries if isinstance(parsed, Index) else ():
            with contextlib.suppress(FileMissingError):
                found.append(self._content(entry.manifest))
        return tuple(found)

    def collect(self, only: Digest | None = None) -> Iterator[Collected]:
        """Yield what a signature cache keeps: all, or only what is about one subject.

        With `only`, that manifest or index, what it lists, and signatures about those.
        What cannot be read is yielded as `Refused`, and the rest goes on.
        """
        wanted: set[Digest] | None = None
        if only is not None:
            chosen = self.find(digest=only)
            wanted = {only} | {
                child.descriptor.digest for child in self.children(chosen)
            }
        for descriptor in self._descriptors():
            try:
                yield from self._collect_one(descriptor, wanted)
            except EnforcerError as error:
                yield Refused(str(descriptor.digest), f"{error.what} [{error.code}]")

    def _collect_one(
        self, descriptor: Descriptor, wanted: set[Digest] | None
    ) -> Iterator[Collected]:
        content = self._content(descriptor)
        signature = parse_signature_manifest(content.raw)
        if signature is not None:
            if wanted is None or signature.subject.digest in wanted:
                yield SignatureFile(content.raw, self._envelope(signature))
        elif wanted is None or descriptor.digest in wanted:
            parse_manifest_or_index(content.raw)
            yield content

    def _envelope(self, signature: SignatureManifest) -> bytes:
        named = signature.envelope
        raw = self.blob(named.digest, max_bytes=min(named.size, MAX_ENVELOPE_BYTES))
        if len(raw) != named.size:
            raise MalformedError(
                f"envelope {named.digest.short} has {len(raw)} bytes, not {named.size}",
                remedy="Sign again.",
            )
        return raw

    def _descriptors(self) -> Iterator[Descriptor]:
        """Everything index.json names, and what indexes among that name; each once."""
        seen: set[Digest] = set()
        queue = [entry.descriptor for entry in self.entries]
        direct = len(queue)
        for position, descriptor in enumerate(queue):  # grows while it is walked
            if descriptor.digest in seen:
                continue
            if len(seen) >= MAX_ENTRIES:
                raise LayoutError(
                    f"{self.name} lists more than {MAX_ENTRIES} manifests",
                    remedy="Import it piece by piece, by tag or digest.",
                )
            seen.add(descriptor.digest)
            yield descriptor
            if descriptor.media_type in INDEX_TYPES and position < direct:
                with contextlib.suppress(EnforcerError):
                    queue += [
                        c.descriptor for c in self.children(self._content(descriptor))
                    ]

    def _content(self, descriptor: Descriptor) -> Content:
        if descriptor.media_type not in MANIFEST_TYPES | INDEX_TYPES:
            raise MalformedError(
                f"{descriptor.digest.short} in {self.name} is a "
                f"{clip(descriptor.media_type)}, not a manifest",
                remedy="Only manifests and indexes can be named there.",
            )
        raw = self.blob(descriptor.digest, max_bytes=MAX_MANIFEST_BYTES)
        return Content(descriptor.media_type, raw)

    def _entries(self) -> tuple[Entry, ...]:
        try:
            self._blobs.read("oci-layout", max_bytes=4096)
            raw = self._blobs.read("index.json", max_bytes=MAX_INDEX_BYTES)
        except FileMissingError as error:
            raise LayoutError(
                f"{self.name} is not an OCI layout: {error.what}",
                remedy="Name a folder or archive with oci-layout and index.json.",
            ) from error
        document = parse_json(raw, what="index.json", max_bytes=MAX_INDEX_BYTES)
        members = require_object(document, what="index.json", known=("manifests",))
        listed = members.get("manifests")
        if not isinstance(listed, list) or len(listed) > MAX_ENTRIES:
            raise LayoutError(
                f"index.json of {self.name} lists nothing or more than {MAX_ENTRIES}",
                remedy="Make the layout again.",
            )
        return tuple(_entry(value) for value in listed)


@contextlib.contextmanager
def open_layout(path: Path, *, archive: bool) -> Iterator[Layout]:
    """Open a layout folder, or a plain tar archive of one.

    Raises:
        FileError: It is none, or cannot be read.
        MalformedError: Its index.json is malformed.
    """
    if not archive:
        yield Layout(FolderBlobs(path))
        return
    with contextlib.closing(ArchiveBlobs(path)) as blobs:
        yield Layout(blobs)


def _entry(value: Json) -> Entry:
    descriptor = parse_descriptor(value, what="entry of index.json")
    annotations = value.get("annotations") if isinstance(value, dict) else None
    tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return Entry(descriptor, tag if isinstance(tag, str) else "")
