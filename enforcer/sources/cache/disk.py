"""The signature cache: OCI blobs on disk, and an index that can be made again.

`blobs/sha256/HEX` holds manifests, indexes, signature manifests and envelopes;
`index.db` only says where to look. Every blob is hashed again when it is read, so a
wrong index can lose a signature but never invent one. Writers share one lock; readers
take none, and see a change at their next question.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.collected import (
    Collected,
    EvidenceFile,
    Origin,
    Refused,
    SignatureFile,
)
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.image import media_type_of
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    MAX_MANIFEST_BYTES,
    parse_signature_manifest,
)
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature
from enforcer.files import (
    FileError,
    FileMissingError,
    locked,
    make_folder,
    read_file,
    write_file,
)
from enforcer.owner import as_caller, as_owner
from enforcer.ports import CacheError
from enforcer.sources.cache.index import Index, forget, index_content, index_signature

MAX_COUNTED = 100_000  # files looked at for `size`: a second, on a slow disk


@dataclass(frozen=True, slots=True)
class Entry:
    """One cached signature, for people."""

    subject: str
    envelope: str
    manifest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much is cached: signatures, what they are about, and bytes of all files."""

    signatures: int
    subjects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Check:
    """What fsck found.

    Attributes:
        blobs: How many are good.
        damaged: Files that are not what their name says, and an unusable index.
        lost: Digests the index knows and no good blob has.
    """

    blobs: int
    damaged: tuple[str, ...]
    lost: tuple[str, ...]


class DiskCache:
    """A signature cache in one folder. Safe to share between threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs" / "sha256"
        self._index = Index(root)

    # -- reading: nothing is created, absence is an empty answer ---------------

    def manifest(self, digest: Digest) -> Content | None:
        """Return a manifest or index by its digest, or None; see `ports`."""
        is_here = os.path.lexists(self._place(digest))
        return self._content(digest) if is_here else None

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
        damage: CacheError | None = None
        for digest in (*naming, *listing):
            try:
                found.append(self._content(digest))
            except CacheError as error:
                damage = error
        if damage and not found and not manifests:
            raise damage
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

    def entries(self) -> Iterator[Entry]:
        """List every cached signature, by subject."""
        for row in self._index.entries():
            yield Entry(*row)

    def size(self) -> CacheSize:
        """Return how much there is, without reading any of it.

        Raises:
            CacheError: The index cannot be used.
        """
        signatures, subjects = self._index.counts()
        bytes_, files = 0, 0
        for folder, _, names in os.walk(self._root):
            files += len(names)
            for name in names:
                with contextlib.suppress(OSError):  # of a writer, gone again
                    bytes_ += Path(folder, name).lstat().st_size
            if files > MAX_COUNTED:
                break
        return CacheSize(signatures, subjects, bytes_)

    def absence(self) -> str:
        """Say that there is no cache, which may be a disk that is missing; else ""."""
        there = os.path.lexists(self._root / "index.db") and self._blobs.is_dir()
        return "" if there else f"there is no signature cache in {self._root}"

    # -- writing: one writer at a time ------------------------------------------

    def add(
        self,
        items: Iterable[Collected],
        *,
        origin: Origin | None = None,
    ) -> tuple[int, list[Refused]]:
        """Store contents and signatures; return how many signatures, and the refused.

        All of it or, where `items` raises, nothing. Blobs reach the disk before the
        index names them. Others who write wait meanwhile, LOCK_SECONDS at most: what
        comes slowly is gathered before.

        Raises:
            CacheError: The cache cannot be written; what it held, it still holds.
        """
        count, refused = 0, []
        with self._writing(), self._index.changing() as index:
            for item in _drawn(items):
                if isinstance(item, EvidenceFile):
                    continue  # the evidence store's
                if isinstance(item, Refused):
                    refused.append(item)
                    continue
                try:
                    count += self._add(index, item)
                except (MalformedError, TooLargeError) as error:
                    refused.append(_refusal(item, error))
        return count, refused

    def remove(self, digest: Digest) -> int:
        """Forget signatures about this subject, or this one signature; return how many.

        Manifests stay: they are only of use together with a signature.
        """
        with self._writing():
            with self._index.changing() as index:
                gone = forget(index, digest)
            # Only now: an index must never name what is gone.
            kept = self._index.digests()
            with _translated():
                for name in {Digest.parse(text) for row in gone for text in row} - kept:
                    self._place(name).unlink(missing_ok=True)
        return len(gone)

    def check(self, *, repair: bool) -> Check:
        """Hash every blob; with `repair`, put the damaged aside and index anew.

        Nothing is deleted: what is damaged goes to the folder `damaged`.

        Raises:
            CacheError: The cache cannot be read, or not written under `repair`.
        """
        if not self._root.exists():
            return Check(0, (), ())
        with self._writing():
            good, damaged = self._hash_all()
            lost: set[Digest] = set()
            try:
                lost = self._index.digests() - good
            except CacheError:
                damaged.append(self._root / "index.db")
            if repair:
                for path in damaged:
                    self._set_aside(path)
                self._rebuild(good)
        names, missing = (path.name for path in damaged), sorted(map(str, lost))
        return Check(len(good), tuple(names), tuple(missing))

    def _hash_all(self) -> tuple[set[Digest], list[Path]]:
        good, damaged = set(), []
        for path in sorted(self._blobs.iterdir()):
            try:
                digest = Digest.parse(f"sha256:{path.name}")
                self._read(digest, MAX_ENVELOPE_BYTES)
                good.add(digest)
            except EnforcerError:
                damaged.append(path)
        return good, damaged

    def _set_aside(self, path: Path) -> None:
        aside = self._root / "damaged"
        with _translated():
            make_folder(aside)
            if os.path.lexists(path):
                path.rename(aside / f"{path.name}.{secrets.token_hex(4)}")

    def _rebuild(self, digests: Iterable[Digest]) -> None:
        with self._index.changing(anew=True) as index:
            for digest in sorted(digests):
                raw = self._read(digest, MAX_ENVELOPE_BYTES)
                with contextlib.suppress(EnforcerError):  # an envelope, or half a pair
                    parsed = parse_signature_manifest(raw)
                    if parsed is None:
                        index_content(index, raw)
                    else:
                        envelope = parsed.envelope.digest
                        found = self._read(envelope, MAX_ENVELOPE_BYTES)
                        index_signature(index, SignatureFile(raw, found))

    def _add(self, index: sqlite3.Connection, item: SignatureFile | Content) -> int:
        if isinstance(item, Content):
            index_content(index, item.raw)
            self._write(item.raw)
            return 0
        index_signature(index, item)
        self._write(item.envelope)
        self._write(item.manifest)
        return 1

    def _stored(self, rows: Sequence[tuple[Digest, str]]) -> Iterator[StoredSignature]:
        """Read one after the other; a damaged one does not veto the others."""
        damage: CacheError | None = None
        good = 0
        for digest, media_type in rows:
            try:
                envelope = self._read(digest, MAX_ENVELOPE_BYTES)
            except CacheError as error:
                damage = error
                continue
            good += 1
            yield StoredSignature(digest, media_type, envelope)
        if damage and not good:
            raise damage

    def _content(self, digest: Digest) -> Content:
        raw = self._read(digest, MAX_MANIFEST_BYTES)
        try:
            return Content(media_type_of(raw), raw)
        except EnforcerError as error:
            raise _damage(f"holds no manifest under {digest.short}") from error

    def _read(self, digest: Digest, max_bytes: int) -> bytes:
        """Return a blob's bytes, hashed; lost or changed is an error, never a shrug."""
        try:
            raw = read_file(self._place(digest), max_bytes=max_bytes, follow=False)
        except FileMissingError:
            raise _damage(f"lost {digest.short}") from None
        except EnforcerError as error:
            raise _damage(f"cannot give {digest.short}: {error.what}") from error
        if not digest.matches(raw):
            raise _damage(f"holds other content under {digest.short}")
        return raw

    def _write(self, raw: bytes) -> None:
        """Store a blob unless it is there already, whole."""
        digest = Digest.of(raw)
        try:
            self._read(digest, len(raw))
        except CacheError:
            with _translated():
                write_file(self._place(digest), raw)

    def _place(self, digest: Digest) -> Path:
        return self._blobs / digest.hex

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with _translated():
                stack.enter_context(as_owner(self._root))
                make_folder(self._root)
                stack.enter_context(locked(self._root / "lock", wait=True))
                if not os.path.lexists(self._root / "blobs"):
                    with self._index.changing(anew=True):
                        pass  # before any blob: blobs without an index are damage
                make_folder(self._blobs)
                for leftover in self._blobs.glob(".tmp-*"):  # of a writer that died
                    with contextlib.suppress(OSError):
                        leftover.unlink()
            yield


def _drawn(items: Iterable[Collected]) -> Iterator[Collected]:
    """Take what is to be stored as whoever may read it, not as the cache's owner."""
    rest = iter(items)
    while True:
        with as_caller():
            item = next(rest, None)
        if item is None:
            return
        yield item


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (FileError, OSError) as error:
        raise CacheError(
            f"the signature cache cannot be written: {error}",
            remedy="Check the folder, its owner and the disk.",
        ) from error


def _damage(what: str) -> CacheError:
    return CacheError(
        f"the signature cache {what}",
        remedy="Run `enforcer cache fsck --repair` and import it again; suspect the "
        "disk, or somebody.",
        code=Code.CACHE_CORRUPT,
    )


def _refusal(item: SignatureFile | Content, error: EnforcerError) -> Refused:
    raw = item.raw if isinstance(item, Content) else item.manifest
    return Refused(str(Digest.of(raw)), f"{error.what} [{error.code}]")
