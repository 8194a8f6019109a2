"""The signature cache: OCI blobs on disk, and an index that can be made again.

`blobs/sha256/HEX` holds manifests, indexes, signature manifests and envelopes;
`index.db` only says where to look. Every blob is hashed again when it is read, so a
wrong index can lose a signature but never invent one. Writers share one lock; readers
take none, and see a change at their next question.
"""

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.collected import Collected, Refused, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.envelope.jws import untrusted_chain
from enforcer.core.errors import EnforcerError
from enforcer.core.image import Index, media_type_of, parse_manifest_or_index
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    MAX_MANIFEST_BYTES,
    parse_signature_manifest,
)
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature
from enforcer.files import (
    FileMissingError,
    locked,
    make_folder,
    read_file,
    write_file,
)
from enforcer.ports import CacheError

MAX_CONTENTS = 64  # manifests and indexes looked at for one image
BUSY_SECONDS = 1.0  # how long a reader waits for SQLite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS contents(
    digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, config TEXT);
CREATE INDEX IF NOT EXISTS contents_by_config ON contents(config);
CREATE TABLE IF NOT EXISTS lists(
    parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY(child, parent));
CREATE TABLE IF NOT EXISTS signatures(
    manifest TEXT PRIMARY KEY, envelope TEXT NOT NULL, media_type TEXT NOT NULL,
    subject TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS signatures_by_subject ON signatures(subject);
CREATE TABLE IF NOT EXISTS chains(
    envelope TEXT NOT NULL, certificate TEXT NOT NULL,
    PRIMARY KEY(envelope, certificate));
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cached signature, for people."""

    subject: str
    envelope: str
    manifest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Check:
    """What fsck found: blobs read, and the damaged ones."""

    blobs: int
    damaged: tuple[str, ...]


class DiskCache:
    """A signature cache in one folder. Safe to share between threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs" / "sha256"

    # -- reading: nothing is created, absence is an empty answer ---------------

    def manifest(self, digest: Digest) -> Content | None:
        """Return a manifest or index by its digest, or None; see `ports`."""
        rows = self._ask(
            "SELECT digest, media_type FROM contents WHERE digest = ?", [str(digest)]
        )
        return next(iter(self._contents(rows)), None)

    def manifests_about(
        self, config: Digest, manifests: Collection[Digest]
    ) -> Sequence[Content]:
        """Return manifests naming `config`, and indexes listing them; see `ports`."""
        naming = self._ask(
            "SELECT digest, media_type FROM contents WHERE config = ? "
            "ORDER BY digest LIMIT ?",
            [str(config), MAX_CONTENTS],
        )
        children = sorted({str(d) for d in manifests} | {row[0] for row in naming})
        marks = ",".join("?" * len(children))
        listing = self._ask(
            "SELECT DISTINCT digest, media_type FROM contents JOIN lists "  # noqa: S608
            f"ON digest = parent WHERE child IN ({marks}) ORDER BY digest LIMIT ?",
            [*children, MAX_CONTENTS],
        )
        return self._contents((*naming, *listing))

    def signatures_about(
        self, targets: Collection[Digest], *, trusted: Collection[Digest], limit: int
    ) -> tuple[Sequence[StoredSignature], bool]:
        """Return the likeliest signatures first, and whether there are more."""
        about = sorted(str(target) for target in targets)
        anchors = sorted(str(anchor) for anchor in trusted)
        rows = self._ask(
            "SELECT DISTINCT envelope, media_type, EXISTS(SELECT 1 FROM chains c "  # noqa: S608
            "WHERE c.envelope = s.envelope AND certificate IN "
            f"({','.join('?' * len(anchors))})) AS likely FROM signatures s "
            f"WHERE subject IN ({','.join('?' * len(about))}) "
            "ORDER BY likely DESC, envelope LIMIT ?",
            [*anchors, *about, limit + 1],
        )
        found: list[StoredSignature] = []
        damage: CacheError | None = None
        for row in rows[:limit]:
            digest = Digest.parse(row[0])
            try:
                envelope = self._read(digest, MAX_ENVELOPE_BYTES)
            except CacheError as error:
                damage = error  # one damaged signature must not veto a good one
            else:
                found.append(StoredSignature(digest, row[1], envelope))
        if damage and not found:
            raise damage
        return found, len(rows) > limit

    def entries(self) -> Iterator[Entry]:
        """List every cached signature, by subject."""
        for row in self._ask(
            "SELECT subject, envelope, manifest, media_type FROM signatures "
            "ORDER BY subject, envelope",
            [],
        ):
            yield Entry(*row)

    # -- writing: one writer at a time ------------------------------------------

    def add(self, items: Iterable[Collected]) -> tuple[int, list[Refused]]:
        """Store contents and signatures; return how many signatures, and the refused.

        Blobs reach the disk before the index names them, so a crash in between
        leaves at most blobs that `check` will index.

        Raises:
            CacheError: The cache cannot be written.
        """
        count, refused = 0, []
        with self._writing() as database:
            for item in items:
                if isinstance(item, Refused):
                    refused.append(item)
                elif isinstance(item, SignatureFile):
                    count += self._add_signature(database, item)
                else:
                    self._add_content(database, item)
        return count, refused

    def remove(self, digest: Digest) -> int:
        """Forget signatures about this subject, or this one signature; return how many.

        Manifests stay: they are only of use together with a signature.
        """
        with self._writing() as database:
            rows = database.execute(
                "SELECT manifest, envelope FROM signatures "
                "WHERE ? IN (subject, envelope, manifest)",
                [str(digest)],
            ).fetchall()
            for manifest, envelope in rows:
                database.execute(
                    "DELETE FROM signatures WHERE manifest = ?", [manifest]
                )
                (self._blobs / Digest.parse(manifest).hex).unlink(missing_ok=True)
                self._forget_envelope(database, envelope)
        return len(rows)

    def check(self, *, repair: bool) -> Check:
        """Hash every blob; with `repair`, drop the damaged and build the index anew.

        Raises:
            CacheError: The cache cannot be read, or not written under `repair`.
        """
        damaged, good = [], []
        for path in sorted(self._blobs.glob("*")) if self._blobs.is_dir() else ():
            try:
                digest = Digest.parse(f"sha256:{path.name}")
                self._read(digest, MAX_ENVELOPE_BYTES)
                good.append(digest)
            except EnforcerError:
                damaged.append(path.name)
        if repair:
            for name in damaged:
                (self._blobs / name).unlink()
            self._rebuild(good)
        return Check(len(good), tuple(damaged))

    # -- inside ------------------------------------------------------------------

    def _rebuild(self, digests: Iterable[Digest]) -> None:
        for name in ("index.db", "index.db-wal", "index.db-shm"):
            (self._root / name).unlink(missing_ok=True)
        with self._writing() as database:
            for digest in digests:
                raw = self._read(digest, MAX_ENVELOPE_BYTES)
                with contextlib.suppress(EnforcerError):
                    self._index_blob(database, raw)

    def _index_blob(self, database: sqlite3.Connection, raw: bytes) -> None:
        """Index a blob as what it is; an envelope is indexed by its manifest."""
        parsed = parse_signature_manifest(raw)
        if parsed is not None:
            envelope = self._read(parsed.envelope.digest, MAX_ENVELOPE_BYTES)
            self._index_signature(database, raw, envelope)
            return
        self._index_content(database, Content(media_type_of(raw), raw))

    def _add_content(self, database: sqlite3.Connection, content: Content) -> None:
        self._write(content.raw)
        self._index_content(database, content)

    def _index_content(self, database: sqlite3.Connection, content: Content) -> None:
        parsed = parse_manifest_or_index(content.raw)
        digest = str(Digest.of(content.raw))
        config = None if isinstance(parsed, Index) else str(parsed.config.digest)
        database.execute(
            "INSERT OR REPLACE INTO contents VALUES(?,?,?)",
            [digest, content.media_type, config],
        )
        if isinstance(parsed, Index):
            database.executemany(
                "INSERT OR IGNORE INTO lists VALUES(?,?)",
                [(digest, str(entry.manifest.digest)) for entry in parsed.entries],
            )

    def _add_signature(
        self, database: sqlite3.Connection, signature: SignatureFile
    ) -> int:
        self._write(signature.envelope)
        self._write(signature.manifest)
        return self._index_signature(database, signature.manifest, signature.envelope)

    def _index_signature(
        self, database: sqlite3.Connection, manifest: bytes, envelope: bytes
    ) -> int:
        parsed = parse_signature_manifest(manifest)
        if parsed is None:
            return 0
        digest = str(parsed.envelope.digest)
        database.execute(
            "INSERT OR REPLACE INTO signatures VALUES(?,?,?,?)",
            [
                str(Digest.of(manifest)),
                digest,
                parsed.envelope.media_type,
                str(parsed.subject.digest),
            ],
        )
        # A hint for the order only: nothing here is verified, nothing trusts it.
        database.executemany(
            "INSERT OR IGNORE INTO chains VALUES(?,?)",
            [(digest, str(Digest.of(der))) for der in untrusted_chain(envelope)],
        )
        return 1

    def _forget_envelope(self, database: sqlite3.Connection, envelope: str) -> None:
        used = database.execute(
            "SELECT 1 FROM signatures WHERE envelope = ?", [envelope]
        ).fetchone()
        if used is None:
            database.execute("DELETE FROM chains WHERE envelope = ?", [envelope])
            (self._blobs / Digest.parse(envelope).hex).unlink(missing_ok=True)

    def _contents(self, rows: Iterable[Sequence[str]]) -> list[Content]:
        return [
            Content(media_type, self._read(Digest.parse(digest), MAX_MANIFEST_BYTES))
            for digest, media_type in rows
        ]

    def _read(self, digest: Digest, max_bytes: int) -> bytes:
        """Return a blob's bytes, hashed; lost or changed is an error, never a shrug."""
        try:
            raw = read_file(self._blobs / digest.hex, max_bytes=max_bytes, follow=False)
        except FileMissingError:
            raise CacheError(
                f"the signature cache lost {digest.short}",
                remedy="Run `enforcer cache fsck --repair` and import it again.",
                code=Code.CACHE_CORRUPT,
            ) from None
        if not digest.matches(raw):
            raise CacheError(
                f"the signature cache holds other content under {digest.short}",
                remedy="Run `enforcer cache fsck --repair` and import it again; "
                "suspect the disk, or somebody.",
                code=Code.CACHE_CORRUPT,
            )
        return raw

    def _write(self, raw: bytes) -> None:
        path = self._blobs / Digest.of(raw).hex
        if not path.exists():
            write_file(path, raw)

    def _ask(self, query: str, values: Sequence[str | int]) -> list[tuple[str, ...]]:
        if not (self._root / "index.db").exists():
            return []
        with self._connection(writable=False) as database:
            return database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        make_folder(self._blobs)
        with (
            locked(self._root / "lock", wait=True),
            self._connection(writable=True) as database,
        ):
            for leftover in self._blobs.glob(".tmp-*"):  # of a writer that died
                leftover.unlink(missing_ok=True)
            yield database
            database.commit()

    @contextlib.contextmanager
    def _connection(self, *, writable: bool) -> Iterator[sqlite3.Connection]:
        path = self._root / "index.db"
        try:
            with contextlib.closing(
                sqlite3.connect(path, timeout=BUSY_SECONDS)
            ) as database:
                database.execute("PRAGMA trusted_schema = OFF")
                if writable:
                    database.execute("PRAGMA journal_mode = WAL")
                    database.execute("PRAGMA synchronous = FULL")
                    database.executescript(_SCHEMA)
                    path.chmod(0o600)
                else:
                    database.execute("PRAGMA query_only = ON")
                yield database
        except (sqlite3.Error, OSError) as error:
            raise CacheError(
                f"the index of the signature cache, {path}, cannot be used: {error}",
                remedy="Run `enforcer cache fsck --repair`; nothing is lost by it.",
            ) from error
