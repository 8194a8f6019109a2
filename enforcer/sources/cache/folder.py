"""One cache folder: its blobs, its index, and the one writer at a time."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.files import FileError, FileMissingError, locked, make_folder, sync_folder
from enforcer.owner import as_owner
from enforcer.ports import CacheError
from enforcer.sources.cache.blobs import BlobFolder, ChangedError, UnreadableError
from enforcer.sources.cache.database import Database
from enforcer.sources.cache.schema import named_among


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction of the index, and the blobs that go once it is committed."""

    index: Connection
    gone: list[Digest] = field(default_factory=list)


class CacheFolder:
    """Where a cache is, and how it is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobFolder(root)
        self.database = Database(root)

    def read(self, digest: Digest, max_bytes: int = MAX_ENVELOPE_BYTES) -> bytes:
        """Return a blob's bytes, hashed; lost or changed is a CacheError."""
        try:
            return self.blobs.read(digest, max_bytes)
        except FileMissingError:
            raise damage(f"lost {digest.short}") from None
        except UnreadableError as error:
            raise CacheError(
                f"the signature cache cannot give {digest.short}: {error.what}",
                remedy=error.remedy,
            ) from error
        except ChangedError as error:
            raise damage(f"holds other content under {digest.short}") from error
        except EnforcerError as error:
            why = f"cannot give {digest.short}: {error.what}"
            raise damage(why) from error

    @contextlib.contextmanager
    def writing(self, *, sound: bool = True) -> Iterator[None]:
        """Hold the lock as the folder's owner, what a dead writer left taken back.

        Unless `sound`, an index that cannot be asked about that is no error.

        Raises:
            CacheError: It cannot be written, or another has written for long.
        """
        with contextlib.ExitStack() as stack:
            with translated():
                stack.enter_context(as_owner(self.root))
                make_folder(self.root)
                stack.enter_context(locked(self.root / "lock", wait=True))
                self._make()
                try:
                    self.settle()
                except CacheError:
                    if sound:
                        raise
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[Change]:
        """Lend a transaction, `writing`. When the block raises, nothing has changed."""
        try:
            with self.database.changing() as index:
                change = Change(index)
                yield change
                with translated():
                    self.blobs.announce(change.gone)
        except BaseException:
            with contextlib.suppress(CacheError, OSError):  # else the next writer does
                self.settle()
            raise
        with translated():
            if change.gone:  # only now: an index must never name what is gone
                self.blobs.remove(change.gone)
                sync_folder(self.blobs.folder)
            self.blobs.settled()

    def has_gone(self, digest: Digest) -> bool:
        """Whether nobody speaks of a blob any more: it was removed meanwhile."""
        place = self.blobs.place(digest)
        return not os.path.lexists(place) and digest not in self._named([digest])

    def is_unsettled(self) -> bool:
        """Whether a write did not end, or has not yet."""
        return self.blobs.is_unsettled() or self.database.is_half_made()

    def settle(self) -> None:
        """Take back what a write that did not end has left."""
        if self.is_unsettled():
            with translated():
                self.database.remove_half_made()
                self.blobs.settle(self._named)

    def _named(self, digests: Sequence[Digest]) -> Collection[Digest]:
        return self.database.ask(lambda index: named_among(index, digests)) or ()

    def _make(self) -> None:
        """Make an index before any blob: blobs without one are damage."""
        if not os.path.lexists(self.root / "blobs"):
            with self.database.making() as made:
                self.database.put_in_place(made)
            make_folder(self.blobs.folder)
            sync_folder(self.root)
        make_folder(self.blobs.folder)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise CacheError for what the disk does not take."""
    try:
        yield
    except (FileError, OSError) as error:
        raise CacheError(
            f"the signature cache cannot be written: {error}",
            remedy="Check the folder, its owner and the disk.",
        ) from error


def damage(what: str) -> CacheError:
    """Say that the cache is not what it was."""
    return CacheError(
        f"the signature cache {what}",
        remedy="Run `enforcer cache fsck --repair` and import it again; suspect the "
        "disk, or somebody.",
        code=Code.CACHE_CORRUPT,
    )
