"""What a registry holds for a signature cache: an image's manifests, and signatures.

As from a layout: what cannot be read is `Refused`, and the rest goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.collected import Collected, EvidenceFile, Refused, SignatureFile
from enforcer.core.errors import EnforcerError
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.revocation_artifact import (
    MAX_EVIDENCE_BYTES,
    REVOCATION_ARTIFACT,
    parse_evidence_manifest,
)
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    SIGNATURE_ARTIFACT_TYPE,
    parse_signature_manifest,
)
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.referrers import Referrer, refusal

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

    `reference` is a tag or digest. The first item is what it names.

    Raises:
        RegistryError: That cannot be had, or asking on is of no use now (`is_final`).
    """
    chosen = limits or Limits()
    rest = chosen.bytes
    for number, item in enumerate(_items(registry, repository, reference, chosen)):
        rest -= _size(item)
        if rest < 0 or number >= chosen.items:
            yield Refused(f"{registry.host}/{repository}", "has too many signatures")
            return
        yield item


def _items(
    registry: Registry, repository: str, reference: str, limits: Limits
) -> Iterator[Collected]:
    root = registry.manifest(repository, reference)
    subjects = [root]
    yield root
    for item in _children(registry, repository, root, limits):
        if isinstance(item, Content):
            subjects.append(item)
        yield item
    for subject in subjects:
        yield from _about(registry, repository, subject, limits)


def _children(
    registry: Registry, repository: str, root: Content, limits: Limits
) -> Iterator[Content | Refused]:
    parsed = parse_manifest_or_index(root.raw)
    entries = parsed.entries if isinstance(parsed, Index) else ()
    for entry in entries[: limits.children]:
        try:
            yield registry.described(repository, entry.manifest)
        except RegistryError as error:
            if error.is_final:
                raise
            # A copy of some platforms only: what is not there cannot run either.
            if error.code != Code.REGISTRY_MISSING:
                yield refusal(str(entry.manifest.digest), error)
    if len(entries) > limits.children:
        why = f"is not among the first {limits.children} manifests of the index"
        yield Refused(f"{len(entries) - limits.children} manifest(s)", why)


def _about(
    registry: Registry, repository: str, subject: Content, limits: Limits
) -> Iterator[Collected]:
    """Yield the signatures about one manifest, the likely ones first."""
    listed = registry.referrers(repository, subject.descriptor.digest)
    yield from listed.refused
    ordered = sorted(listed.entries, key=_unlikelihood)
    for referrer in ordered[: limits.referrers]:
        try:
            yield from _candidate(registry, repository, subject, referrer)
        except EnforcerError as error:
            if isinstance(error, RegistryError) and error.is_final:
                raise
            yield refusal(str(referrer.descriptor.digest), error)
    if len(ordered) > limits.referrers:
        why = f"not looked at: {limits.referrers} about one manifest is the limit"
        yield Refused(f"{len(ordered) - limits.referrers} manifest(s)", why)


def _candidate(
    registry: Registry, repository: str, subject: Content, referrer: Referrer
) -> Iterator[Collected]:
    raw = registry.manifest(repository, referrer.descriptor.digest).raw
    signature = parse_signature_manifest(raw)
    evidence = None if signature else parse_evidence_manifest(raw)
    found = signature or evidence
    if found is None:
        return
    if found.subject.digest != subject.descriptor.digest:
        why = f"is about {found.subject.digest.short}, and listed for another"
        yield Refused(str(referrer.descriptor.digest), why)
    elif signature is not None:
        named, most = signature.envelope, MAX_ENVELOPE_BYTES
        yield SignatureFile(raw, registry.blob(repository, named, max_bytes=most))
    elif evidence is not None:
        most = MAX_EVIDENCE_BYTES  # of all pieces; the manifest's parser adds them up
        pieces = (
            registry.blob(repository, named, max_bytes=most)
            for named, _, _ in evidence.pieces
        )
        yield EvidenceFile(raw, tuple(pieces))


def _unlikelihood(referrer: Referrer) -> int:
    kind = referrer.untrusted_artifact_type
    return 0 if kind in _LIKELY else 1 if not kind else 2


def _size(item: Collected) -> int:
    if isinstance(item, Content):
        return len(item.raw)
    if isinstance(item, SignatureFile):
        return len(item.manifest) + len(item.envelope)
    if isinstance(item, EvidenceFile):
        return len(item.manifest) + sum(map(len, item.pieces))
    return len(item.what) + len(item.why)
