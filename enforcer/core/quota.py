"""How much of this host's disk something may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a signature cache may hold: bytes of its blobs and index, and blobs."""

    max_bytes: int = 1024**3
    max_files: int = 200_000


DEFAULT_QUOTA = Quota()
