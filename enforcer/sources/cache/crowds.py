"""Targets about which there are many signatures: whose are likely ours is proven there.

Certificates are public, and a manifest may claim any. Where there are few signatures,
all of them are looked at, and a claim moves one forward at most. Where there are many,
a thousand lies must not hide the one that counts: then only those stand first whose
envelope really is signed by that chain.
"""

from collections.abc import Iterable
from sqlite3 import Connection

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.notary import signing_chain
from enforcer.sources.cache.folder import CacheFolder
from enforcer.sources.cache.schema import FORMS, Entered, digest_of, enter_likely, raw

FEW = 16  # each costs a decision half a millisecond, and a hundred are looked at

_COUNT = "SELECT COUNT(*) FROM (SELECT 1 FROM signatures WHERE target = ? LIMIT ?)"
_CROWDED = "SELECT target FROM signatures GROUP BY target HAVING COUNT(*) > ?"


def prove(index: Connection, folder: CacheFolder, entered: Iterable[Entered]) -> None:
    """Prove signatures that were entered, and whose blobs are there, if need be."""
    for target, signatures in _by_target(entered).items():
        descriptor, crowded = _target(index, target)
        if not crowded:
            (count,) = index.execute(_COUNT, (target, FEW + 1)).fetchone()
            if count <= FEW:
                continue
            signatures = _become_crowded(index, target)
        for signature in signatures:
            _prove(index, folder, signature, descriptor)


def prove_all(index: Connection, folder: CacheFolder) -> None:
    """Prove what is about any crowded target of an index that is made anew."""
    for (target,) in index.execute(_CROWDED, (FEW,)).fetchall():
        descriptor, _ = _target(index, target)
        for signature in _become_crowded(index, target):
            _prove(index, folder, signature, descriptor)


def _by_target(entered: Iterable[Entered]) -> dict[int, list[Entered]]:
    found: dict[int, list[Entered]] = {}
    for signature in entered:
        found.setdefault(signature.target, []).append(signature)
    return found


def _target(index: Connection, target: int) -> tuple[Descriptor, bool]:
    digest, size, type_, crowded = index.execute(
        "SELECT digest, size, type, crowded FROM targets WHERE id = ?", (target,)
    ).fetchone()
    return Descriptor(type_, digest_of(digest), size), bool(crowded)


def _become_crowded(index: Connection, target: int) -> list[Entered]:
    index.execute("UPDATE targets SET crowded = 1 WHERE id = ?", (target,))
    index.execute("DELETE FROM likely WHERE target = ?", (target,))
    rows = index.execute(
        "SELECT envelope, form, manifest FROM signatures WHERE target = ?", (target,)
    ).fetchall()
    return [Entered(target, digest_of(e), f, digest_of(m)) for e, f, m in rows]


def _prove(
    index: Connection, folder: CacheFolder, signature: Entered, about: Descriptor
) -> None:
    try:
        envelope = folder.read(signature.envelope)
    except EnforcerError:  # lost, so that it can be no hint either
        return
    chain = signing_chain(FORMS[signature.form], envelope, [about])
    enter_likely(index, signature, [raw(Digest.of(der)) for der in chain])
