"""What a copy of an artifact carries: its manifests, its blobs, and all about it.

Copying is no judgement. What is copied has the digests it is named by; whether anybody
trusts its signatures is asked where it is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from enforcer.core.codes import Code
from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.referring import Referring, parse_referring
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.core.subject import Content

MAX_MANIFESTS = 4000  # a platform index with its signatures and SBOMs has some hundred
MAX_MANIFEST_BYTES = 256 * 1024 * 1024  # of them all, which are held in memory
MAX_NESTED = 4  # an index in an index; a signature about an SBOM about an image


class CopyError(EnforcerError):
    """An artifact cannot be copied as a whole, so it is not copied."""

    default_code = Code.COPY_INCOMPLETE


class Origin(Protocol):
    """Where an artifact is copied from: a layout, an archive, a registry."""

    name: str

    def manifest(self, named: Descriptor) -> Content:
        """Return the manifest or index of just this descriptor, or raise."""

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        """Yield a blob a part at a time; an error at the end where it is another."""

    def referrers(self, subject: Digest) -> Iterator[Content | Refused]:
        """Yield what is listed as about a manifest; `Refused` where it is no use."""


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that is about another one."""

    content: Content
    referring: Referring


@dataclass(frozen=True, slots=True)
class Package:
    """Everything that is copied, in the order in which a registry takes it.

    Attributes:
        top: What the copy is of; its digest is the same afterwards.
        manifests: Those an index lists before the index, `top` last. Of referrers, too.
        referrers: What is about those, and about each other; subjects come first.
        blobs: What the manifests name, each once.
        refused: What was listed as about them and could not be used.
    """

    top: Content
    manifests: tuple[Content, ...]
    referrers: tuple[Referrer, ...]
    blobs: tuple[Descriptor, ...]
    refused: tuple[Refused, ...]

    @property
    def signatures(self) -> int:
        """How many Notary signatures are among the referrers."""
        return sum(_is_signature(referrer.content) for referrer in self.referrers)


def gather(origin: Origin, top: Content) -> Package:
    """Read all manifests of a copy; no blob is read yet.

    Raises:
        CopyError: The origin does not hold all of it, or it is more than the bounds.
        EnforcerError: The origin cannot be read.
    """
    return _Gathering(origin).package(top)


class _Gathering:
    """One walk through what an origin holds."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._manifests: dict[Digest, Content] = {}
        self._referrers: dict[Digest, Referrer] = {}
        self._blobs: dict[Descriptor, None] = {}
        self._refused: list[Refused] = []
        self._seen: set[Digest] = set()
        self._held = 0

    def package(self, top: Content) -> Package:
        self._walk(top, 0)
        subjects = list(self._manifests)
        for _ in range(MAX_NESTED):
            subjects = [d for subject in subjects for d in self._about(subject)]
        if subjects:
            raise self._too_much(f"manifests about each other {MAX_NESTED} deep")
        return Package(
            top,
            tuple(self._manifests.values()),
            tuple(self._referrers.values()),
            tuple(self._blobs),
            tuple(self._refused),
        )

    def _walk(self, content: Content, depth: int) -> None:
        """Take a manifest after all that it names."""
        if content.descriptor.digest in self._manifests:
            return
        self._name(content, depth)
        self._manifests[content.descriptor.digest] = content

    def _name(self, content: Content, depth: int) -> None:
        self._count(content)
        parsed = parse_manifest_or_index(content.raw)
        if not isinstance(parsed, Index):
            self._blobs |= dict.fromkeys((parsed.config, *parsed.layers))
            return
        if depth == MAX_NESTED:
            raise self._too_much(f"indexes nested more than {MAX_NESTED} deep")
        for entry in parsed.entries:
            self._walk(self._listed(entry.manifest), depth + 1)

    def _listed(self, named: Descriptor) -> Content:
        try:
            return self._origin.manifest(named)
        except EnforcerError as error:
            raise CopyError(
                f"{self._origin.name} does not hold all of the index: {error.what}",
                remedy="Copy one of its manifests by @DIGEST, or fetch the rest first.",
            ) from error

    def _about(self, subject: Digest) -> Iterator[Digest]:
        """Take what is about a manifest; yield its digests, which have some as well."""
        for item in self._origin.referrers(subject):
            if isinstance(item, Refused):
                self._refused.append(item)
            elif item.descriptor.digest not in self._referrers:
                yield from self._refer(item, subject)

    def _refer(self, content: Content, subject: Digest) -> Iterator[Digest]:
        digest = content.descriptor.digest
        try:
            referring = parse_referring(content.raw)
            if referring is None or referring.subject.digest != subject:
                raise MalformedError(
                    f"it is listed as about {subject.short} and is not",
                    remedy="Ask who keeps that list.",
                )
            if digest not in self._seen:  # an index may list what is about it
                self._name(content, 1)
        except MalformedError as error:
            self._refused.append(Refused(str(digest), f"{error.what} [{error.code}]"))
            return
        self._referrers[digest] = Referrer(content, referring)
        yield digest

    def _count(self, content: Content) -> None:
        self._seen.add(content.descriptor.digest)
        self._held += len(content.raw)
        if len(self._seen) > MAX_MANIFESTS or self._held > MAX_MANIFEST_BYTES:
            raise self._too_much(
                f"more than {MAX_MANIFESTS} manifests or {MAX_MANIFEST_BYTES} bytes"
            )

    def _too_much(self, what: str) -> CopyError:
        return CopyError(
            f"{self._origin.name} has {what} for one artifact",
            remedy="Copy one of its manifests by @DIGEST.",
            code=Code.TOO_LARGE,
        )


def _is_signature(content: Content) -> bool:
    try:
        return parse_signature_manifest(content.raw) is not None
    except EnforcerError:
        return False
