"""How much is cached, and how much may be."""

from dataclasses import dataclass
from sqlite3 import Connection

from enforcer.core.codes import Code
from enforcer.core.quota import Quota
from enforcer.ports import CacheError

_COUNTS = """
SELECT (SELECT COUNT(*) FROM (SELECT DISTINCT envelope FROM signatures)),
       (SELECT COUNT(*) FROM (SELECT DISTINCT digest FROM targets))
"""


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much is cached.

    Attributes:
        signatures: How many envelopes.
        subjects: What these are about.
        bytes: Of all blobs and the index.
        files: How many blobs.
    """

    signatures: int
    subjects: int
    bytes: int
    files: int


EMPTY = CacheSize(0, 0, 0, 0)


def size_of(index: Connection) -> CacheSize:
    """Return how much there is."""
    signatures, subjects = index.execute(_COUNTS).fetchone()
    files, bytes_ = _used(index)
    return CacheSize(signatures, subjects, bytes_, files)


def require_room(index: Connection, quota: Quota) -> None:
    """Return if what the index names is within the quota, else raise CacheError."""
    files, bytes_ = _used(index)
    if files <= quota.max_files and bytes_ <= quota.max_bytes:
        return
    what = (
        f"{files} files, and cache.maxFiles is {quota.max_files}"
        if files > quota.max_files
        else f"{bytes_} bytes, and cache.maxBytes is {quota.max_bytes}"
    )
    raise CacheError(
        f"the signature cache is full: with this it would have at least {what}; "
        "nothing of it is stored",
        remedy="`enforcer cache gc` drops what no image here needs; or allow more "
        "in enforcer.yaml.",
        code=Code.CACHE_FULL,
    )


def _used(index: Connection) -> tuple[int, int]:
    """Return how many blobs there are, and bytes of them and of the index."""
    files, bytes_ = index.execute("SELECT files, bytes FROM usage").fetchone()
    (pages,) = index.execute("PRAGMA page_count").fetchone()
    (size,) = index.execute("PRAGMA page_size").fetchone()
    return files, bytes_ + pages * size
