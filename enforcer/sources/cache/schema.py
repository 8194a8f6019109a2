"""The tables of `index.db`, and how what is cached is entered into them.

Digests are bytes: 32 of sha256, 48 of sha384, 64 of sha512. All of it can be made again
from the blobs. Nothing here commits, or knows where the file is.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enforcer.core import image
from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.signature_manifest import (
    COSE_MEDIA_TYPE,
    JWS_MEDIA_TYPE,
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.sources.cache.origin import OriginRecord

FORMS = (JWS_MEDIA_TYPE, COSE_MEDIA_TYPE)  # `form` is a place in this list
MAX_PARAMETERS = 30_000  # of one statement; SQLite has room for 32766

# Every blob that a row still speaks of; what is none of these may go.
_MANIFESTS = (
    "SELECT manifest FROM signatures UNION ALL SELECT manifest FROM configs "
    "UNION ALL SELECT parent FROM lists"
)
_NAMED = (
    f"{_MANIFESTS} UNION ALL SELECT envelope FROM signatures "  # noqa: S608
    "UNION ALL SELECT digest FROM records"
)
_UNNAMED = (
    (
        "likely",
        "(target, envelope, form) NOT IN "
        "(SELECT target, envelope, form FROM signatures)",
    ),
    ("targets", "id NOT IN (SELECT target FROM signatures)"),
    (
        "records",
        f"id NOT IN (SELECT record FROM origins WHERE digest IN ({_MANIFESTS}))",  # noqa: S608
    ),
    ("origins", "record NOT IN (SELECT id FROM records)"),
)
_HASH = re.compile("[0-9a-f]{64}")
_ALGORITHMS = {32: "sha256", 48: "sha384", 64: "sha512"}

# A target is what signatures are about. `likely` says which certificates the chain of
# one has: a hint for the order only, found anew at every decision. It is what the
# manifest claims; of a crowded target, what the envelope proves (see `crowds`).
_TABLES = (
    "targets(id INTEGER PRIMARY KEY, digest BLOB, size INTEGER, type TEXT, "
    "crowded INTEGER, UNIQUE(digest, size, type))",
    "signatures(target INTEGER, envelope BLOB, form INTEGER, manifest BLOB, "
    "PRIMARY KEY(target, envelope, form, manifest)) WITHOUT ROWID",
    "likely(target INTEGER, certificate BLOB, envelope BLOB, form INTEGER, "
    "PRIMARY KEY(target, certificate, envelope, form)) WITHOUT ROWID",
    "configs(config BLOB, manifest BLOB, PRIMARY KEY(config, manifest)) WITHOUT ROWID",
    "lists(child BLOB, parent BLOB, PRIMARY KEY(child, parent)) WITHOUT ROWID",
    "records(id INTEGER PRIMARY KEY, digest BLOB UNIQUE, place TEXT, at TEXT)",
    "origins(digest BLOB, record INTEGER, PRIMARY KEY(digest, record)) WITHOUT ROWID",
    "blobs(digest BLOB PRIMARY KEY, size INTEGER) WITHOUT ROWID",
    "usage(files INTEGER, bytes INTEGER)",
)
SCHEMA = (
    *(f"CREATE TABLE {table}" for table in _TABLES),
    "CREATE TRIGGER added AFTER INSERT ON blobs BEGIN UPDATE usage SET "
    "files = files + 1, bytes = bytes + NEW.size; END",
    "CREATE TRIGGER removed AFTER DELETE ON blobs BEGIN UPDATE usage SET "
    "files = files - 1, bytes = bytes - OLD.size; END",
)


@dataclass(frozen=True, slots=True)
class Entered:
    """A signature in the index: the number of its target, and its two blobs."""

    target: int
    envelope: Digest
    form: int
    manifest: Digest


def create(index: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    for statement in SCHEMA:
        index.execute(statement)
    index.execute("INSERT INTO usage VALUES(0, 0)")


def raw(digest: Digest) -> bytes:
    """Return a digest as the tables have it."""
    return bytes.fromhex(digest.hex)


def digest_of(value: object) -> Digest:
    """Return the digest a table has, or raise sqlite3.DatabaseError."""
    algorithm = _ALGORITHMS.get(len(value)) if isinstance(value, bytes) else None
    if not isinstance(value, bytes) or algorithm is None:
        raise sqlite3.DatabaseError("a value is no digest")
    return Digest(algorithm, value.hex())


def enter_content(index: sqlite3.Connection, content: bytes) -> Digest:
    """Enter a manifest or an index; what is neither is a MalformedError."""
    parsed = image.parse_manifest_or_index(content)
    digest = Digest.of(content)
    if isinstance(parsed, image.Index):
        rows = [(raw(entry.manifest.digest), raw(digest)) for entry in parsed.entries]
        index.executemany("INSERT OR IGNORE INTO lists VALUES(?,?)", rows)
    else:
        row = (raw(parsed.config.digest), raw(digest))
        index.execute("INSERT OR IGNORE INTO configs VALUES(?,?)", row)
    return digest


def enter_signature(index: sqlite3.Connection, signature: SignatureFile) -> "Entered":
    """Enter a signature; MalformedError where manifest and envelope do not fit.

    Which certificates it has is what its manifest claims, until its target is crowded.
    """
    parsed = _parse_pair(signature)
    target, crowded = _target(index, parsed.subject)
    form = FORMS.index(parsed.envelope.media_type)
    entered = Entered(
        target, parsed.envelope.digest, form, Digest.of(signature.manifest)
    )
    index.execute(
        "INSERT OR IGNORE INTO signatures VALUES(?,?,?,?)",
        (target, raw(entered.envelope), form, raw(entered.manifest)),
    )
    if not crowded:
        claimed = map(bytes.fromhex, filter(_HASH.fullmatch, parsed.thumbprints))
        enter_likely(index, entered, claimed)
    return entered


def enter_likely(
    index: sqlite3.Connection, entered: "Entered", certificates: Iterable[bytes]
) -> None:
    """Enter the certificates (sha256 of DER) of the chain of a signature."""
    index.executemany(
        "INSERT OR IGNORE INTO likely VALUES(?,?,?,?)",
        [
            (entered.target, certificate, raw(entered.envelope), entered.form)
            for certificate in certificates
        ],
    )


def enter_origin(index: sqlite3.Connection, record: OriginRecord) -> Digest:
    """Enter where some blobs came from."""
    digest = Digest.of(record.raw)
    row = (raw(digest), record.place, record.at_text)
    index.execute("INSERT OR IGNORE INTO records(digest, place, at) VALUES(?,?,?)", row)
    (number,) = index.execute(
        "SELECT id FROM records WHERE digest = ?", row[:1]
    ).fetchone()
    rows = [(raw(each), number) for each in record.brought]
    index.executemany("INSERT OR IGNORE INTO origins VALUES(?,?)", rows)
    return digest


def enter_blobs(index: sqlite3.Connection, sizes: Iterable[tuple[Digest, int]]) -> int:
    """Name blobs, and return how many of them are new."""
    rows = [(raw(digest), size) for digest, size in sizes]
    return index.executemany("INSERT OR IGNORE INTO blobs VALUES(?,?)", rows).rowcount


def named_among(index: sqlite3.Connection, digests: Sequence[Digest]) -> set[Digest]:
    """Return those of some digests that blobs of the index have."""
    found: set[Digest] = set()
    for start in range(0, len(digests), MAX_PARAMETERS):
        some = digests[start : start + MAX_PARAMETERS]
        marks = ",".join("?" * len(some))
        rows = index.execute(
            f"SELECT digest FROM blobs WHERE digest IN ({marks})",  # noqa: S608
            [raw(digest) for digest in some],
        )
        found.update(digest_of(row[0]) for row in rows)
    return found


def drop_unnamed(index: sqlite3.Connection) -> list[Digest]:
    """Take out what no row speaks of any more; return the blobs that may go."""
    for table, condition in _UNNAMED:
        index.execute(f"DELETE FROM {table} WHERE {condition}")  # noqa: S608 - ours
    gone = index.execute(
        f"DELETE FROM blobs WHERE digest NOT IN ({_NAMED}) RETURNING digest"  # noqa: S608
    ).fetchall()
    return [digest_of(row[0]) for row in gone]


def _target(index: sqlite3.Connection, about: Descriptor) -> tuple[int, bool]:
    row = (raw(about.digest), about.size, about.media_type)
    index.execute("INSERT OR IGNORE INTO targets VALUES(NULL,?,?,?,0)", row)
    number, crowded = index.execute(
        "SELECT id, crowded FROM targets WHERE digest = ? AND size = ? AND type = ?",
        row,
    ).fetchone()
    return int(number), bool(crowded)


def _parse_pair(signature: SignatureFile) -> SignatureManifest:
    parsed = parse_signature_manifest(signature.manifest)
    media_type = parsed.envelope.media_type if parsed else ""
    held = Descriptor.of(media_type, signature.envelope)
    if parsed is None or parsed.envelope != held:
        raise MalformedError(
            f"signature manifest {Digest.of(signature.manifest)} does not name its "
            "envelope by size and sha256",
            remedy="Sign again.",
        )
    return parsed
