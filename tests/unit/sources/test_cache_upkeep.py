"""The signature cache over the years: who reads meanwhile, what it may hold, what goes.

No upkeep ever takes what an image on this host needs, and nothing is ever half done.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.collected import Collected, Origin, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.quota import Quota
from enforcer.files import locked
from enforcer.ports import CacheError
from enforcer.sources.cache import DiskCache, Entry
from enforcer.sources.cache.add import BATCH_ITEMS
from enforcer.sources.cache.check import Check
from enforcer.sources.cache.crowds import FEW
from tests.unit.sources.signed import AT, Image, compact, image, root_of, signature

ONE, TWO, THREE = image("one"), image("two"), image("three")
GOOD = signature(ONE.manifest)
STICK = Origin("oci-archive:/media/stick/acme.tar", AT)
OLD = time.time() - 40 * 24 * 3600
MONTH = 30 * 24 * 3600.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    DiskCache(tmp_path / "cache").add([ONE.manifest, ONE.index, GOOD], origin=STICK)
    return tmp_path / "cache"


def found(root: Path, image: Image = ONE) -> set[bytes]:
    about = [image.manifest.descriptor]
    each, _ = DiskCache(root).signatures_about(about, trusted=[], limit=100)
    return {item.envelope for item in each}


def entry(root: Path, signed: SignatureFile = GOOD) -> Entry:
    digest = str(Digest.of(signed.manifest))
    (one,) = (e for e in DiskCache(root).entries() if e.manifest == digest)
    return one


def age(root: Path) -> None:
    """Make everything look as if it had been imported long ago."""
    for path in (root / "blobs" / "sha256").iterdir():
        os.utime(path, (OLD, OLD))


def blobs(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs" / "sha256").iterdir()}


def hexes(*raws: bytes) -> set[str]:
    return {Digest.of(raw).hex for raw in raws}


def is_sound(root: Path) -> bool:
    told = DiskCache(root).check(repair=False)
    return (told.damaged, told.lost, told.unnamed) == ((), (), ())


# -- where things came from ------------------------------------------------------


def test_where_a_signature_came_from_is_known_and_survives_a_rebuild(
    root: Path,
) -> None:
    later = Origin("registry.acme.test/app:1", AT + timedelta(hours=1))
    DiskCache(root).add([GOOD], origin=later)

    assert entry(root).origins == (later, STICK)

    (root / "index.db").unlink()
    DiskCache(root).check(repair=True)
    assert entry(root).origins == (later, STICK)
    assert is_sound(root)


def test_signatures_about_one_subject_are_listed_alone(root: Path) -> None:
    DiskCache(root).add([TWO.manifest, signature(TWO.manifest)])
    digest = ONE.manifest.descriptor.digest

    assert list(DiskCache(root).entries(digest)) == [entry(root)]
    assert list(DiskCache(root).entries(THREE.config_digest)) == []


def test_what_comes_every_hour_is_written_down_once_a_day(root: Path) -> None:
    """Else a timer would fill the disk with records of nothing new."""
    before = blobs(root)

    for hours in range(1, 24):
        again = replace(STICK, at=AT + timedelta(hours=hours))
        DiskCache(root).add([ONE.manifest, ONE.index, GOOD], origin=again)
    assert blobs(root) == before

    tomorrow = replace(STICK, at=AT + timedelta(days=2))
    DiskCache(root).add([ONE.manifest, ONE.index, GOOD], origin=tomorrow)
    assert len(blobs(root)) == len(before) + 1
    DiskCache(root).gc([TWO.config_digest], keep_seconds=MONTH)
    assert entry(root).origins == (tomorrow,)  # the older record says no more
    assert is_sound(root)


def test_what_is_removed_and_comes_again_has_a_sound_index(root: Path) -> None:
    cache = DiskCache(root)
    cache.remove(Digest.of(GOOD.envelope))
    assert is_sound(root)

    cache.add([GOOD], origin=replace(STICK, at=AT + timedelta(minutes=1)))

    assert is_sound(root)
    assert entry(root).origins[-1] == STICK


def test_a_place_is_shown_as_it_may_be(root: Path) -> None:
    """A name on a stick may hold what a terminal would obey."""
    hostile = Origin("oci-layout:\033[2J" + "x" * 5000, AT)
    other = signature(ONE.manifest, "wabbit")

    DiskCache(root).add([other], origin=hostile)

    (shown,) = entry(root, other).origins
    assert shown.place.startswith("oci-layout:\\x1b[2Jxxx")
    assert len(shown.place) < 600


# -- how much it may hold --------------------------------------------------------


@pytest.mark.parametrize("quota", [Quota(max_files=5), Quota(max_bytes=60_000)])
def test_a_full_cache_takes_nothing_and_gives_all_it_has(
    root: Path, quota: Quota
) -> None:
    held, cache = blobs(root), DiskCache(root, quota)
    more: list[Collected] = [TWO.manifest, signature(TWO.manifest)]
    more += [signature(TWO.manifest, number=str(n)) for n in range(20)]

    with pytest.raises(CacheError, match=r"cache gc.*\[ENF-1404\]") as caught:
        cache.add(iter(more), origin=STICK)

    assert caught.value.code is Code.CACHE_FULL
    assert blobs(root) == held
    assert found(root) == {GOOD.envelope}
    assert is_sound(root)
    assert cache.add([ONE.manifest, GOOD], origin=STICK) == (1, [])  # nothing new


def test_a_later_batch_that_does_not_fit_takes_the_earlier_back(root: Path) -> None:
    held = blobs(root)
    more = [image(str(number)).manifest for number in range(2 * BATCH_ITEMS)]
    quota = Quota(max_files=BATCH_ITEMS + 100)
    written: list[int] = []

    def items() -> Iterator[Collected]:
        for content in more:
            written.append(len(blobs(root)))
            yield content

    with pytest.raises(CacheError, match=rf"cache\.maxFiles is {quota.max_files}"):
        DiskCache(root, quota).add(items(), origin=STICK)

    assert written[-1] > BATCH_ITEMS
    assert blobs(root) == held
    assert not (root / "pending").exists()
    assert is_sound(root)


def test_how_full_it_is_is_counted_and_not_looked_up(root: Path) -> None:
    sizes = [path.lstat().st_size for path in (root / "blobs" / "sha256").iterdir()]
    index = (root / "index.db").stat().st_size

    size = DiskCache(root).size()

    assert (size.files, size.bytes) == (len(sizes), sum(sizes) + index)
    assert (size.signatures, size.subjects) == (1, 1)
    assert DiskCache(root, Quota(max_files=10)).fullness() == len(sizes) / 10
    DiskCache(root).remove(Digest.of(GOOD.envelope))
    assert DiskCache(root).size().files == len(blobs(root))


# -- what may go -----------------------------------------------------------------

NEEDS = {
    "configuration": ONE.config_digest,  # Docker's own store knows no more
    "manifest": ONE.manifest.descriptor.digest,
    "index": ONE.index.descriptor.digest,
}


@pytest.mark.parametrize("known", NEEDS)
@pytest.mark.parametrize("about", ["manifest", "index"])
def test_what_an_image_needs_stays_however_old(
    tmp_path: Path, known: str, about: str
) -> None:
    signed = signature(ONE.manifest if about == "manifest" else ONE.index)
    stranger = signature(TWO.manifest)
    root = tmp_path / "cache"
    DiskCache(root).add([ONE.manifest, ONE.index, signed, TWO.manifest, stranger])
    age(root)

    gone = DiskCache(root).gc([NEEDS[known]], keep_seconds=MONTH)

    assert (gone.signatures, gone.contents) == (1, 1 + (about == "manifest"))
    assert blobs(root) >= hexes(ONE.manifest.raw, signed.manifest, signed.envelope)
    assert (Digest.of(ONE.index.raw).hex in blobs(root)) == (about == "index")
    assert not blobs(root) & hexes(TWO.manifest.raw, stranger.envelope)
    assert is_sound(root)


def test_what_came_of_late_stays_for_the_image_that_is_to_come(root: Path) -> None:
    age(root)
    fresh = signature(TWO.manifest)
    DiskCache(root).add([TWO.manifest, fresh], origin=STICK)

    gone = DiskCache(root).gc([], keep_seconds=MONTH)

    assert gone.signatures == 1
    assert found(root, TWO) == {fresh.envelope}
    assert found(root) == set()


def test_what_is_imported_again_is_new_again(root: Path) -> None:
    age(root)
    DiskCache(root).add([ONE.manifest, ONE.index, GOOD])

    assert DiskCache(root).gc([], keep_seconds=MONTH).signatures == 0
    assert found(root) == {GOOD.envelope}


def test_a_dry_run_says_the_same_and_does_nothing(root: Path) -> None:
    age(root)
    held = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    told = DiskCache(root).gc([], keep_seconds=MONTH, dry_run=True)

    for path, raw in held.items():
        assert path.read_bytes() == raw or path.name == "index.db"
    assert found(root) == {GOOD.envelope}
    assert DiskCache(root).gc([], keep_seconds=MONTH) == told
    assert (told.signatures, told.contents, told.files) == (1, 2, 5)  # and a record
    assert blobs(root) == set()


def test_strays_go_when_they_are_old(root: Path) -> None:
    """A new one may be what an index that was damaged has lost: fsck names it."""
    for raw in (b"old", b"new"):
        (root / "blobs" / "sha256" / Digest.of(raw).hex).write_bytes(raw)
    os.utime(root / "blobs" / "sha256" / Digest.of(b"old").hex, (OLD, OLD))

    gone = DiskCache(root).gc([ONE.config_digest], keep_seconds=MONTH)

    assert (gone.strays, gone.files, gone.bytes) == (1, 1, 3)
    assert blobs(root) & hexes(b"old", b"new") == hexes(b"new")
    assert DiskCache(root).check(repair=False).unnamed == (str(Digest.of(b"new")),)


# -- who reads meanwhile ---------------------------------------------------------

DIES = """
import os, sqlite3, sys
from pathlib import Path
from enforcer.core.digest import Digest
from enforcer.sources.cache import DiskCache
from enforcer.sources.cache import database
from tests.unit.sources.signed import image, signature
cache = DiskCache(Path(sys.argv[1]))
if sys.argv[2] == "committed":
    database.check_point = lambda index: os._exit(9)
one = image("late")
def items():
    yield one.manifest
    yield signature(one.manifest)
    if sys.argv[2] == "half":
        os._exit(9)
import enforcer.sources.cache.add as adding
adding.BATCH_ITEMS = 1
cache.add(items())
"""


def die(root: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(root), when], check=False)
    assert done.returncode == 9


def test_a_commit_in_the_log_of_a_dead_writer_counts(root: Path) -> None:
    die(root, "committed")
    assert (root / "index.db-wal").stat().st_size

    assert len(found(root, image("late"))) == 1

    DiskCache(root).tidy()
    DiskCache(root).add([GOOD])
    assert not (root / "index.db-wal").exists()
    assert len(found(root, image("late"))) == 1
    assert is_sound(root)


def test_half_an_import_of_a_dead_writer_is_taken_back(root: Path) -> None:
    held = blobs(root)
    die(root, "half")
    assert blobs(root) > held

    assert found(root, image("late")) == set()
    DiskCache(root).tidy()

    assert blobs(root) == held
    assert not (root / "pending").exists()
    assert is_sound(root)


@pytest.mark.parametrize("how", ["garbage", "gone", "another's", "cut"])
def test_a_log_that_is_not_ours_invents_nothing(
    root: Path, tmp_path: Path, how: str
) -> None:
    """What only the log had is lost with it: fsck finds its blobs, and repairs."""
    die(root, "committed")
    log = root / "index.db-wal"
    raw = log.read_bytes()
    for path in (log, root / "index.db-shm"):
        path.unlink(missing_ok=True)
    if how == "garbage":
        log.write_bytes(os.urandom(len(raw)))
    elif how == "cut":
        log.write_bytes(raw[: len(raw) // 2])
    elif how == "another's":
        DiskCache(tmp_path / "other").add([THREE.manifest])
        die(tmp_path / "other", "committed")
        log.write_bytes((tmp_path / "other" / "index.db-wal").read_bytes())

    with contextlib.suppress(CacheError):
        assert found(root) <= {GOOD.envelope}
        assert not DiskCache(root).manifests_about(THREE.config_digest, [])

    (root / "pending").unlink(missing_ok=True)
    DiskCache(root).check(repair=True)
    assert found(root) == {GOOD.envelope}
    assert len(found(root, image("late"))) == 1
    assert is_sound(root)


@pytest.mark.parametrize("name", ["index.db-wal", "index.db-shm"])
@pytest.mark.parametrize("what", ["pipe", "folder", "link"])
def test_what_stands_where_the_log_belongs_holds_nobody_up(
    root: Path, name: str, what: str
) -> None:
    {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "link": lambda path: path.symlink_to("/etc/passwd"),
    }[what](root / name)

    with pytest.raises(CacheError, match=r"fsck --repair.*\[ENF-1401\]"):
        found(root)
    with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
        DiskCache(root).add([signature(TWO.manifest)])

    assert name in DiskCache(root).check(repair=True).damaged
    assert found(root) == {GOOD.envelope}
    assert is_sound(root)


def test_at_rest_a_question_writes_nothing(root: Path) -> None:
    """So that it is answered on a full disk and a sealed one, and wears out none."""
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}

    assert found(root) == {GOOD.envelope}

    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_question_during_an_import_finds_what_was_there(root: Path) -> None:
    cache = DiskCache(root)

    def items() -> Iterator[Collected]:
        yield TWO.manifest
        yield signature(TWO.manifest)
        assert found(root) == {GOOD.envelope}
        about = [ONE.manifest.descriptor]
        each, _ = cache.signatures_about(about, trusted=[], limit=9)
        assert [item.envelope for item in each] == [GOOD.envelope]
        assert found(root, TWO) == set()

    DiskCache(root).add(items())

    each, _ = cache.signatures_about([TWO.manifest.descriptor], trusted=[], limit=9)
    assert len(list(each)) == 1


def test_a_reader_goes_on_through_repairs(root: Path) -> None:
    """It has the old index open: it must see the new one, and never neither."""
    cache, about = DiskCache(root), [ONE.manifest.descriptor]
    for number in range(20):
        each, _ = cache.signatures_about(about, trusted=[], limit=9)
        assert [item.envelope for item in each] == [GOOD.envelope]
        late = image(f"late {number}")
        if number % 2:
            (root / "index.db").write_bytes(b"garbage")
        DiskCache(root).check(repair=True)
        DiskCache(root).add([late.manifest, signature(late.manifest)])
        each, _ = cache.signatures_about(
            [late.manifest.descriptor], trusted=[], limit=9
        )
        assert len(list(each)) == 1


def test_a_cache_on_a_sealed_disk_answers(root: Path, tmp_path: Path) -> None:
    """A device has its signatures in an image that nobody can change."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "sealed"
    place.mkdir()
    bind = ["mount", "--bind", str(root), str(place)]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        seal = ["mount", "-o", "remount,bind,ro", str(place)]
        subprocess.run(seal, check=True)
        assert found(place) == {GOOD.envelope}
        with pytest.raises(CacheError, match=r"\[ENF-1402\]"):
            DiskCache(place).add([signature(TWO.manifest)])
        die(root, "committed")
        with contextlib.suppress(CacheError):  # the log needs a file beside it
            assert found(place) == {GOOD.envelope}
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_copy_without_its_lock_is_read(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("lock"))

    assert found(tmp_path / "copy") == {GOOD.envelope}
    assert not (tmp_path / "copy" / "lock").exists()


def test_what_cannot_be_read_now_is_not_put_aside(root: Path) -> None:
    """A worn disk or too many open files: a good file must stay where it is."""
    held = blobs(root)
    code = (
        "import sys, pathlib; from enforcer.sources.cache import DiskCache, blobs;"
        "import resource, enforcer.sources.cache.check\n"
        "cache = DiskCache(pathlib.Path(sys.argv[1]))\n"
        "real = blobs.read_file\n"
        "def read_file(*a, **k):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))\n"
        "    try: return real(*a, **k)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))\n"
        "blobs.read_file = read_file\n"
        "cache.check(repair=True)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True
    )

    assert "[ENF-1402]" in done.stderr
    assert blobs(root) == held
    assert not (root / "damaged").exists()
    assert found(root) == {GOOD.envelope}


@pytest.mark.parametrize("call", ["fsync", "syncfs", "fdatasync"])
def test_a_disk_that_does_not_keep_what_it_took_is_no_success(
    root: Path, call: str
) -> None:
    """EIO of any of these: the import is refused, and done anew the next time."""
    if shutil.which("strace") is None:
        pytest.skip("strace stands for the broken disk")
    held = blobs(root)
    many = "[image(str(n)).manifest for n in range(20)]"
    code = (
        "import sys, pathlib; from enforcer.sources.cache import DiskCache;"
        "from tests.unit.sources.signed import image;"
        f"DiskCache(pathlib.Path(sys.argv[1])).add({many})"
    )
    words = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}"]
    words += ["-e", f"inject={call}:error=EIO", sys.executable, "-c", code, str(root)]

    done = subprocess.run(words, capture_output=True, text=True)

    assert done.returncode == 1
    assert "[ENF-1402]" in done.stderr
    assert blobs(root) == held
    assert found(root) == {GOOD.envelope}
    assert is_sound(root)
    DiskCache(root).add([TWO.manifest])
    assert is_sound(root)


# -- who writes meanwhile --------------------------------------------------------


def test_a_sound_cache_is_checked_while_another_writes(root: Path) -> None:
    """A large one takes a minute, and writers give up after half of one."""
    with locked(root / "lock", wait=True):
        told = DiskCache(root).check(repair=False)

    assert told == Check(len(blobs(root)), (), ())


def test_half_an_index_of_a_dead_repair_is_taken_back(root: Path) -> None:
    (root / "index.new").write_bytes(b"half")
    DiskCache(root).check(repair=False)
    assert not (root / "index.new").exists()

    (root / "index.new").write_bytes(b"half")
    DiskCache(root).tidy()
    assert not (root / "index.new").exists()
    assert found(root) == {GOOD.envelope}


def test_what_is_amiss_is_only_said_when_nobody_writes(root: Path) -> None:
    """Half a change looks like damage."""
    name = Digest.of(GOOD.envelope).hex
    (root / "blobs" / "sha256" / name).write_bytes(b"other")

    with ThreadPoolExecutor(1) as threads:
        with locked(root / "lock", wait=True):
            told = threads.submit(DiskCache(root).check, repair=False)
            assert not wait([told], timeout=1).done

        assert told.result().damaged == (name,)


def test_changes_meanwhile_are_never_taken_for_damage(root: Path) -> None:
    """Imports and removals one after the other, and checks beside them."""
    others = [image(str(number)).manifest for number in range(5)]
    signed = [signature(other) for other in others]

    def change() -> None:
        for _ in range(10):
            DiskCache(root).add([*others, *signed], origin=STICK)
            for one in signed:
                DiskCache(root).remove(Digest.of(one.envelope))

    told = list[Check]()
    with ThreadPoolExecutor(1) as threads:
        changes = threads.submit(change)
        while not changes.done():
            told.append(DiskCache(root).check(repair=False))

    assert changes.exception() is None
    assert told
    for one in told:
        assert (one.damaged, one.lost, one.unnamed) == ((), (), ())


# -- crowds ----------------------------------------------------------------------


def test_a_crowd_of_lies_does_not_hide_the_one_that_counts(tmp_path: Path) -> None:
    """Manifests of strangers that claim our certificates, more than are looked at."""
    cache = DiskCache(tmp_path / "cache")
    ours = signature(ONE.manifest, "acme")
    claims = GOOD.manifest
    lies = []
    for number in range(3 * FEW):
        theirs = signature(ONE.manifest, "wabbit", number=str(number))
        lies.append(_claiming(theirs, claims))
    about = [ONE.manifest.descriptor]

    cache.add([*lies[: 2 * FEW], ours])
    for lie in lies[2 * FEW :]:
        cache.add([lie])
    each, more = cache.signatures_about(about, trusted=[root_of("acme")], limit=1)

    assert more
    assert [item.envelope for item in each] == [ours.envelope]
    assert cache.check(repair=True).damaged == ()
    each, _ = cache.signatures_about(about, trusted=[root_of("acme")], limit=1)
    assert [item.envelope for item in each] == [ours.envelope]


def _claiming(signed: SignatureFile, claims: bytes) -> SignatureFile:
    annotations = json.loads(claims)["annotations"]
    manifest = json.loads(signed.manifest) | {"annotations": annotations}
    return SignatureFile(compact(manifest), signed.envelope)


def test_an_index_of_an_older_version_is_told_and_made_anew(root: Path) -> None:
    (root / "index.db").unlink()
    with sqlite3.connect(root / "index.db") as old:
        old.execute("CREATE TABLE configs(config TEXT, manifest TEXT)")
    old.close()

    with pytest.raises(CacheError, match=r"not those of this version.*\[ENF-1401\]"):
        found(root)
    DiskCache(root).check(repair=True)

    assert found(root) == {GOOD.envelope}
