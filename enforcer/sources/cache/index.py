"""`index.db`: which cached blobs are about which digest. It can be made again.

SQLite in a file that is never changed, only replaced as a whole. So readers need
neither lock nor write permission, a crash or a full disk leaves the old index, and no
reader ever waits for a writer.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from enforcer.core import image
from enforcer.core.codes import Code
from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.notary import signing_chain
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.core.turns import in_turns
from enforcer.files import sync_folder
from enforcer.ports import CacheError

MAX_CONTENTS = 64  # manifests and indexes looked at for one image

_SCHEMA = """
CREATE TABLE IF NOT EXISTS configs(
    config TEXT, manifest TEXT, PRIMARY KEY(config, manifest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lists(
    child TEXT, parent TEXT, PRIMARY KEY(child, parent)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signatures(
    about TEXT, subject TEXT, envelope TEXT, media_type TEXT, manifest TEXT,
    PRIMARY KEY(about, manifest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS signatures_by_subject ON signatures(subject);
CREATE INDEX IF NOT EXISTS signatures_in_order
    ON signatures(about, envelope, media_type);
CREATE TABLE IF NOT EXISTS likely(
    about TEXT, certificate TEXT, envelope TEXT, media_type TEXT,
    PRIMARY KEY(about, certificate, envelope, media_type)) WITHOUT ROWID;
"""

# Those with signatures first, so that others cannot crowd them out.
_NAMING = """
SELECT manifest FROM configs WHERE config = ? ORDER BY
EXISTS(SELECT 1 FROM signatures WHERE subject = manifest) DESC, manifest LIMIT ?
"""
_LISTING = """
SELECT DISTINCT parent FROM lists WHERE child IN (SELECT value FROM json_each(?))
ORDER BY EXISTS(SELECT 1 FROM signatures WHERE subject = parent) DESC, parent LIMIT ?
"""
# Both stop at the limit, however many signatures there are: each walks an index.
_LIKELY = """
SELECT DISTINCT envelope, media_type, certificate FROM likely
WHERE about = ? AND certificate = ? ORDER BY envelope, media_type LIMIT ?
"""
_SIGNATURES = """
SELECT DISTINCT envelope, media_type FROM signatures WHERE about = ?
ORDER BY envelope, media_type LIMIT ?
"""
_ENTRIES = """
SELECT subject, envelope, manifest, media_type FROM signatures
ORDER BY subject, envelope, manifest
"""
_COUNTS = """
SELECT CAST(COUNT(DISTINCT envelope) AS TEXT), CAST(COUNT(DISTINCT subject) AS TEXT)
FROM signatures
"""

_UNAVAILABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}

# sqlite3 raises UnicodeDecodeError for messages that quote a damaged schema.
_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)

Row = tuple[str, ...]


class Index:
    """The index file of a cache folder. What it says is a hint; the blobs decide.

    Without the file it is empty, unless there are blobs: then it was lost, an error.
    """

    def __init__(self, root: Path) -> None:
        self._path = root.absolute() / "index.db"
        self._blobs = root / "blobs"

    def naming(self, config: Digest) -> list[Digest]:
        """Return manifests that name this configuration."""
        return self._digests(_NAMING, str(config), MAX_CONTENTS)

    def listing(self, children: Collection[Digest]) -> list[Digest]:
        """Return indexes that list one of these manifests."""
        return self._digests(_LISTING, _texts(children), MAX_CONTENTS)

    def signatures(
        self, subjects: Collection[Descriptor], trusted: Collection[Digest], limit: int
    ) -> list[tuple[Digest, str]]:
        """Return envelopes with their media types; see `ports` for the order."""
        likely: dict[str, list[Row]] = {}
        questions = [(str(a), str(c), limit) for a in subjects for c in sorted(trusted)]
        for *row, certificate in sorted(set(self._ask_each(_LIKELY, questions))):
            likely.setdefault(certificate, []).append(tuple(row))
        others = self._ask_each(
            _SIGNATURES, [(str(about), limit) for about in subjects]
        )
        first = in_turns(likely[name] for name in sorted(likely))
        rows = [*first, *sorted(set(others) - set(first))][:limit]
        return [(self._digest(row[0]), row[1]) for row in rows]

    def entries(self) -> list[Row]:
        """Return subject, envelope, manifest and media type of every signature."""
        return self._ask(_ENTRIES)

    def counts(self) -> tuple[int, int]:
        """Return how many signatures there are, and about how many subjects."""
        ((signatures, subjects),) = self._ask(_COUNTS) or [("0", "0")]
        return int(signatures), int(subjects)

    def digests(self) -> set[Digest]:
        """Return every blob the index expects to be there."""
        manifests = "SELECT manifest FROM configs UNION SELECT parent FROM lists"
        signatures = "SELECT manifest FROM signatures"
        envelopes = "SELECT envelope FROM signatures"
        return set(self._digests(f"{manifests} UNION {signatures} UNION {envelopes}"))

    @contextlib.contextmanager
    def changing(self, *, anew: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend a copy to change, and put it in place; the caller holds the lock.

        With `anew` it starts empty. When the block raises, nothing has changed.
        """
        copy = self._path.with_name("index.new")
        try:
            copy.unlink(missing_ok=True)
            copy.touch(mode=0o600, exist_ok=False)
            if not anew:
                self._require_file()
                shutil.copyfile(self._path, copy)
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as new:
                for setting in ("journal_mode", "synchronous", "trusted_schema"):
                    new.execute(f"PRAGMA {setting} = OFF")  # a crash loses but a copy
                new.executescript(f"{_SCHEMA}; BEGIN")
                yield new
                new.execute("COMMIT")
            _sync(copy)
            copy.rename(self._path)
            sync_folder(self._path.parent)
        except _ERRORS as error:
            raise self._unusable(error) from error
        finally:
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)

    def _digests(self, query: str, *values: str | int) -> list[Digest]:
        return [self._digest(row[0]) for row in self._ask(query, *values)]

    def _digest(self, text: str) -> Digest:
        try:
            return Digest.parse(text)
        except EnforcerError as error:
            raise self._unusable(error) from error

    def _ask(self, query: str, *values: str | int) -> list[Row]:
        return self._ask_each(query, [values])

    def _ask_each(
        self, query: str, questions: Iterable[tuple[str | int, ...]]
    ) -> list[Row]:
        """Return the rows of a query for each of several sets of values."""
        rows: list[Row] = []
        try:
            if not os.path.lexists(self._path) and not os.path.lexists(self._blobs):
                return []
            self._require_file()
            place = f"{self._path.as_uri()}?mode=ro&immutable=1"
            with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
                database.execute("PRAGMA trusted_schema = OFF")
                for values in questions:
                    rows += database.execute(query, values).fetchall()
        except _ERRORS as error:
            raise self._unusable(error) from error
        if not all(isinstance(value, str) for row in rows for value in row):
            raise self._unusable(ValueError("a value is no text"))
        return rows

    def _require_file(self) -> None:
        if not os.path.lexists(self._path):
            raise self._unusable(ValueError("it is missing"))
        if not stat.S_ISREG(self._path.lstat().st_mode):
            raise self._unusable(ValueError("it is not a regular file"))

    def _unusable(self, error: Exception) -> CacheError:
        number = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its subkind
        unavailable = isinstance(error, OSError) or number in _UNAVAILABLE
        return CacheError(
            f"the index of the signature cache, {self._path}, cannot be used: {error}",
            remedy="Check the folder, its owner and the disk."
            if unavailable
            else "Run `enforcer cache fsck --repair`; nothing is lost by it.",
            code=Code.CACHE_UNAVAILABLE if unavailable else Code.CACHE_CORRUPT,
        )


def index_content(index: sqlite3.Connection, raw: bytes) -> None:
    """Enter a manifest or an index; MalformedError where it is neither."""
    parsed = image.parse_manifest_or_index(raw)
    digest = str(Digest.of(raw))
    if isinstance(parsed, image.Index):
        index.executemany(
            "INSERT OR IGNORE INTO lists VALUES(?,?)",
            [(str(entry.manifest.digest), digest) for entry in parsed.entries],
        )
    else:
        index.execute(
            "INSERT OR IGNORE INTO configs VALUES(?,?)",
            [str(parsed.config.digest), digest],
        )


def index_signature(index: sqlite3.Connection, signature: SignatureFile) -> None:
    """Enter a signature; MalformedError where manifest and envelope do not fit."""
    parsed = parse_signature_manifest(signature.manifest)
    held = Descriptor.of(
        parsed.envelope.media_type if parsed else "", signature.envelope
    )
    if parsed is None or parsed.envelope != held:
        raise MalformedError(
            f"signature manifest {Digest.of(signature.manifest)} does not name its "
            "envelope by size and sha256",
            remedy="Sign again.",
        )
    index.execute(
        "INSERT OR REPLACE INTO signatures VALUES(?,?,?,?,?)",
        [
            str(parsed.subject),
            str(parsed.subject.digest),
            str(held.digest),
            held.media_type,
            str(Digest.of(signature.manifest)),
        ],
    )
    # A hint for the order only: it is found anew at every decision.
    index.executemany(
        "INSERT OR IGNORE INTO likely VALUES(?,?,?,?)",
        [
            (
                str(parsed.subject),
                str(Digest.of(der)),
                str(held.digest),
                held.media_type,
            )
            for der in signing_chain(
                held.media_type, signature.envelope, [parsed.subject]
            )
        ],
    )


def forget(index: sqlite3.Connection, digest: Digest) -> list[Row]:
    """Take out signatures with or about a digest; return manifests and envelopes."""
    gone = index.execute(
        "DELETE FROM signatures WHERE ? IN (subject, envelope, manifest) "
        "RETURNING manifest, envelope",
        [str(digest)],
    ).fetchall()
    index.execute(
        "DELETE FROM likely WHERE (about, envelope) NOT IN "
        "(SELECT about, envelope FROM signatures)"
    )
    return gone


def _texts(values: Collection[Digest] | Collection[Descriptor]) -> str:
    return json.dumps(sorted(str(value) for value in values))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
