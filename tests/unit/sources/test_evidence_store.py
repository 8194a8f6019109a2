"""Evidence on disk: kept, replaced by newer only, and never believed unchecked."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from itertools import chain as chained
from itertools import pairwise
from pathlib import Path

import pytest

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import (
    Evidence,
    Floor,
    Item,
    Memory,
    Revocation,
    Slot,
)
from enforcer.core.findings import Result
from enforcer.core.notary import Outcome
from enforcer.core.revocation import judge_chain_revocation
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.revocation_inquiry import certificate_id
from enforcer.core.x509chain import parse_chain
from enforcer.files import FileError
from enforcer.sources.revocation.fetch import HttpFetcher
from enforcer.sources.revocation.floors import Floors, FloorsError
from enforcer.sources.revocation.gather import Limits
from enforcer.sources.revocation.store import EvidenceStore
from enforcer.sources.revocation.sync import sync
from tests.pki import NOW, Party, ders
from tests.revoker import (
    DAY,
    HOLD,
    REVOKED,
    Listed,
    Revoker,
    Single,
    answer,
    freshest,
    make_crl,
    make_ocsp,
    points,
    responders,
    scope,
    signer_chain,
)

OCSP_URL, LIST_URL, DELTA_URL = (f"http://ca.example/{name}" for name in "old")
CHAIN = signer_chain(responders(OCSP_URL), points([LIST_URL]))
LEAF, MIDDLE, ROOT = CHAIN
LISTED = signer_chain(points([LIST_URL]))
SERIAL = LISTED[0].certificate.serial_number


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return new_store(tmp_path)


def new_store(folder: Path) -> EvidenceStore:
    return EvidenceStore(
        folder / "cache" / "evidence",
        folder / "floors.db",
        notation_crls=folder / "notation" / "crl",
    )


def authentic(chain: Sequence[Party]) -> list[AuthenticatedChain]:
    parsed = parse_chain(ders(chain))
    return [AuthenticatedChain(parsed, frozenset({chain[-1].der}))]


def ocsp_item(der: bytes, chain: Sequence[Party] = CHAIN) -> Item:
    named = certificate_id(chain[0].certificate, chain[1].certificate)
    return Item(Slot.ocsp(named), OCSP_URL, NOW, der)


def crl_item(der: bytes, chain: Sequence[Party], url: str = LIST_URL) -> Item:
    return Item(Slot.crl(key_digest(chain[1].certificate), url), url, NOW, der)


def numbered(number: int, *listed: Listed, **options: object) -> Item:
    at = NOW - DAY + timedelta(minutes=number)
    return crl_item(
        make_crl(LISTED[1], *listed, number=number, this_update=at, **options),  # type: ignore[arg-type]  # as make_crl
        LISTED,
    )


def add(store: EvidenceStore, chain: Sequence[Party], *items: Item) -> int:
    return store.add(authentic(chain), Evidence(items), NOW)


def judge(store: EvidenceStore, chain: Sequence[Party]) -> Outcome:
    evidence = store.load(authentic(chain), NOW)
    certificates = [party.certificate for party in chain]
    return judge_chain_revocation(certificates, evidence, NOW)


def passes(store: EvidenceStore, chain: Sequence[Party]) -> bool:
    return judge(store, chain).result is Result.PASSED


def all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_added_serves_a_later_decision(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """The story: sync, and then judge without any network."""
    assert add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE))) == 1

    again = new_store(tmp_path)
    assert passes(again, CHAIN)
    (item,) = again.load(authentic(CHAIN), NOW).items
    assert (item.url, item.obtained) == (OCSP_URL, NOW)
    assert all(path.stat().st_mode & 0o077 == 0 for path in all_files(tmp_path))


def test_reading_creates_nothing(store: EvidenceStore, tmp_path: Path) -> None:
    """Absence is an empty answer; a decision writes nothing."""
    assert not passes(store, CHAIN)
    assert list(tmp_path.iterdir()) == []


def test_what_a_decision_loads_cannot_use_the_network() -> None:
    """Law 2, and no network in any decision: it is not even imported."""
    code = (
        "import sys, enforcer.sources.revocation.store\n"
        "print([n for n in ('urllib3', 'http.client') if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_chain_without_pointers_causes_no_look_at_the_disk(tmp_path: Path) -> None:
    """Nor does a lost memory keep it from passing."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    store = EvidenceStore(blocked, blocked)

    assert store.load(authentic(signer_chain()), NOW) == Evidence()


def test_what_counts_for_nothing_is_not_kept(store: EvidenceStore) -> None:
    """Nobody but an issuer fills this disk, or pushes out what is good."""
    stranger = signer_chain()[1]
    named = LISTED[1].certificate.subject
    forged = make_crl(stranger, number=9, issuer_name=named)

    assert add(store, LISTED, numbered(1)) == 1
    assert add(store, LISTED, crl_item(forged, LISTED)) == 0
    assert add(store, LISTED, crl_item(b"garbage", LISTED)) == 0
    assert passes(store, LISTED)


def test_only_newer_evidence_replaces_older(store: EvidenceStore) -> None:
    """T-CA-6: an old list is not kept over a newer one."""
    held = numbered(5, Listed(SERIAL, HOLD))

    assert add(store, LISTED, held) == 1
    assert add(store, LISTED, numbered(4)) == 0
    assert judge(store, LISTED).code is Code.CERTIFICATE_REVOKED
    assert add(store, LISTED, numbered(6)) == 1
    assert passes(store, LISTED)
    assert add(store, LISTED, numbered(6)) == 0


def test_another_parts_list_is_neither_kept_nor_remembered(
    store: EvidenceStore,
) -> None:
    """Who is on the network hands out a right list of the same CA, for others.

    Remembering its number would make every list of ours look old, for good.
    """
    elsewhere = ((scope("http://ca.example/other"), True),)

    assert add(store, LISTED, numbered(999, extra=elsewhere)) == 0
    assert add(store, LISTED, numbered(998, base_number=1)) == 0
    assert add(store, LISTED, numbered(5)) == 1
    assert passes(store, LISTED)


def test_bytes_of_another_name_are_not_even_read(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """Law 4: re-hashed at use, be they right evidence or not."""
    add(store, LISTED, numbered(5))
    (blob,) = all_files(tmp_path / "cache" / "evidence" / "blobs")
    blob.write_bytes(numbered(6).untrusted_der)

    assert store.load(authentic(LISTED), NOW).items == ()


def test_bytes_that_nothing_names_are_removed(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """A list a day does not fill the disk."""
    blobs = tmp_path / "cache" / "evidence" / "blobs" / "sha256"
    for number in (1, 2, 3):
        add(store, LISTED, numbered(number))

    assert len(list(blobs.iterdir())) == 1


def test_a_revocation_once_seen_is_remembered(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """Even if a newer list forgets it, and the evidence is gone."""
    add(store, LISTED, numbered(5, Listed(SERIAL)))
    add(store, LISTED, numbered(6))

    found = judge(new_store(tmp_path), LISTED)

    assert found.code is Code.CERTIFICATE_REVOKED
    assert found.because.endswith("(remembered)")
    for path in all_files(tmp_path / "cache" / "evidence" / "index"):
        path.unlink()
    assert judge(store, LISTED).code is Code.CERTIFICATE_REVOKED


@pytest.mark.parametrize("folder", ["index", "blobs"])
@pytest.mark.parametrize("how", ["removed", "emptied", "changed", "a link", "swapped"])
def test_evidence_that_is_lost_or_damaged_denies(
    store: EvidenceStore, tmp_path: Path, folder: str, how: str
) -> None:
    """Law 4: no byte is believed unchecked, and losing one never grants."""
    add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE)))
    assert passes(store, CHAIN)
    (path,) = all_files(tmp_path / "cache" / "evidence" / folder)
    raw = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "swapped":
        path.rename(path.with_name("0" * 64))
    else:
        path.write_bytes(b"" if how == "emptied" else raw[:-1] + bytes([raw[-1] ^ 1]))

    found = judge(store, CHAIN)

    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.EVIDENCE_LOST)
    assert "was seen on this host and is there no more" in found.because
    add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE)))
    assert passes(store, CHAIN)


def test_removing_any_file_never_allows_more(tmp_path: Path) -> None:
    """T-CA-6, over every file and every pair of them."""
    held = Listed(LEAF.certificate.serial_number, HOLD)
    cases = [
        [ocsp_item(answer(LEAF, MIDDLE))],
        [ocsp_item(answer(LEAF, MIDDLE, REVOKED))],
        [
            ocsp_item(answer(LEAF, MIDDLE, "unknown")),
            crl_item(make_crl(MIDDLE, held), CHAIN),
        ],
        [
            ocsp_item(answer(LEAF, MIDDLE, "unknown")),
            crl_item(make_crl(MIDDLE), CHAIN),
        ],
    ]
    for number, items in enumerate(cases):
        pristine = tmp_path / str(number) / "pristine"
        store = new_store(pristine)
        add(store, CHAIN, *items)
        before = passes(store, CHAIN)
        files = all_files(pristine)
        for gone in chained([(f,) for f in files], pairwise(files)):
            kept = {path: path.read_bytes() for path in gone}
            for path in gone:
                path.unlink()
            assert before or not passes(store, CHAIN), gone
            for path, raw in kept.items():
                path.write_bytes(raw)


def test_deltas_are_found_by_their_base(store: EvidenceStore) -> None:
    """What is wanted next shows in what was read."""
    extra = ((freshest(DELTA_URL), False),)
    delta = make_crl(LISTED[1], number=7, base_number=5)

    add(store, LISTED, numbered(5, extra=extra), crl_item(delta, LISTED, DELTA_URL))

    assert passes(store, LISTED)


def test_two_writers_wait_for_one_another(store: EvidenceStore, tmp_path: Path) -> None:
    """What a writer that died left behind is swept."""
    add(store, LISTED, numbered(1))
    index = tmp_path / "cache" / "evidence" / "index"
    (index / ".tmp-dead").write_bytes(b"half")
    (index / "0123").write_bytes(b"{}")

    add(store, LISTED, numbered(2))

    assert not (index / ".tmp-dead").exists()
    assert passes(store, LISTED)


def test_bytes_stay_while_an_entry_cannot_be_read(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """It may name them: a disk that fails for a moment must not lose evidence."""
    add(store, LISTED, numbered(1))
    add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE)))
    evidence = tmp_path / "cache" / "evidence"
    entry, _ = all_files(evidence / "index")
    aside = tmp_path / "aside"
    entry.rename(aside)
    entry.symlink_to(aside)  # read_file refuses it with an OSError, as a broken disk

    with pytest.raises(FileError, match="cannot read"):
        add(store, signer_chain())

    entry.unlink()
    aside.rename(entry)
    assert passes(store, LISTED)
    assert passes(store, CHAIN)


def test_what_a_killed_writer_of_the_note_left_is_removed(
    store: EvidenceStore, tmp_path: Path
) -> None:
    (tmp_path / "cache" / "evidence").mkdir(parents=True)
    leftover = tmp_path / "cache" / "evidence" / ".tmp-0123"
    leftover.write_bytes(b"half")

    add(store, LISTED, numbered(1))

    assert not leftover.exists()


# -- notation's cache -------------------------------------------------------------


def notation_file(folder: Path, url: str, **lists: bytes) -> Path:
    path = folder / "notation" / "crl" / sha256(url.encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = {name: base64.b64encode(raw).decode() for name, raw in lists.items()}
    path.write_text(json.dumps(encoded))
    return path


def test_notations_own_cache_is_read(store: EvidenceStore, tmp_path: Path) -> None:
    """R12: a hand-seeded cache makes strict verification work without any network."""
    crl = make_crl(LISTED[1])
    notation_file(tmp_path, LIST_URL, baseCRL=crl)
    assert passes(store, LISTED)

    extra = ((freshest(DELTA_URL), False),)
    base = make_crl(LISTED[1], number=5, extra=extra)
    delta = make_crl(LISTED[1], number=6, base_number=5)
    notation_file(tmp_path, LIST_URL, baseCRL=base, deltaCRL=delta)
    assert passes(store, LISTED)
    notation_file(tmp_path, LIST_URL, baseCRL=make_crl(LISTED[1], Listed(SERIAL)))
    assert judge(store, LISTED).code is Code.CERTIFICATE_REVOKED


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"baseCRL":1}', b'{"baseCRL":"*"}', b'{"baseCRL":"AAAA"}'],
)
def test_a_file_of_notations_that_is_no_use_is_not_there(
    store: EvidenceStore, tmp_path: Path, raw: bytes
) -> None:
    """5.6: a forged entry is "unknown"; here, ours counts beside it."""
    notation_file(tmp_path, LIST_URL).write_bytes(raw)

    assert judge(store, LISTED).code is Code.REVOCATION_UNKNOWN
    add(store, LISTED, numbered(1))
    assert passes(store, LISTED)


def test_an_old_list_in_notations_cache_does_not_undo_a_newer_one(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """5.6: "cached good CRL is used ... even if the server now says revoked"."""
    add(store, LISTED, numbered(5, Listed(SERIAL, HOLD)))
    notation_file(tmp_path, LIST_URL, baseCRL=numbered(4).untrusted_der)

    assert judge(store, LISTED).code is Code.CERTIFICATE_REVOKED


def test_what_notation_knew_is_remembered_at_the_next_sync(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """Its cache may be emptied by anybody who runs notation."""
    path = notation_file(tmp_path, LIST_URL, baseCRL=make_crl(LISTED[1], number=3))
    add(store, LISTED)
    path.unlink()

    assert passes(store, LISTED)  # it is ours by now


# -- floors -----------------------------------------------------------------------

NAMED = certificate_id(LEAF.certificate, MIDDLE.certificate)
SLOT = Slot.ocsp(NAMED)
BIG = 2**159 + 1


def test_floors_come_back_as_they_were(tmp_path: Path) -> None:
    """CRL numbers have up to 20 octets."""
    floors = Floors(tmp_path / "floors.db", tmp_path / "note")
    memory = Memory(
        {NAMED: Revocation(NOW, "keyCompromise", NOW - DAY, "a CRL")},
        {SLOT: Floor(NOW, BIG, doubt=True)},
    )

    floors.remember(memory)

    assert floors.memory([SLOT], [NAMED]) == memory
    assert floors.memory([], []) == Memory()


def test_floors_never_go_back(tmp_path: Path) -> None:
    """Remembering less or milder changes nothing."""
    floors = Floors(tmp_path / "floors.db", tmp_path / "note")
    harsh = Revocation(NOW, "keyCompromise", None, "a")
    floors.remember(Memory({NAMED: harsh}, {SLOT: Floor(NOW, 7)}))

    mild = Revocation(NOW, "superseded", NOW, "b")
    floors.remember(Memory({NAMED: mild}, {SLOT: Floor(NOW, 6)}))

    found = floors.memory([SLOT], [NAMED])
    assert found.revoked[NAMED] == harsh
    assert found.floors[SLOT] == Floor(NOW, 7)


@pytest.mark.parametrize("how", ["gone", "another", "garbage", "emptied", "dropped"])
def test_a_memory_that_is_lost_denies_until_root_resets_it(
    store: EvidenceStore, tmp_path: Path, how: str
) -> None:
    """Design 6: "a missing floors database on a host that had one refuses"."""
    add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE)))
    path = tmp_path / "floors.db"
    if how == "dropped":
        with sqlite3.connect(path) as database:
            database.execute("DROP TABLE identity")
        database.close()
    else:
        path.unlink()
    if how == "another":
        Floors(path, tmp_path / "other-note").remember(Memory())
    elif how in ("garbage", "emptied"):
        path.write_bytes(b"garbage" * 1000 if how == "garbage" else b"")

    found = judge(store, CHAIN)

    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.EVIDENCE_LOST)
    (entry,) = all_files(tmp_path / "cache" / "evidence" / "index")
    before = entry.read_bytes()
    newer = Single(LEAF.certificate, MIDDLE.certificate, this_update=NOW)
    with pytest.raises(EnforcerError):
        add(store, CHAIN, ocsp_item(make_ocsp(newer, signer=MIDDLE)))
    assert entry.read_bytes() == before  # refused before anything was written
    if how == "garbage":
        path.unlink()  # what is no database is for root to remove first
    store.floors.reset()
    add(store, CHAIN, ocsp_item(answer(LEAF, MIDDLE)))
    assert passes(store, CHAIN)


def test_a_reset_forgets_and_says_so_by_another_name(tmp_path: Path) -> None:
    """A copy of the old database does not come back unnoticed."""
    floors = Floors(tmp_path / "floors.db", tmp_path / "note")
    floors.remember(Memory({}, {SLOT: Floor(NOW)}))
    old = (tmp_path / "floors.db").read_bytes()

    floors.reset()
    assert floors.memory([SLOT], []) == Memory()

    (tmp_path / "floors.db").write_bytes(old)
    assert "is not the one that was here" in floors.memory([SLOT], []).problem


def test_a_database_of_others_is_no_memory_yet(tmp_path: Path) -> None:
    """floors.db keeps more than this."""
    path = tmp_path / "floors.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE time_floor(at TEXT)")
    database.close()
    floors = Floors(path, tmp_path / "note")

    assert floors.memory([SLOT], [NAMED]) == Memory()
    floors.remember(Memory({}, {SLOT: Floor(NOW)}))
    assert SLOT in floors.memory([SLOT], []).floors


def test_floors_that_cannot_be_written_are_an_error_of_ours(tmp_path: Path) -> None:
    """Translated at the rim, naming the path."""
    (tmp_path / "floors.db").mkdir()
    floors = Floors(tmp_path / "floors.db", tmp_path / "note")

    with pytest.raises(FloorsError, match=r"floors\.db, cannot be used"):
        floors.remember(Memory())


# -- sync -------------------------------------------------------------------------


def test_sync_fetches_both_kinds_and_keeps_them(tmp_path: Path) -> None:
    """So that a list serves when an answer is too old."""
    store = new_store(tmp_path)
    with Revoker() as revoker:
        chain = signer_chain(responders(revoker.url("/o")), points([revoker.url("/l")]))
        revoker.serve("/o", answer(chain[0], chain[1]))
        revoker.serve("/l", make_crl(chain[1]))
        done = sync(
            store,
            authentic(chain),
            NOW,
            fetcher=HttpFetcher(),
            limits=Limits(total_seconds=3),
        )

    assert (done.kept, done.gathered.problems) == (2, ())
    assert passes(store, chain)
    later = NOW + DAY + timedelta(seconds=1)
    evidence = store.load(authentic(chain), later)
    certificates = [party.certificate for party in chain]
    stale = judge_chain_revocation(certificates, evidence, later)
    assert stale.code is Code.EVIDENCE_STALE


def test_a_responder_that_is_down_leaves_what_is_kept(tmp_path: Path) -> None:
    """T-CR-8: evidence counts until its own end."""
    store = new_store(tmp_path)
    with Revoker() as revoker:
        chain = signer_chain(responders(revoker.url("/o")))
        revoker.serve("/o", answer(chain[0], chain[1]))
        sync(store, authentic(chain), NOW, fetcher=HttpFetcher())

    done = sync(store, authentic(chain), NOW, fetcher=HttpFetcher())

    assert done.kept == 0
    assert "cannot be reached" in done.gathered.problems[0].because
    assert passes(store, chain)


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    """QB-11: the verdict does not hang on it, the sync does."""
    (tmp_path / "cache").write_text("a file")
    store = new_store(tmp_path)

    with pytest.raises(EnforcerError, match="cache"):
        add(store, LISTED, numbered(1))
    assert os.listdir(tmp_path) == ["cache"]  # noqa: PTH208 - names are enough
