"""What root writes into the state of enforcerd's user, who may have been taken over."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import CertificateId, Evidence, Floor, Memory, Slot
from enforcer.files import FileError, write_file
from enforcer.owner import as_caller, as_owner
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout
from enforcer.sources.revocation.floors import Floors
from enforcer.sources.revocation.store import EvidenceStore
from tests.engines.images import write_layout
from tests.limits import SOMEBODY, open_to_all
from tests.unit.sources.signed import AT, image, signature

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")

SLOT = Slot.ocsp(CertificateId(Digest.of(b"an issuer's key"), 7))
MEMORY = Memory({}, {SLOT: Floor(AT)})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that is another user's, on a host that is root's."""
    open_to_all(tmp_path)
    tmp_path.chmod(0o755)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, SOMEBODY, SOMEBODY)
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder of root's, with a file of root's."""
    folder = tmp_path / "precious"
    folder.mkdir(mode=0o755)
    (folder / "file").write_text("precious")
    return folder


def theirs(link: Path, target: Path) -> None:
    """Put a link there, as the state's owner would."""
    link.symlink_to(target)
    os.chown(link, SOMEBODY, SOMEBODY, follow_symlinks=False)


def store(state: Path) -> EvidenceStore:
    return EvidenceStore(state / "cache" / "evidence", state / "floors.db")


def remember(state: Path) -> None:
    Floors(state / "floors.db", state / "cache/evidence/memory").remember(MEMORY)


def add_signature(state: Path) -> None:
    one = image("one")
    DiskCache(state / "cache").add([one.manifest, signature(one.manifest)])


def add_evidence(state: Path) -> None:
    store(state).add([], Evidence(), AT)


WRITERS: dict[str, Callable[[Path], object]] = {
    "signatures": add_signature,
    "floors": remember,
    "a reset of floors": lambda state: store(state).floors.reset(),
    "evidence": add_evidence,
    "fsck": lambda state: DiskCache(state / "cache").check(repair=True),
}


@pytest.mark.parametrize("what", WRITERS)
def test_all_that_root_leaves_there_is_the_owners(what: str, state: Path) -> None:
    """A file of root's would be one that enforcerd cannot read: it would deny all."""
    WRITERS[what](state)

    owners = {path: path.lstat().st_uid for path in state.rglob("*")}
    assert set(owners.values()) <= {SOMEBODY}
    assert owners or what == "fsck"


LINKED = {
    "signatures": ("cache", "cache/blobs", "cache/blobs/sha256", "cache/lock"),
    "floors": ("floors.db", "cache", "cache/evidence"),
    "a reset of floors": ("floors.db", "cache", "cache/evidence"),
    "evidence": ("cache", "cache/evidence", "cache/evidence/index"),
    "fsck": ("cache", "cache/damaged", "cache/blobs"),
}


@pytest.mark.parametrize(
    ("what", "link"), [(what, link) for what, links in LINKED.items() for link in links]
)
def test_a_link_leads_root_nowhere(
    what: str, link: str, state: Path, precious: Path
) -> None:
    """It is followed with the rights of who put it there."""
    before = {path: path.read_bytes() for path in precious.iterdir()}
    with as_owner(state):
        (state / link).parent.mkdir(parents=True, exist_ok=True)
    is_file = link.endswith((".db", "lock"))
    theirs(state / link, precious / "new" if is_file else precious)

    with contextlib.suppress(EnforcerError, PermissionError):
        WRITERS[what](state)

    assert {path: path.read_bytes() for path in precious.iterdir()} == before
    assert precious.lstat().st_uid == 0


def test_a_journal_makes_root_delete_nothing(state: Path, precious: Path) -> None:
    """SQLite deletes the file that a journal names, when it takes that back."""
    remember(state)
    database, victim = state / "floors.db", precious / "file"
    with sqlite3.connect(database) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    journal = state / "floors.db-journal"
    journal.write_bytes(_hot_journal(pages, str(victim).encode()))
    for path in (database, journal):
        os.chown(path, SOMEBODY, SOMEBODY)

    with contextlib.suppress(EnforcerError):
        store(state).floors.count()

    assert victim.read_text() == "precious"


def _hot_journal(pages: int, names: bytes) -> bytes:
    """Write a rollback journal of no page that names a super-journal (fileformat2)."""
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + b"".join(n.to_bytes(4, "big") for n in (0, 1, pages, 512, 4096))
    lock_page = (1 << 30) // 4096 + 1
    total = sum(names) & 0xFFFFFFFF
    tail = lock_page.to_bytes(4, "big") + names + len(names).to_bytes(4, "big")
    return header.ljust(512, b"\0") + tail + total.to_bytes(4, "big") + magic


def test_a_source_only_root_may_read_is_imported(state: Path, tmp_path: Path) -> None:
    """What is taken in is read as root, what is stored is stored as the owner."""
    layout = tmp_path / "private"
    write_layout(layout, text="hello", tag="hello:1")
    for path in (layout, *layout.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)

    with open_layout(layout, archive=False) as source:
        _, refused = DiskCache(state / "cache").add(source.collect(None))

    assert not refused
    assert [p for p in (state / "cache/blobs/sha256").iterdir() if p.stat().st_size]


def test_only_the_thread_that_writes_is_the_owner(state: Path) -> None:
    """A daemon of root's judges in other threads meanwhile."""
    made: list[int] = []
    acting = threading.Event()  # a thread that is started then would be the owner, too

    def write() -> None:
        acting.wait()
        write_file(state.parent / "of-root", b"")
        made.append((state.parent / "of-root").stat().st_uid)

    thread = threading.Thread(target=write)
    thread.start()
    with as_owner(state):
        acting.set()
        thread.join()
        write_file(state / "theirs", b"")
        with pytest.raises(FileError):
            write_file(state.parent / "not-theirs", b"")
        with as_caller():
            write_file(state.parent / "ours", b"")
    write_file(state.parent / "ours-again", b"")

    assert made == [0]
    assert (state / "theirs").stat().st_uid == SOMEBODY
    assert (state.parent / "ours").stat().st_uid == 0
    assert (state.parent / "ours-again").stat().st_uid == 0
