"""The signature cache: OCI blobs on disk, and an index that can be made again.

`blobs/sha256/HEX` holds manifests, indexes, signature manifests and envelopes, and
small records of where they came from; `index.db` only says where to look. Every blob is
hashed again when it is read: a wrong index can lose a signature but never invent one.
Writers share one lock; readers take none, and see a change at their next question.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.core.collected import Collected, Origin, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import media_type_of
from enforcer.core.quota import DEFAULT_QUOTA, Quota
from enforcer.core.signature_manifest import MAX_MANIFEST_BYTES
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature
from enforcer.ports import CacheError
from enforcer.sources.cache.folder import CacheFolder, damage
from enforcer.sources.cache.index import Entry, Index
from enforcer.sources.cache.usage import EMPTY, CacheSize, size_of

if TYPE_CHECKING:
    from enforcer.sources.cache.check import Check
    from enforcer.sources.cache.gc import Gone


class DiskCache:
    """A signature cache in one folder. Safe to share between threads and processes."""

    def __init__(self, root: Path, quota: Quota = DEFAULT_QUOTA) -> None:
        self._root = root
        self._quota = quota
        self._folder = CacheFolder(root)
        self._index = Index(self._folder.database)

    # -- reading: nothing is created, absence is an empty answer ---------------

    def manifest(self, digest: Digest) -> Content | None:
        """Return a manifest or index by its digest, or None; see `ports`."""
        if not os.path.lexists(self._folder.blobs.place(digest)):
            return None
        try:
            return self._content(digest)
        except CacheError:
            if self._folder.has_gone(digest):
                return None
            raise

    def manifests_about(
        self, config: Digest, manifests: Collection[Digest]
    ) -> Sequence[Content]:
        """Return manifests naming `config`, and indexes listing them; see `ports`.

        A damaged one is passed over: it must not keep from judging by what the
        engine itself holds, or by the others. It raises where nothing else is left.
        """
        naming = self._index.naming(config)
        listing = self._index.listing({*manifests, *naming})
        found: list[Content] = []
        damaged: CacheError | None = None
        for digest in (*naming, *listing):
            try:
                found.append(self._content(digest))
            except CacheError as error:
                damaged = damaged if self._folder.has_gone(digest) else error
        if damaged and not found and not manifests:
            raise damaged
        return found

    def signatures_about(
        self,
        targets: Collection[Descriptor],
        *,
        trusted: Collection[Digest],
        limit: int,
    ) -> tuple[Iterator[StoredSignature], bool]:
        """Return the likeliest signatures first, and whether there are more."""
        rows = self._index.signatures(targets, trusted, limit + 1)
        return self._stored(rows[:limit]), len(rows) > limit

    def signature_files(self, subjects: Collection[Digest]) -> Iterator[SignatureFile]:
        """Yield manifest and envelope of every signature about these, for an export.

        Raises:
            CacheError: One is lost or damaged: what is exported is all there is.
        """
        read = self._folder.read
        for subject in sorted(set(subjects)):
            for entry in self.entries(subject):
                manifest, envelope = map(Digest.parse, (entry.manifest, entry.envelope))
                yield SignatureFile(read(manifest), read(envelope))

    def entries(self, about: Digest | None = None) -> Iterator[Entry]:
        """List every cached signature by subject, or those about one."""
        return self._index.entries_about(about) if about else self._index.entries()

    def size(self) -> CacheSize:
        """Return how much there is, without looking at any file.

        Raises:
            CacheError: The index cannot be used.
        """
        return self._folder.database.ask(size_of) or EMPTY

    def fullness(self) -> float:
        """Return how full it is: 1.0 takes nothing any more. Raises CacheError."""
        size = self.size()
        return max(
            size.files / self._quota.max_files, size.bytes / self._quota.max_bytes
        )

    def absence(self) -> str:
        """Say that there is no cache, which may be a disk that is missing; else ""."""
        index = self._folder.database.path
        there = os.path.lexists(index) and self._folder.blobs.folder.is_dir()
        return "" if there else f"there is no signature cache in {self._root}"

    # -- writing: one writer at a time ------------------------------------------

    def add(
        self, items: Iterable[Collected], *, origin: Origin | None = None
    ) -> tuple[int, list[Refused]]:
        """Store contents and signatures; return how many signatures, and the refused.

        All of it or, where this raises, nothing: whatever `items` raises, a full quota
        and a full disk leave what was held as it was. Blobs reach the disk before the
        index names them. `items` is drawn in bounded batches, as the caller, and others
        who write wait meanwhile, for LOCK_SECONDS at most: what comes slowly is
        gathered before. An item that is malformed is refused by itself.

        Raises:
            CacheError: The cache cannot be written, or it is full (ENF-1404).
        """
        from enforcer.sources.cache.add import add  # a reader needs none of it

        return add(self._folder, items, origin, self._quota)

    def remove(self, digest: Digest) -> int:
        """Forget signatures about this subject, or this one signature; return how many.

        Manifests stay: they are only of use together with a signature.

        Raises:
            CacheError: The cache cannot be written.
        """
        from enforcer.sources.cache.gc import forget

        return forget(self._folder, digest)

    def gc(
        self, present: Collection[Digest], *, keep_seconds: float, dry_run: bool = False
    ) -> "Gone":
        """Drop what is about no image here, and was not imported of late.

        `present` has a digest of every image on this host: of its index, its manifest
        or its configuration. All that is about one of these stays, whatever its age.

        Raises:
            CacheError: The cache cannot be written; what is needed is still there.
        """
        from enforcer.sources.cache.gc import collect

        return collect(
            self._folder, present, keep_seconds=keep_seconds, dry_run=dry_run
        )

    def check(self, *, repair: bool) -> "Check":
        """Hash every blob; with `repair`, put the damaged aside and index anew.

        Nothing is deleted: what is damaged, or means nothing, goes to the folder
        `damaged`. Readers may go on meanwhile; writers, too, where there is nothing to
        mend: else it is looked at again while they wait.

        Raises:
            CacheError: The cache cannot be read, or not written.
        """
        from enforcer.sources.cache.check import check

        return check(self._folder, repair=repair)

    def tidy(self) -> None:
        """Take back what a writer that died has left, as every writer does first.

        Raises:
            CacheError: The cache cannot be written.
        """
        if self._folder.is_unsettled():
            with self._folder.writing():
                pass

    def _stored(self, rows: Sequence[tuple[Digest, str]]) -> Iterator[StoredSignature]:
        """Read one after the other; a damaged one does not veto the others."""
        damaged: CacheError | None = None
        good = 0
        for digest, media_type in rows:
            try:
                envelope = self._folder.read(digest)
            except CacheError as error:
                damaged = damaged if self._folder.has_gone(digest) else error
                continue
            good += 1
            yield StoredSignature(digest, media_type, envelope)
        if damaged and not good:
            raise damaged

    def _content(self, digest: Digest) -> Content:
        raw = self._folder.read(digest, MAX_MANIFEST_BYTES)
        try:
            return Content(media_type_of(raw), raw)
        except EnforcerError as error:
            raise damage(f"holds no manifest under {digest.short}") from error
