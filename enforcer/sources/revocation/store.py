"""Evidence on disk, below the signature cache: one small file names each piece.

`index/HEX` says what stands in a slot and since when; `blobs/sha256/HEX` holds the
bytes. Both are written whole or not at all, newer pieces only ever replace older ones,
and every byte is hashed again when it is read, and judged by its issuer's signature.
The index can be thrown away: what is lost then denies until it is fetched again.
"""

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import (
    MAX_CRL_BYTES,
    MAX_ITEMS,
    Evidence,
    EvidenceKind,
    Item,
    Slot,
)
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.revocation_crl import freshest_urls
from enforcer.core.revocation_inquiry import is_newer
from enforcer.core.revocation_places import Place, learn, places
from enforcer.core.revocation_signed import EvidenceError
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.files import FileError, locked, make_folder, read_file, write_file
from enforcer.owner import as_owner
from enforcer.sources.revocation.floors import Floors
from enforcer.sources.revocation.notation_crls import NotationCrls

MAX_ENTRY_BYTES = 16 * 1024  # a URL of 2 KiB, twice, escaped
MAX_ROUNDS = 4  # certificate -> answer -> its responder's list -> that one's delta


class EvidenceStore:
    """The evidence of one host. Reading writes nothing; writers share one lock."""

    def __init__(
        self, folder: Path, floors: Path, *, notation_crls: Path | None = None
    ) -> None:
        """`folder` is `<cache>/evidence`, `floors` is `<state>/floors.db`."""
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._index = folder / "index"
        self._floors = Floors(floors, folder / "memory")
        self._notation = NotationCrls(notation_crls) if notation_crls else None

    @property
    def floors(self) -> Floors:
        """What may only deny, for who shows it or resets it."""
        return self._floors

    def load(self, chains: Sequence[AuthenticatedChain], at: datetime) -> Evidence:
        """Return all that is at hand about these chains, and what was seen before.

        Never raises for what is lost or damaged: it is not at hand then, and judging
        denies. Chains that name no responder or list cause no look at the disk.
        """
        evidence, seen = Evidence(), set[Slot]()
        certificates = set()
        for _ in range(MAX_ROUNDS):
            found = list(_all_places(chains, evidence, at))
            new = {slot for place in found for slot in place.slots} - seen
            certificates |= {place.inquiry.id for place in found}
            if not new:
                break
            seen |= new
            room = MAX_ITEMS - len(evidence.items)
            evidence = evidence.with_items(islice(self._items(new, at), room))
        if not seen:
            return evidence
        return evidence.remembering(self._floors.memory(seen, certificates))

    def time_floor(self) -> datetime | None:
        """Return the newest time this host has proof of; see `ports`.

        Raises:
            FloorsError: What was seen before cannot be read, or is lost.
        """
        return self._floors.newest()

    def pieces(self, most: int) -> Iterator[tuple[str, bytes]]:
        """Yield URL and untrusted bytes of what is kept, without damaged pieces."""
        for path in islice(self._index.glob("[!.]*"), most):
            try:
                url, _, digest = self._entry(path, None)
                raw = read_file(
                    self._blobs / digest.hex, max_bytes=MAX_CRL_BYTES, follow=False
                )
            except EnforcerError:
                continue
            if digest.matches(raw):
                yield url, raw

    def add(
        self, chains: Sequence[AuthenticatedChain], gathered: Evidence, at: datetime
    ) -> int:
        """Keep what counts and is newer than what is kept; return how much that was.

        What is learnt from it, and from notation's cache, is remembered.

        Raises:
            EnforcerError: It cannot be written, or what was seen before was lost.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(as_owner(self._folder))
            make_folder(self._blobs)
            make_folder(self._index)
            stack.enter_context(locked(self._folder / "lock", wait=True))
            held = self.load(chains, at)
            if held.memory.problem:
                raise EvidenceError(held.memory.problem)
            merged = held.merged(gathered)
            newest = _newest(_all_places(chains, merged, at), merged)
            kept = sum(self._keep(item) for item in newest)
            for chain in chains:
                lesson = learn(chain.chain.certificates, merged, at)
                self._floors.remember(lesson)
            self._sweep()
        return kept

    def _items(self, slots: Collection[Slot], at: datetime) -> Iterator[Item]:
        for slot in sorted(slots):
            item = self._item(slot) or self._item(slot)  # it may just be replaced
            if item is not None:
                yield item
            if slot.kind is EvidenceKind.CRL:
                yield from self._from_notation(slot, at)

    def _item(self, slot: Slot) -> Item | None:
        """Return what stands in a slot; None if nothing whole does."""
        try:
            url, obtained, digest = self._entry(self._entry_path(slot), slot)
            path = self._blobs / digest.hex
            raw = read_file(path, max_bytes=MAX_CRL_BYTES, follow=False)
        except EnforcerError:
            return None
        return Item(slot, url, obtained, raw) if digest.matches(raw) else None

    def _from_notation(self, slot: Slot, at: datetime) -> Iterator[Item]:
        if self._notation is None:
            return
        base, delta = self._notation.lists(slot.about)
        if base is not None:
            yield Item(slot, slot.about, at, base)
            for url in _delta_urls(base)[:1] if delta is not None else ():
                yield Item(Slot.crl(slot.issuer, url), url, at, delta or b"")

    def _keep(self, item: Item) -> bool:
        """Write a piece, bytes before the entry that names them."""
        digest = Digest.of(item.untrusted_der)
        held = self._item(item.slot)
        if held is not None and held.untrusted_der == item.untrusted_der:
            return False
        write_file(self._blobs / digest.hex, item.untrusted_der)
        entry = {
            "slot": str(item.slot),
            "url": item.url,
            "obtained": format_rfc3339(item.obtained),
            "digest": str(digest),
        }
        write_file(self._entry_path(item.slot), json.dumps(entry).encode())
        return True

    def _sweep(self) -> None:
        """Remove bytes that no entry names, and what a writer that died left."""
        try:
            named = self._named()
            for path in self._blobs.iterdir():
                if path.name not in named:
                    path.unlink(missing_ok=True)
            for folder in (self._index, self._folder):
                for path in folder.glob(".tmp-*"):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise FileError(
                f"the evidence in {self._folder} cannot be tidied: {error}",
                remedy="Check the folder, its owner and the disk.",
            ) from error

    def _named(self) -> set[str]:
        """Return the files that entries name; one that cannot be read names any."""
        named = set()
        for path in self._index.iterdir():  # glob() is silent where it may not look
            try:
                if not path.name.startswith("."):
                    named.add(self._entry(path, None)[2].hex)
            except FileError:
                raise
            except EnforcerError:
                continue
        return named

    def _entry_path(self, slot: Slot) -> Path:
        return self._index / sha256(str(slot).encode()).hexdigest()

    def _entry(self, path: Path, slot: Slot | None) -> tuple[str, datetime, Digest]:
        what = f"the evidence entry {path}"
        raw = read_file(path, max_bytes=MAX_ENTRY_BYTES, follow=False)
        value = parse_json(raw, what=what, max_bytes=MAX_ENTRY_BYTES)
        members = require_object(value, what=what)
        names = ("slot", "url", "obtained", "digest")
        text = {name: require_text(members, name, what=what) for name in names}
        if slot is not None and text["slot"] != str(slot):
            raise EvidenceError(f"{what} is another slot's")
        obtained = parse_rfc3339(text["obtained"])
        return text["url"], obtained, Digest.parse(text["digest"])


def _all_places(
    chains: Sequence[AuthenticatedChain], evidence: Evidence, at: datetime
) -> Iterator[Place]:
    for chain in chains:
        yield from places(chain.chain.certificates, evidence, at)


def _newest(found: Iterable[Place], evidence: Evidence) -> Iterator[Item]:
    """Yield the newest piece that counts, of each slot that has one."""
    best: dict[Slot, Item] = {}
    for place in found:
        for slot in place.slots:
            for item in evidence.at(slot):
                if _is_newer(place, item, best.get(slot)):
                    best[slot] = item
    yield from best.values()


def _is_newer(place: Place, item: Item, known: Item | None) -> bool:
    one = place.vouched(item)
    other = None if known is None else place.vouched(known)
    return one is not None and (other is None or is_newer(one, other))


def _delta_urls(base: bytes) -> tuple[str, ...]:
    try:
        return freshest_urls(base)
    except EvidenceError:
        return ()
