"""What a promotion lost: the same content in two places, and the signatures in each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.envelope.untrusted import EnvelopeFormat
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.identity import subject_text
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.notary import read_envelope
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature


class Relation(StrEnum):
    """What the manifest in the second place is to that in the first."""

    SAME = "same"
    LISTED = "listed"  # one platform of an index
    SAME_IMAGE = "same image"  # another manifest, with the same configuration
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Held:
    """What one place holds: the manifest or index first, and what is signed about it.

    `contents` goes on with what an index lists, as far as the place has it. An engine
    is asked `by_config`: signatures about any manifest of its image count.
    """

    contents: tuple[Content, ...]
    signatures: tuple[StoredSignature, ...]
    by_config: bool = False

    @property
    def top(self) -> Descriptor:
        """Describe what the place names."""
        return self.contents[0].descriptor

    @property
    def engines_own(self) -> frozenset[Digest]:
        """The manifests that are the image of an engine, by whichever it got it."""
        own = self.contents if self.by_config else ()
        return frozenset(content.descriptor.digest for content in own)


@dataclass(frozen=True, slots=True)
class Loss:
    """What is in the first place and not in the second.

    `counts` says whether signatures about the first would count in the second at all.
    """

    relation: Relation
    lost: tuple[StoredSignature, ...]
    kept: tuple[StoredSignature, ...]
    counts: bool

    @property
    def is_none(self) -> bool:
        """Whether the second place has all that the first has."""
        return self.counts and not self.lost


def compare(first: Held, second: Held) -> Loss:
    """Say what of the first is not in the second.

    A signature is about one manifest, so about another none of them counts, wherever
    it is kept.
    """
    relation = _relation(first, second)
    counts = relation is Relation.SAME or (
        second.by_config and relation is not Relation.OTHER
    )
    listed = relation is Relation.LISTED  # what is about the platform is about both
    there = {one.digest for one in second.signatures if counts or listed}
    lost = [one for one in first.signatures if one.digest not in there]
    kept = [one for one in first.signatures if one.digest in there]
    return Loss(relation, tuple(lost), tuple(kept), counts)


def untrusted_signer(signature: StoredSignature) -> str:
    """Return whom an envelope's certificate names, for people; nobody verified it."""
    try:
        _, chain = read_envelope(signature.media_type, signature.envelope)
        return clip(subject_text(chain.leaf.subject))
    except EnforcerError:
        return "an envelope that cannot be read"


def format_of(signature: StoredSignature) -> str:
    """Return the envelope's format, for people."""
    return EnvelopeFormat.of(signature.media_type) or clip(signature.media_type)


def _relation(first: Held, second: Held) -> Relation:
    one, other = first.top.digest, second.top.digest
    if one == other or other in first.engines_own or one in second.engines_own:
        return Relation.SAME
    parsed = parse_manifest_or_index(first.contents[0].raw)
    listed = parsed.entries if isinstance(parsed, Index) else ()
    if other in {entry.manifest.digest for entry in listed}:
        return Relation.LISTED
    if _configs(first.contents) & _configs(second.contents):
        return Relation.SAME_IMAGE
    return Relation.OTHER


def _configs(contents: Iterable[Content]) -> set[Digest]:
    """The configurations that manifests name; an image's decides its identity."""
    parsed = [parse_manifest_or_index(content.raw) for content in contents]
    return {
        found.config.digest
        for found in parsed
        if not isinstance(found, Index) and found.is_image
    }
