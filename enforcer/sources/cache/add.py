"""Taking things into the cache: all that a source has, or nothing."""

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from sqlite3 import Connection

from enforcer.core.collected import (
    Collected,
    EvidenceFile,
    Origin,
    Refused,
    SignatureFile,
)
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, TooLargeError
from enforcer.core.quota import Quota
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.subject import Content
from enforcer.owner import as_caller
from enforcer.sources.cache.crowds import prove
from enforcer.sources.cache.folder import CacheFolder, translated
from enforcer.sources.cache.origin import MAX_BROUGHT, OriginRecord, build_record
from enforcer.sources.cache.schema import (
    Entered,
    enter_blobs,
    enter_content,
    enter_origin,
    enter_signature,
    named_among,
    raw,
)
from enforcer.sources.cache.usage import require_room

BATCH_ITEMS = 1_000  # one sync of the disk for all of these
BATCH_BYTES = 32 * 1024 * 1024  # and no more than this in memory, and one item
AGAIN_SECONDS = 24 * 3600  # what comes from the same place sooner is not written down

_KNOWN = """
SELECT origins.digest FROM origins JOIN records ON records.id = origins.record
WHERE records.place = ? AND records.at > ? AND origins.digest = ?
"""


_Kept = Content | SignatureFile | Refused  # evidence is the evidence store's


@dataclass(slots=True)
class _Batch:
    """What some items come to, entered and not yet written."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    signatures: list[Entered] = field(default_factory=list)
    brought: list[Digest] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def add(
    folder: CacheFolder, items: Iterable[Collected], origin: Origin | None, quota: Quota
) -> tuple[int, list[Refused]]:
    """Store what comes; see `DiskCache.add`."""
    count, refused = 0, list[Refused]()
    with folder.writing(), folder.changing() as change:
        for some in _batches(items):
            batch = _enter(change.index, some)
            known = named_among(change.index, list(batch.blobs))
            if origin and batch.brought:
                _note(change.index, batch, origin, known)
            sizes = ((digest, len(blob)) for digest, blob in batch.blobs.items())
            if enter_blobs(change.index, sizes):  # before one of them is written
                require_room(change.index, quota)
            with translated():
                folder.blobs.write(
                    {
                        digest: blob
                        for digest, blob in batch.blobs.items()
                        if digest not in known or folder.blobs.lacks(digest, blob)
                    }
                )
            prove(change.index, folder, batch.signatures)
            count += len(batch.signatures)
            refused += batch.refused
    return count, refused


def _enter(index: Connection, items: Iterable[_Kept]) -> _Batch:
    batch = _Batch()
    for item in items:
        if isinstance(item, Refused):
            batch.refused.append(item)
            continue
        try:
            _enter_one(index, batch, item)
        except (MalformedError, TooLargeError) as error:
            bytes_ = item.raw if isinstance(item, Content) else item.manifest
            why = f"{error.what} [{error.code}]"
            batch.refused.append(Refused(str(Digest.of(bytes_)), why))
    return batch


def _enter_one(index: Connection, batch: _Batch, item: Content | SignatureFile) -> None:
    if isinstance(item, Content):
        digest = enter_content(index, item.raw)
        batch.blobs[digest] = item.raw
    else:
        entered = enter_signature(index, item)
        digest = entered.manifest
        batch.signatures.append(entered)
        batch.blobs[digest] = item.manifest
        batch.blobs[entered.envelope] = item.envelope
    batch.brought.append(digest)


def _note(
    index: Connection, batch: _Batch, origin: Origin, known: Collection[Digest]
) -> None:
    """Add a record of where these are from, unless there is one of today."""
    record = build_record(origin, ())
    since = format_rfc3339(origin.at - timedelta(seconds=AGAIN_SECONDS))
    new = [
        digest
        for digest in dict.fromkeys(batch.brought)
        if digest not in known
        or not index.execute(_KNOWN, (record.place, since, raw(digest))).fetchone()
    ]
    for start in range(0, len(new), MAX_BROUGHT):
        made: OriginRecord = build_record(origin, new[start : start + MAX_BROUGHT])
        batch.blobs[enter_origin(index, made)] = made.raw


def _batches(items: Iterable[Collected]) -> Iterator[list[_Kept]]:
    """Take what is to be stored as whoever may read it, not as the cache's owner."""
    rest = (item for item in items if not isinstance(item, EvidenceFile))
    while True:
        with as_caller():
            batch = _draw(rest)
        if not batch:
            return
        yield batch


def _draw(rest: Iterator[_Kept]) -> list[_Kept]:
    batch, size = list[_Kept](), 0
    for item in itertools.islice(rest, BATCH_ITEMS):
        batch.append(item)
        size += _bytes(item)
        if size > BATCH_BYTES:
            break
    return batch


def _bytes(item: _Kept) -> int:
    if isinstance(item, Refused):
        return 0
    if isinstance(item, Content):
        return len(item.raw)
    return len(item.manifest) + len(item.envelope)
