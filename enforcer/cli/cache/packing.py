"""What an export holds: images or their names, and all that is known about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from enforcer.cli.target import Stream
from enforcer.core.codes import Code
from enforcer.core.collected import EvidenceFile, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import (
    INDEX_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_MANIFEST,
    Index,
    Manifest,
    Platform,
    parse_manifest_or_index,
)
from enforcer.core.signature_manifest import (
    EMPTY_CONFIG,
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.core.subject import Content, select_manifest
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout.contents import (
    Blob,
    ExportError,
    LayoutContents,
    Loadable,
    Named,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to export.

    Attributes:
        shown: What somebody called it.
        contents: What the name stands for first, then what that lists.
        names: Full names, with host and tag.
        held: Reads its configuration and layers, where they go along.
        carried: What came with it, if it is in a layout.
    """

    shown: str
    contents: tuple[Content, ...]
    names: tuple[str, ...] = ()
    tag: str = ""
    held: Stream | None = None
    carried: tuple[SignatureFile | EvidenceFile, ...] = ()


@dataclass(slots=True)
class Packing:
    """Gathers what goes along; nothing large is read before it is written."""

    cache: DiskCache
    platform: Platform
    named: dict[Digest, Named] = field(default_factory=dict)
    beside: dict[Digest, Descriptor] = field(default_factory=dict)
    blobs: dict[Digest, Blob] = field(default_factory=dict)
    loadable: list[Loadable] = field(default_factory=list)
    signatures: dict[Digest, SignatureManifest] = field(default_factory=dict)
    pieces: set[Digest] = field(default_factory=set)

    def add(self, wanted: Wanted) -> None:
        """Take one thing in, with every signature about it.

        Raises:
            ExportError: Nothing is signed about it, or something of it lacks.
            CacheError: Something in the cache is damaged.
        """
        top, *listed = wanted.contents
        known = self._known(wanted.contents)
        about = {content.descriptor.digest for content in known}
        for one in (*self.cache.signature_files(about), *wanted.carried):
            self.add_file(one)
        if about.isdisjoint(self.subjects()):
            raise ExportError(
                f"no signature about {wanted.shown} is known on this host",
                remedy="Sign it, or import its signatures first.",
                code=Code.EXPORT_NOTHING,
            )
        self._name(top.descriptor, wanted)
        for content in known:
            self._put(content.raw)
            if content not in (top, *listed):
                self.beside[content.descriptor.digest] = content.descriptor
        if wanted.held:
            self._add_image(top, wanted, wanted.held)

    def add_file(self, one: SignatureFile | EvidenceFile) -> None:
        """Take in a signature or revocation evidence, and list it beside the image."""
        described = Descriptor.of(OCI_MANIFEST, one.manifest)
        self._put(one.manifest)
        self._put(EMPTY_CONFIG)
        self.beside[described.digest] = described
        if isinstance(one, EvidenceFile):
            self.pieces |= {self._put(piece) for piece in one.pieces}
        else:
            self._put(one.envelope)
            parsed = parse_signature_manifest(one.manifest)
            if parsed is not None:
                self.signatures[described.digest] = parsed

    def subjects(self) -> dict[Digest, Descriptor]:
        """Return what the signatures are about."""
        found = [parsed.subject for parsed in self.signatures.values()]
        return {subject.digest: subject for subject in found}

    def contents(self) -> LayoutContents:
        """Return all of it, as a layout is to hold it.

        What signatures are about is listed in index.json even without a name: notation
        looks for a digest nowhere else.
        """
        subjects = self.subjects()
        listed = dict(self.named)
        beside = []
        for digest, one in sorted(self.beside.items()):
            if digest in subjects:
                listed.setdefault(digest, Named(one))
            elif digest not in listed:
                beside.append(one)
        return LayoutContents(
            tuple(listed.values()), tuple(beside), self.blobs, tuple(self.loadable)
        )

    def _name(self, top: Descriptor, wanted: Wanted) -> None:
        """List it, or give it more names if it is listed already."""
        known = self.named.get(top.digest, Named(top))
        names = tuple(dict.fromkeys((*known.names, *wanted.names)))
        self.named[top.digest] = Named(top, names, known.tag or wanted.tag)

    def _known(self, contents: Sequence[Content]) -> list[Content]:
        """Return these, and what the cache knows to name or list the same image."""
        configs, manifests = set(), set()
        for content in contents:
            parsed = parse_manifest_or_index(content.raw)
            if isinstance(parsed, Manifest):
                configs.add(parsed.config.digest)
                manifests.add(content.descriptor.digest)
        cached = [
            found
            for config in sorted(configs)
            for found in self.cache.manifests_about(config, manifests)
        ]
        return list(dict.fromkeys((*contents, *cached)))

    def _add_image(self, top: Content, wanted: Wanted, held: Stream) -> None:
        """Take in configuration and layers, of an index those of its images here."""
        images = dict(_images(top, held))
        if not images:
            raise ExportError(
                f"of {wanted.shown} no image is here, only its index",
                remedy="Pull or load it again.",
                code=Code.EXPORT_INCOMPLETE,
            )
        for content, manifest in images.items():
            self._put(content.raw)
            for described in (manifest.config, *manifest.layers):
                self.blobs[described.digest] = _blob(described, held)
        runs = _for_this_host(top, images, self.platform)
        if runs:
            layers = tuple(layer.digest for layer in runs.layers)
            self.loadable.append(Loadable(runs.config.digest, layers, wanted.names))

    def _put(self, raw: bytes) -> Digest:
        blob = Blob.of(raw)
        self.blobs.setdefault(blob.digest, blob)
        return blob.digest


def from_cache(cache: DiskCache, digest: Digest) -> tuple[Content, ...]:
    """Return a manifest or index of the cache with what it lists, by its own digest.

    Or, for a configuration's digest, the first manifest that names it.

    Raises:
        ExportError: The cache knows nothing of it.
    """
    found = cache.manifest(digest)
    if found is None:
        found = next(iter(cache.manifests_about(digest, [])), None)
    if found is None:
        raise ExportError(
            f"the signature cache knows nothing about {digest.short}",
            remedy="`enforcer cache list` shows what it has.",
            code=Code.EXPORT_NOTHING,
        )
    parsed = parse_manifest_or_index(found.raw)
    entries = parsed.entries if isinstance(parsed, Index) else ()
    listed = [cache.manifest(entry.manifest.digest) for entry in entries]
    return (found, *(content for content in listed if content is not None))


def _images(top: Content, held: Stream) -> Iterator[tuple[Content, Manifest]]:
    """Yield the manifests whose blobs are at hand; a sole one whether or not."""
    parsed = parse_manifest_or_index(top.raw)
    if isinstance(parsed, Manifest):
        yield top, parsed
        return
    for entry in parsed.entries:
        described = entry.manifest
        if described.media_type in INDEX_TYPES or described.size > MAX_MANIFEST_BYTES:
            continue
        try:
            raw = b"".join(held(described))
            manifest = parse_manifest_or_index(raw)
        except EnforcerError:
            continue  # of another platform, and never pulled
        if Descriptor.of(described.media_type, raw) != described:
            continue
        if isinstance(manifest, Manifest) and _is_here(manifest, held):
            yield Content(described.media_type, raw), manifest


def _is_here(manifest: Manifest, held: Stream) -> bool:
    """Whether all its blobs can be begun with; whole they are read when written."""
    try:
        for described in (manifest.config, *manifest.layers):
            next(held(described), b"")
    except EnforcerError:
        return False
    return True


def _for_this_host(
    top: Content, images: dict[Content, Manifest], platform: Platform
) -> Manifest | None:
    """Return the image that Docker's own store is to load: it takes but one."""
    parsed = parse_manifest_or_index(top.raw)
    if isinstance(parsed, Manifest):
        return parsed if parsed.is_image else None
    here = {content.descriptor: manifest for content, manifest in images.items()}
    fits = [here[d] for d in select_manifest(parsed, platform) if d in here]
    return next((manifest for manifest in fits if manifest.is_image), None)


def _blob(described: Descriptor, held: Stream) -> Blob:
    return Blob(described.digest, described.size, lambda: held(described))
