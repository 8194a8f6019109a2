"""What the index is asked. What it says is a hint; the blobs decide."""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from sqlite3 import Connection

from enforcer.core.collected import Origin
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.turns import in_turns
from enforcer.sources.cache.database import Database
from enforcer.sources.cache.schema import FORMS, digest_of, raw

MAX_CONTENTS = 64  # manifests and indexes looked at for one image
MAX_CHILDREN = 4 * MAX_CONTENTS  # manifests whose indexes are looked for
PAGE = 500  # signatures that are listed at once
MAX_ORIGINS = 8  # places of one signature that are shown, the newest first

# Those with signatures first, so that others cannot crowd them out.
_NAMING = """
SELECT manifest FROM configs WHERE config = ? ORDER BY
EXISTS(SELECT 1 FROM targets WHERE digest = manifest) DESC, manifest LIMIT ?
"""
_LISTING = """
SELECT DISTINCT parent FROM lists WHERE child IN ({}) ORDER BY
EXISTS(SELECT 1 FROM targets WHERE digest = parent) DESC, parent LIMIT ?
"""
_TARGET = "SELECT id FROM targets WHERE digest = ? AND size = ? AND type = ?"
# Both stop at the limit, however many signatures there are: each walks an index.
_LIKELY = """
SELECT DISTINCT envelope, form FROM likely
WHERE target = ? AND certificate = ? ORDER BY envelope, form LIMIT ?
"""
_SIGNATURES = """
SELECT DISTINCT envelope, form FROM signatures WHERE target = ?
ORDER BY envelope, form LIMIT ?
"""
_TARGETS = """
SELECT digest, size, type, id FROM targets WHERE (digest, size, type) > (?, ?, ?)
ORDER BY digest, size, type LIMIT ?
"""
_OF_TARGET = """
SELECT envelope, form, manifest FROM signatures
WHERE target = ? AND (envelope, form, manifest) > (?, ?, ?)
ORDER BY envelope, form, manifest LIMIT ?
"""
_ORIGINS = """
SELECT place, at FROM origins JOIN records ON records.id = record
WHERE origins.digest = ? ORDER BY at DESC LIMIT ?
"""

_Row = tuple[bytes, int]
_Key = tuple[bytes, int, bytes]
_Target = tuple[bytes, int, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One cached signature, for people. Nobody vouches for where it is from."""

    subject: str
    envelope: str
    manifest: str
    media_type: str
    origins: tuple[Origin, ...] = ()


class Index:
    """The questions, and the file that answers them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def naming(self, config: Digest) -> list[Digest]:
        """Return manifests that name this configuration."""
        return self._digests(_NAMING, [raw(config)])

    def listing(self, children: Collection[Digest]) -> list[Digest]:
        """Return indexes that list one of these manifests."""
        values = [raw(child) for child in sorted(children)[:MAX_CHILDREN]]
        return self._digests(_LISTING.format(",".join("?" * len(values))), values)

    def signatures(
        self, subjects: Collection[Descriptor], trusted: Collection[Digest], limit: int
    ) -> list[tuple[Digest, str]]:
        """Return envelopes with their media types; see `ports` for the order."""
        certificates = [raw(one) for one in sorted(trusted)]

        def ask(index: Connection) -> list[tuple[Digest, str]]:
            rows = _signatures(index, subjects, certificates, limit)
            return [_signature(row) for row in rows]

        return self._database.ask(ask) or []

    def entries(self) -> Iterator[Entry]:
        """List every signature by subject; one that comes meanwhile may be in it."""
        last: _Target = (b"", 0, "")
        while page := self._database.ask(partial(_targets, last=last)) or []:
            for about, number in page:
                yield from self._entries_of(str(digest_of(about[0])), number)
            last = page[-1][0]

    def entries_about(self, subject: Digest) -> Iterator[Entry]:
        """List the signatures about one subject, by whatever media type and size."""
        query = "SELECT id FROM targets WHERE digest = ? ORDER BY size, type"

        def ask(index: Connection) -> list[int]:
            return [row[0] for row in index.execute(query, (raw(subject),))]

        for target in self._database.ask(ask) or []:
            yield from self._entries_of(str(subject), target)

    def _entries_of(self, subject: str, target: int) -> Iterator[Entry]:
        last: _Key = (b"", -1, b"")
        of_target = partial(_entries, subject=subject, target=target)
        while page := self._database.ask(partial(of_target, last=last)) or []:
            yield from (entry for _, entry in page)
            last = page[-1][0]

    def _digests(self, query: str, values: list[bytes]) -> list[Digest]:
        def ask(index: Connection) -> list[Digest]:
            rows = index.execute(query, (*values, MAX_CONTENTS))
            return [digest_of(row[0]) for row in rows]

        return self._database.ask(ask) or []


def _signatures(
    index: Connection,
    subjects: Collection[Descriptor],
    certificates: list[bytes],
    limit: int,
) -> list[_Row]:
    likely: dict[bytes, set[_Row]] = {}
    others: set[_Row] = set()
    for subject in subjects:
        about = (raw(subject.digest), subject.size, subject.media_type)
        for (target,) in index.execute(_TARGET, about).fetchall():
            others.update(index.execute(_SIGNATURES, (target, limit)))
            for certificate in certificates:
                rows = index.execute(_LIKELY, (target, certificate, limit))
                likely.setdefault(certificate, set()).update(rows)
    first = in_turns(_ordered(likely[name]) for name in certificates if name in likely)
    return [*first, *_ordered(others.difference(first))][:limit]


def _ordered(rows: set[_Row]) -> list[_Row]:
    """Sort by digest, then by media type: the same order wherever they are kept."""
    return sorted(rows, key=_signature)


def _signature(row: _Row) -> tuple[Digest, str]:
    envelope, form = row
    if form not in range(len(FORMS)):
        raise sqlite3.DatabaseError("a signature has no form")
    return digest_of(envelope), FORMS[form]


def _targets(index: Connection, last: _Target) -> list[tuple[_Target, int]]:
    rows = index.execute(_TARGETS, (*last, PAGE)).fetchall()
    return [((digest, size, type_), number) for digest, size, type_, number in rows]


def _entries(
    index: Connection, subject: str, target: int, last: _Key
) -> list[tuple[_Key, Entry]]:
    found = []
    for envelope, form, manifest in index.execute(
        _OF_TARGET, (target, *last, PAGE)
    ).fetchall():
        digest, media_type = _signature((envelope, form))
        entry = Entry(
            subject,
            str(digest),
            str(digest_of(manifest)),
            media_type,
            _origins(index, manifest),
        )
        found.append(((envelope, form, manifest), entry))
    return found


def _origins(index: Connection, manifest: bytes) -> tuple[Origin, ...]:
    rows = index.execute(_ORIGINS, (manifest, MAX_ORIGINS)).fetchall()
    try:
        return tuple(Origin(str(place), parse_rfc3339(str(at))) for place, at in rows)
    except MalformedError:
        raise sqlite3.DatabaseError("an origin has no time") from None
