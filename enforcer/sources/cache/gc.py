"""What may go from the cache: all that is about no image on this host, and is not new.

An image is here if an engine has anything of it by digest: its configuration (all that
Docker's own store knows), its manifest, or its index. Needed is what is about any of
these, about a manifest that names such a configuration, about an index that lists such
a manifest, or about a manifest that such an index lists.
"""

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from sqlite3 import Connection

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.sources.cache.folder import CacheFolder, translated
from enforcer.sources.cache.schema import digest_of, drop_unnamed, named_among, raw

KEEP_SECONDS = 30 * 24 * 3600  # since the last import: a stick comes before its image
CHUNK = 10_000  # names that are looked up at once

_NEEDED = (
    "CREATE TEMP TABLE needed(digest BLOB PRIMARY KEY) WITHOUT ROWID",
    "INSERT INTO needed SELECT digest FROM present",
    "INSERT OR IGNORE INTO needed SELECT child FROM lists "
    "JOIN present ON present.digest = lists.parent",
    "INSERT OR IGNORE INTO needed SELECT manifest FROM configs "
    "JOIN present ON present.digest = configs.config",
    "INSERT OR IGNORE INTO needed SELECT parent FROM lists "
    "JOIN needed ON needed.digest = lists.child",
)
_SIGNATURES = """
SELECT target, envelope, form, manifest FROM signatures
JOIN targets ON targets.id = signatures.target
WHERE targets.digest NOT IN (SELECT digest FROM needed)
"""
_WITH = """
DELETE FROM signatures WHERE envelope = :digest OR manifest = :digest
OR target IN (SELECT id FROM targets WHERE digest = :digest)
"""
# Of use is what a signature is about, and what an index lists that one is about.
_CONTENTS = """
SELECT digest FROM (SELECT manifest AS digest FROM configs UNION
                    SELECT parent AS digest FROM lists) AS contents
WHERE digest NOT IN (SELECT digest FROM targets)
AND NOT EXISTS (SELECT 1 FROM lists JOIN targets ON targets.digest = lists.parent
                WHERE lists.child = contents.digest)
"""
_USELESS = (
    "DELETE FROM configs WHERE manifest IN (SELECT digest FROM useless)",
    "DELETE FROM lists WHERE parent IN (SELECT digest FROM useless)",
)
# A record none of whose manifests has it as the newest from that place.
_STALE = """
DELETE FROM records WHERE id NOT IN (
  SELECT records.id FROM origins JOIN records ON records.id = origins.record
  WHERE NOT EXISTS (
    SELECT 1 FROM origins AS other JOIN records AS newer ON newer.id = other.record
    WHERE other.digest = origins.digest AND newer.place = records.place
    AND newer.at > records.at))
"""


@dataclass(frozen=True, slots=True)
class Gone:
    """What was dropped, or would be.

    Attributes:
        signatures: How many, about what is not here.
        contents: Manifests and indexes that no signature needs.
        strays: Blobs that the index does not know.
        files: All blobs, and `bytes` what they have.
    """

    signatures: int
    contents: int
    strays: int
    files: int
    bytes: int


class _DryRunError(Exception):
    """Takes the transaction back."""

    def __init__(self, found: Gone) -> None:
        self.found = found


def collect(
    folder: CacheFolder,
    present: Collection[Digest],
    *,
    keep_seconds: float,
    dry_run: bool,
) -> Gone:
    """Drop what is not needed; see `DiskCache.gc`."""
    oldest = time.time() - keep_seconds
    with folder.writing():
        try:
            with folder.changing() as change:
                counts = _forget(change.index, folder, present, oldest)
                strays = _strays(change.index, folder, oldest)
                gone = [*drop_unnamed(change.index), *strays]
                bytes_ = sum(_size(folder, digest) for digest in gone)
                found = Gone(*counts, len(strays), len(gone), bytes_)
                if dry_run:
                    raise _DryRunError(found)
                change.gone.extend(gone)
        except _DryRunError as dry:
            return dry.found
    return found


def forget(folder: CacheFolder, digest: Digest) -> int:
    """Take out signatures with or about a digest; see `DiskCache.remove`."""
    wanted = {"digest": raw(digest)}
    with folder.writing(), folder.changing() as change:
        gone = change.index.execute(_WITH, wanted).rowcount
        change.gone.extend(drop_unnamed(change.index))
    return gone


def _forget(
    index: Connection, folder: CacheFolder, present: Collection[Digest], oldest: float
) -> tuple[int, int]:
    index.execute("CREATE TEMP TABLE present(digest BLOB PRIMARY KEY) WITHOUT ROWID")
    rows = ((raw(digest),) for digest in present)
    index.executemany("INSERT OR IGNORE INTO present VALUES(?)", rows)
    for statement in _NEEDED:
        index.execute(statement)
    signatures = [
        row
        for row in index.execute(_SIGNATURES).fetchall()
        if _is_old(folder, row[3], oldest)
    ]
    index.executemany(
        "DELETE FROM signatures WHERE target = ? AND envelope = ? AND form = ? "
        "AND manifest = ?",
        signatures,
    )
    index.execute("DELETE FROM targets WHERE id NOT IN (SELECT target FROM signatures)")
    contents = [
        row
        for row in index.execute(_CONTENTS).fetchall()
        if _is_old(folder, row[0], oldest)
    ]
    index.execute("CREATE TEMP TABLE useless(digest BLOB PRIMARY KEY) WITHOUT ROWID")
    index.executemany("INSERT INTO useless VALUES(?)", contents)
    for statement in _USELESS:  # one pass over each table, however many there are
        index.execute(statement)
    index.execute(_STALE)
    return len(signatures), len(contents)


def _is_old(folder: CacheFolder, digest: object, oldest: float) -> bool:
    """Whether a blob was last imported before; one that is lost is of no use."""
    with translated():
        try:
            status = folder.blobs.place(digest_of(digest)).lstat()
        except FileNotFoundError:
            return True
    return status.st_mtime < oldest


def _strays(index: Connection, folder: CacheFolder, oldest: float) -> list[Digest]:
    """Return old blobs that the index does not name; it may have lost the new ones."""
    found: list[Digest] = []
    names = _digests(folder.blobs.names())
    while chunk := list(islice(names, CHUNK)):
        named = named_among(index, chunk)
        found += [
            digest
            for digest in chunk
            if digest not in named and _is_old(folder, raw(digest), oldest)
        ]
    return found


def _digests(names: Iterable[str]) -> Iterator[Digest]:
    for name in names:
        with contextlib.suppress(
            EnforcerError
        ):  # `fsck` tells of what has no such name
            yield Digest.parse(f"sha256:{name}")


def _size(folder: CacheFolder, digest: Digest) -> int:
    with contextlib.suppress(OSError):
        return folder.blobs.place(digest).lstat().st_size
    return 0
