"""What would run: names, and the content a signature must be about to count.

An engine's word is a claim. It becomes a `Subject` when the bytes agree with each
other: the root file system is the one the configuration describes, the manifest
names that configuration, the index lists that manifest for that platform.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_config,
    parse_manifest_or_index,
)


class SubjectError(EnforcerError):
    """What would run does not fit together, so there is nothing to judge."""

    default_code = Code.ROOTFS_MISMATCH


@dataclass(frozen=True, slots=True)
class ImageName:
    """A name to judge under: as shown to people, and as policy scopes spell it."""

    shown: str
    repository: str


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with the media type they were stored under. Hashed here, not elsewhere."""

    media_type: str
    raw: bytes

    @property
    def descriptor(self) -> Descriptor:
        """Describe the bytes as they are."""
        return Descriptor.of(self.media_type, self.raw)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an engine's records say would run.

    Attributes:
        shown: How people call it; for messages when there is no name.
        names: The names to judge under; empty when created from an id that no
            stored image bears. One that allows suffices (design section 6).
        config_digest: The configuration the records name.
        config: Its bytes, as read.
        rootfs: Chain id of the root file system's parent; None for an image at rest.
        contents: The manifest and index the records name, as far as the engine
            keeps them.
        mounts: Other images the container gets to see.
    """

    shown: str
    names: tuple[ImageName, ...]
    config_digest: Digest
    config: bytes
    rootfs: Digest | None
    contents: tuple[Content, ...]
    mounts: tuple["ImageMount", ...] = ()


@dataclass(frozen=True, slots=True)
class ImageMount:
    """An image whose files a container gets to see without running it.

    `images` are all that have exactly these files, at least one: a mount has no
    configuration, so whichever of them is allowed vouches for what is there.
    """

    destination: str
    images: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a decision is about.

    `targets` are the descriptors any one of which a signature may be about; empty
    when no manifest of a graph driver image is known on this host.
    """

    shown: str
    names: tuple[ImageName, ...]
    targets: tuple[Descriptor, ...]
    index: Digest | None = None
    manifest: Digest | None = None
    config: Digest | None = None
    chain_id: Digest | None = None

    @property
    def content_digests(self) -> frozenset[Digest]:
        """What names exactly this content: manifests, indexes, the configuration."""
        listed = {self.index, self.manifest, self.config}
        listed |= {target.digest for target in self.targets}
        return frozenset(digest for digest in listed if digest is not None)

    @property
    def all_digests(self) -> frozenset[Digest]:
        """The same, and the root file system, which other images may share."""
        root = {self.chain_id} if self.chain_id else set()
        return self.content_digests | root


def artifact_subject(
    shown: str, names: tuple[ImageName, ...], content: Content
) -> Subject:
    """Make the subject for one manifest or index, judged by its very digest."""
    target = content.descriptor
    is_index = target.media_type in INDEX_TYPES
    return Subject(
        shown,
        names,
        (target,),
        index=target.digest if is_index else None,
        manifest=None if is_index else target.digest,
    )


def bind_subject(claim: Claim, cached: Sequence[Content]) -> Subject:
    """Tie a claim together, with manifests and indexes the signature cache holds.

    `cached` may hold anything; what does not fit is passed over, because a stranger's
    manifest must not keep a good image from starting.

    Raises:
        SubjectError: Bytes that are not the ones named, or another root file system.
        MalformedError: The configuration is malformed.
    """
    if not claim.config_digest.matches(claim.config):
        raise SubjectError(
            f"the configuration of {claim.shown} is not the content that "
            f"{claim.config_digest.short} names",
            remedy="Remove the image and load it again; suspect the disk.",
            code=Code.CONTENT_TAMPERED,
        )
    config = parse_config(claim.config)
    if claim.rootfs is not None and claim.rootfs != config.chain_id:
        raise SubjectError(
            f"the root file system of {claim.shown} is {claim.rootfs.short}, but the "
            f"image of that name has {config.chain_id.short}",
            remedy="The tag was moved after the container was created: create the "
            "container again.",
        )
    targets = _targets(claim, config, (*claim.contents, *cached))
    indexes = [t for t in targets if t.media_type in INDEX_TYPES]
    manifests = [t for t in targets if t.media_type not in INDEX_TYPES]
    return Subject(
        claim.shown,
        claim.names,
        targets,
        index=indexes[0].digest if indexes else None,
        manifest=manifests[0].digest if manifests else None,
        config=claim.config_digest,
        chain_id=config.chain_id,
    )


def select_manifest(index: Index, platform: Platform) -> tuple[Descriptor, ...]:
    """Return the manifests of an index that could run on `platform`, in its order."""
    return tuple(
        entry.manifest
        for entry in index.entries
        if entry.manifest.media_type in MANIFEST_TYPES
        and (entry.platform is None or entry.platform.agrees_with(platform))
    )


def _targets(
    claim: Claim, config: ImageConfig, contents: Sequence[Content]
) -> tuple[Descriptor, ...]:
    """Manifests that name the configuration, then indexes that list one of them."""
    indexes: dict[Descriptor, Index] = {}
    manifests: dict[Descriptor, None] = {}
    for content in contents:
        try:
            parsed = parse_manifest_or_index(content.raw)
        except EnforcerError:
            continue
        if isinstance(parsed, Index):
            indexes[content.descriptor] = parsed
        elif _names_config(parsed, claim) and content.media_type in MANIFEST_TYPES:
            manifests[content.descriptor] = None
    listing = [
        descriptor
        for descriptor, index in indexes.items()
        if index.is_image
        and descriptor.media_type in INDEX_TYPES
        and any(m in select_manifest(index, config.platform) for m in manifests)
    ]
    return (*manifests, *listing)


def _names_config(manifest: Manifest, claim: Claim) -> bool:
    named = manifest.config
    return (
        manifest.is_image
        and named.digest == claim.config_digest
        and named.size == len(claim.config)
    )
