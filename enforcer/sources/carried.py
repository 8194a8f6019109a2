"""Signatures an artifact carries with it, judged without the host's cache."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from enforcer.core.collected import Collected, EvidenceFile, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import TooLargeError
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.notary import signing_chain
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.core.subject import Content
from enforcer.core.turns import in_turns
from enforcer.core.verify import StoredSignature
from enforcer.ports import SignatureCache

MAX_CARRIED_BYTES = 256 * 1024 * 1024  # held in memory; a signature has some 5 KiB


class CarriedSignatures:
    """What was collected from one layout, as a signature cache in memory."""

    def __init__(
        self,
        items: Iterable[Collected],
        *,
        also: SignatureCache | None = None,
        as_listed: bool = False,
    ) -> None:
        """Take what a layout holds; `also` is asked for more signatures after that.

        With `as_listed` the order is the layout's own, not the likeliest first.

        Raises:
            TooLargeError: It carries more than MAX_CARRIED_BYTES.
        """
        self._also = also
        self._as_listed = as_listed
        carried = 0
        self.refused: list[Refused] = []
        self._contents: dict[Digest, Content] = {}
        self._signatures: dict[Descriptor, list[StoredSignature]] = {}
        for item in items:
            if isinstance(item, EvidenceFile):
                continue  # only what this host keeps itself counts
            if isinstance(item, Refused):
                self.refused.append(item)
            elif isinstance(item, SignatureFile):
                carried += len(item.envelope)
                self._add(item)
            else:
                carried += len(item.raw)
                self._contents[item.descriptor.digest] = item
            if carried > MAX_CARRIED_BYTES:
                raise TooLargeError(
                    f"it carries more than {MAX_CARRIED_BYTES} bytes of signatures",
                    remedy="Import them with `enforcer cache import`.",
                )

    def manifest(self, digest: Digest) -> Content | None:
        """Return a manifest or index by its own digest; see `ports`."""
        return self._contents.get(digest)

    def manifests_about(
        self, config: Digest, manifests: Collection[Digest]
    ) -> Sequence[Content]:
        """Return everything carried that may concern the image; see `ports`."""
        parsed = {c: parse_manifest_or_index(c.raw) for c in self._contents.values()}
        naming = [
            content
            for content, found in parsed.items()
            if not isinstance(found, Index) and found.config.digest == config
        ]
        wanted = {*manifests, *(content.descriptor.digest for content in naming)}
        listing = [
            content
            for content, found in parsed.items()
            if isinstance(found, Index)
            and any(entry.manifest.digest in wanted for entry in found.entries)
        ]
        return [*naming, *listing]

    def signatures_about(
        self,
        targets: Collection[Descriptor],
        *,
        trusted: Collection[Digest],
        limit: int,
    ) -> tuple[Iterator[StoredSignature], bool]:
        """Return the likeliest signatures first; see `ports`."""
        anchors = frozenset(trusted)

        listed = [s for target in targets for s in self._signatures.get(target, ())]
        found = dict.fromkeys(listed)
        ordered = list(found)
        if not self._as_listed:
            ordered.sort(key=lambda s: (s.digest, s.media_type))
            likely: dict[Digest, list[StoredSignature]] = {}
            for one in ordered:
                chain = signing_chain(one.media_type, one.envelope, targets)
                for anchor in anchors & {Digest.of(der) for der in chain}:
                    likely.setdefault(anchor, []).append(one)
            first = in_turns(likely[anchor] for anchor in sorted(likely))
            ordered = list(dict.fromkeys((*first, *ordered)))
        more = False
        if self._also:
            others, more = self._also.signatures_about(
                targets, trusted=trusted, limit=limit
            )
            ordered += [signature for signature in others if signature not in found]
        return iter(ordered[:limit]), more or len(ordered) > limit

    def _add(self, item: SignatureFile) -> None:
        parsed = parse_signature_manifest(item.manifest)
        if parsed is not None:
            signature = StoredSignature(
                parsed.envelope.digest, parsed.envelope.media_type, item.envelope
            )
            self._signatures.setdefault(parsed.subject, []).append(signature)
