"""`fsck`: every blob hashed, and the index compared with one made from them anew."""

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from sqlite3 import Connection

from enforcer.core.codes import Code
from enforcer.core.collected import SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.files import make_folder
from enforcer.owner import as_owner
from enforcer.ports import CacheError
from enforcer.sources.cache.connection import companions
from enforcer.sources.cache.crowds import prove_all
from enforcer.sources.cache.folder import CacheFolder, translated
from enforcer.sources.cache.origin import is_record, parse_record
from enforcer.sources.cache.schema import (
    digest_of,
    drop_unnamed,
    enter_blobs,
    enter_content,
    enter_origin,
    enter_signature,
)

# All that the blobs say. Numbers and hints may differ between one index and another.
_FACTS = (
    "SELECT digest, size FROM blobs ORDER BY 1",
    "SELECT targets.digest, targets.size, targets.type, envelope, form, manifest "
    "FROM signatures JOIN targets ON targets.id = target ORDER BY 1, 2, 3, 4, 5, 6",
    "SELECT config, manifest FROM configs ORDER BY 1, 2",
    "SELECT child, parent FROM lists ORDER BY 1, 2",
    "SELECT origins.digest, records.digest, place, at FROM origins "
    "JOIN records ON records.id = record ORDER BY 1, 2",
    "SELECT files, bytes FROM usage",
)


@dataclass(frozen=True, slots=True)
class Check:
    """What fsck found.

    Attributes:
        blobs: How many are good.
        damaged: Files that are not what their name says, and an unusable index.
        lost: Digests the index knows and no good blob has.
        unnamed: Good blobs that the index does not know.
    """

    blobs: int
    damaged: tuple[str, ...]
    lost: tuple[str, ...]
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """What there is: paths of the damaged, and digests of all that is good.

    Attributes:
        named: What the index knows.
        meant: What an index made anew from the good would.
        same: Whether all that these two say is.
    """

    good: set[Digest]
    damaged: list[Path]
    named: set[Digest]
    meant: set[Digest]
    same: bool

    @property
    def is_sound(self) -> bool:
        """Whether there is nothing to tell, and no doubt."""
        return self.same and not self.damaged and self.named == self.good

    @property
    def found(self) -> Check:
        """Tell it."""
        return Check(
            len(self.good),
            tuple(path.name for path in self.damaged),
            tuple(sorted(map(str, self.named - self.good))),
            tuple(sorted(map(str, self.good - self.named))),
        )


def check(folder: CacheFolder, *, repair: bool) -> Check:
    """Look at everything; see `DiskCache.check`.

    First while others may write, unless it is to be mended. That nothing is amiss is
    true whatever they did meanwhile: each blob that the index names had its content,
    and the index said what these say. What seems amiss may be of a write that has not
    ended: it is looked at again, alone.
    """
    if not folder.root.exists():
        return Check(0, (), ())
    if not repair and not folder.is_unsettled():
        with translated(), as_owner(folder.root), folder.database.drafting() as draft:
            look = _look(folder, draft)
        if look.is_sound:
            return look.found
    with folder.writing(sound=False), folder.database.making() as made:
        look = _look(folder, made)
        if repair:
            useless = [folder.blobs.place(digest) for digest in look.good - look.meant]
            with translated():
                for path in (*look.damaged, *useless):
                    _set_aside(folder, path)
            folder.database.put_in_place(made)
    return look.found


def _look(folder: CacheFolder, made: Connection) -> _Look:
    """Hash all, enter what is good into an empty index, and compare with the one."""
    good, damaged = _hash_all(folder)
    damaged += [
        path
        for path in companions(folder.database.path)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file())
    ]
    _rebuild(made, folder, good)
    meant = _named(made)
    try:
        held = folder.database.ask(lambda index: (_named(index), _agree(index, made)))
        named, same = held or (set(), True)
    except CacheError as error:
        _require_damage(error)
        named, same = good, False
    if named <= good and (named is good or named == meant) and not same:
        damaged.append(folder.database.path)
    return _Look(good, damaged, named, meant, same)


def _hash_all(folder: CacheFolder) -> tuple[set[Digest], list[Path]]:
    good, damaged = set(), []
    for name in sorted(folder.blobs.names()):
        try:
            digest = Digest.parse(f"sha256:{name}")
            folder.read(digest)
            good.add(digest)
        except EnforcerError as error:
            _require_damage(error)
            damaged.append(folder.blobs.folder / name)
    return good, damaged


def _require_damage(error: EnforcerError) -> None:
    """What cannot be read just now may be good: all of it ends here, untouched."""
    if error.code is Code.CACHE_UNAVAILABLE:
        raise error


def _rebuild(index: Connection, folder: CacheFolder, digests: Iterable[Digest]) -> None:
    """Enter all that blobs say; one that is an envelope, or of no use, says nothing."""
    for digest in sorted(digests):
        try:
            _enter(index, folder, folder.read(digest))
        except EnforcerError as error:
            _require_damage(error)
    drop_unnamed(index)
    prove_all(index, folder)


def _enter(index: Connection, folder: CacheFolder, blob: bytes) -> None:
    if is_record(blob):
        blobs = {enter_origin(index, parse_record(blob)): blob}
    elif (parsed := parse_signature_manifest(blob)) is None:
        blobs = {enter_content(index, blob): blob}
    else:
        envelope = folder.read(parsed.envelope.digest)
        entered = enter_signature(index, SignatureFile(blob, envelope))
        blobs = {entered.manifest: blob, entered.envelope: envelope}
    enter_blobs(index, ((digest, len(raw)) for digest, raw in blobs.items()))


def _named(index: Connection) -> set[Digest]:
    return {digest_of(row[0]) for row in index.execute("SELECT digest FROM blobs")}


def _agree(held: Connection, made: Connection) -> bool:
    """Whether an index is sound, and says what one made anew says."""
    (sound,) = held.execute("PRAGMA integrity_check(1)").fetchone()
    return sound == "ok" and all(
        all(
            one == other
            for one, other in zip_longest(held.execute(fact), made.execute(fact))
        )
        for fact in _FACTS
    )


def _set_aside(folder: CacheFolder, path: Path) -> None:
    """Move what is damaged away; the index stays until there is another."""
    aside = folder.root / "damaged"
    make_folder(aside)
    place = aside / f"{path.name}.{secrets.token_hex(4)}"
    if path == folder.database.path and path.is_file() and not path.is_symlink():
        os.link(path, place)
    elif os.path.lexists(path):
        path.rename(place)
