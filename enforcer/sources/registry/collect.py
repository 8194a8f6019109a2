"""What a registry holds for a signature cache: an image's manifests, and signatures.

As from a layout: what cannot be read is `Refused`, and the rest goes on. So is what
there is no room for: whoever may push junk crowds out nobody's signature.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.collected import Collected, EvidenceFile, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.revocation_artifact import (
    REVOCATION_ARTIFACT,
    EvidenceManifest,
    parse_evidence_manifest,
)
from enforcer.core.signature_manifest import (
    SIGNATURE_ARTIFACT_TYPE,
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.referrers import Referrer, refusal

# Of a signature with its manifest; usual ones have some 5 KiB. What has more comes
# last: as many of less as are looked at, about one subject, leave most of the room.
USUAL_BYTES = 64 * 1024

_Found = SignatureManifest | EvidenceManifest

_LIKELY = frozenset({SIGNATURE_ARTIFACT_TYPE, REVOCATION_ARTIFACT})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken of one image.

    Attributes:
        children: Manifests of an index; Docker's official images list twenty.
        referrers: Manifests about one subject that are looked at.
        bytes: Of everything together, the words about what is refused included.
        items: Of everything together.
    """

    children: int = 128
    referrers: int = 100
    bytes: int = 256 * 1024 * 1024
    items: int = 4000


def collect(
    registry: Registry, repository: str, reference: str, limits: Limits | None = None
) -> Iterator[Collected]:
    """Yield the manifest or index `reference` names, what it lists, and signatures.

    `reference` is a tag or digest. The first item is what it names. What is large, of
    signatures and evidence, comes last, as far as there is room.

    Raises:
        RegistryError: That cannot be had, or asking on is of no use now (`is_final`).
    """
    chosen = limits or Limits()
    taking = _Taking(registry, repository, chosen)
    for number, item in enumerate(taking.items(reference)):
        words = len(item.what) + len(item.why) if isinstance(item, Refused) else 0
        if number >= chosen.items or not taking.has_room(words):
            yield Refused(f"{registry.host}/{repository}", "has too many signatures")
            return
        yield item


class _Taking:
    """One walk through what a registry holds about a manifest or index."""

    def __init__(self, registry: Registry, repository: str, limits: Limits) -> None:
        self._registry = registry
        self._repository = repository
        self._limits = limits
        self._left = limits.bytes
        self._large: list[tuple[int, Digest]] = []

    def has_room(self, size: int) -> bool:
        """Whether so much may be asked for; it is used up then, whatever comes."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def items(self, reference: str) -> Iterator[Collected]:
        root = self._registry.manifest(self._repository, reference)
        if not self.has_room(len(root.raw)):
            yield self._no_room(root.descriptor.digest, len(root.raw))
            return
        subjects = [root]
        yield root
        for item in self._children(root):
            if isinstance(item, Content):
                subjects.append(item)
            yield item
        for subject in subjects:
            yield from self._about(subject)
        for size, digest in sorted(self._large):
            if self.has_room(size):
                yield from _told(digest, self._again(digest))
            else:
                yield self._no_room(digest, size)

    def _children(self, root: Content) -> Iterator[Content | Refused]:
        parsed = parse_manifest_or_index(root.raw)
        entries = parsed.entries if isinstance(parsed, Index) else ()
        most = self._limits.children
        for named in (entry.manifest for entry in entries[:most]):
            if not self.has_room(named.size):
                yield self._no_room(named.digest, named.size)
                continue
            try:
                yield self._registry.described(self._repository, named)
            except RegistryError as error:
                if error.is_final:
                    raise
                # A copy of some platforms only: what is not there cannot run either.
                if error.code != Code.REGISTRY_MISSING:
                    yield refusal(str(named.digest), error)
        if len(entries) > most:
            why = f"is not among the first {most} manifests of the index"
            yield Refused(f"{len(entries) - most} manifest(s)", why)

    def _about(self, subject: Content) -> Iterator[Collected]:
        """Yield the signatures about one manifest, the likely ones first."""
        digest, most = subject.descriptor.digest, self._limits.referrers
        listed = self._registry.referrers(self._repository, digest)
        yield from listed.refused
        ordered = sorted(listed.entries, key=_unlikelihood)
        for referrer in ordered[:most]:
            named = referrer.descriptor.digest
            yield from _told(named, self._candidate(named, digest))
        if len(ordered) > most:
            why = f"not looked at: {most} about one manifest is the limit"
            yield Refused(f"{len(ordered) - most} manifest(s)", why)

    def _candidate(self, digest: Digest, subject: Digest) -> Iterator[Collected]:
        """Yield a signature or evidence about `subject`; note one that is large."""
        raw = self._registry.manifest(self._repository, digest).raw
        found = parse_signature_manifest(raw) or parse_evidence_manifest(raw)
        if found is None:
            return
        size = len(raw) + sum(part.size for part in _parts(found))
        if found.subject.digest != subject:
            why = f"is about {found.subject.digest.short}, and listed for another"
            yield Refused(str(digest), why)
        elif size > USUAL_BYTES:
            self._large.append((size, digest))
        elif self.has_room(size):
            yield self._whole(raw, found)
        else:
            yield self._no_room(digest, size)

    def _again(self, digest: Digest) -> Iterator[Collected]:
        """Yield one that was noted; its manifest was not held."""
        raw = self._registry.manifest(self._repository, digest).raw
        found = parse_signature_manifest(raw) or parse_evidence_manifest(raw)
        if found is not None:
            yield self._whole(raw, found)

    def _whole(self, raw: bytes, found: _Found) -> Collected:
        pieces = [
            self._registry.blob(self._repository, part, max_bytes=part.size)
            for part in _parts(found)
        ]
        if isinstance(found, SignatureManifest):
            return SignatureFile(raw, pieces[0])
        return EvidenceFile(raw, tuple(pieces))

    def _no_room(self, digest: Digest, size: int) -> Refused:
        why = f"has {size} bytes, and no more than {self._left} are left to take"
        return Refused(str(digest), why)


def _parts(found: _Found) -> tuple[Descriptor, ...]:
    """Return what a manifest's size does not count."""
    if isinstance(found, SignatureManifest):
        return (found.envelope,)
    return tuple(named for named, _, _ in found.pieces)


def _told(digest: Digest, items: Iterator[Collected]) -> Iterator[Collected]:
    """Yield what comes, and what went wrong unless asking on is of no use."""
    try:
        yield from items
    except EnforcerError as error:
        if isinstance(error, RegistryError) and error.is_final:
            raise
        yield refusal(str(digest), error)


def _unlikelihood(referrer: Referrer) -> int:
    kind = referrer.untrusted_artifact_type
    return 0 if kind in _LIKELY else 1 if not kind else 2
