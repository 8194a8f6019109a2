"""The signature cache on disk: what damage, crashes and full disks can do to it.

A wrong cache may lose a signature. It never invents one, and it says what is wrong.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.collected import Collected, Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.core.subject import Content
from enforcer.ports import CacheError
from enforcer.sources.cache import DiskCache
from enforcer.sources.cache.schema import raw as bytes_of
from tests.unit.sources.signed import SOAK, compact, image, root_of, signature

ONE, TWO = image("one"), image("two")
GOOD, OTHER = signature(ONE.manifest), signature(ONE.manifest, "wabbit")
ABOUT = ONE.manifest.descriptor
TARGET = ABOUT.digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with one image and two signatures about it."""
    DiskCache(tmp_path / "cache").add([ONE.manifest, ONE.index, GOOD, OTHER])
    return tmp_path / "cache"


def found(root: Path, *targets: Descriptor) -> set[bytes]:
    each, _ = DiskCache(root).signatures_about(
        targets or [ABOUT], trusted=[root_of()], limit=100
    )
    about = list(each)
    assert all(item.digest.matches(item.envelope) for item in about)
    return {item.envelope for item in about}


def blob(root: Path, raw: bytes) -> Path:
    return root / "blobs" / "sha256" / Digest.of(raw).hex


def wreck(path: Path, how: str) -> None:
    """Put something else in the place of a file."""
    raw = path.read_bytes()
    path.unlink()
    replace: dict[str, Callable[[], object]] = {
        "removed": lambda: None,
        "empty": path.touch,
        "truncated": lambda: path.write_bytes(raw[:-1]),
        "changed": lambda: path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1])),
        "longer": lambda: path.write_bytes(raw + b" "),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("/etc/passwd"),
        "dangling": lambda: path.symlink_to("nowhere"),
        "huge": lambda: os.truncate(_touched(path), 1 << 40),
    }
    replace[how]()


def _touched(path: Path) -> Path:
    path.touch()
    return path


WRECKS = (
    "removed", "empty", "truncated", "changed", "longer", "folder", "pipe", "link",
    "dangling", "huge",
)  # fmt: skip


def test_nothing_is_an_empty_cache(tmp_path: Path) -> None:
    """Asking creates nothing: a daemon without rights to write can ask."""
    cache = DiskCache(tmp_path / "none")

    assert found(tmp_path / "none") == set()
    assert cache.manifest(TARGET) is None
    assert not cache.manifests_about(TARGET, [])
    assert not list(cache.entries())
    assert cache.check(repair=False).blobs == 0
    assert not list(tmp_path.iterdir())


def test_what_is_added_is_there_and_private(root: Path) -> None:
    assert found(root) == {GOOD.envelope, OTHER.envelope}
    for path in root.rglob("*"):
        mode = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == mode
    listed = list(DiskCache(root).entries())
    assert {entry.envelope for entry in listed} == {
        str(Digest.of(item.envelope)) for item in (GOOD, OTHER)
    }
    assert {entry.subject for entry in listed} == {str(TARGET)}


@pytest.mark.parametrize("how", WRECKS)
def test_a_damaged_signature_does_not_veto_another(root: Path, how: str) -> None:
    wreck(blob(root, OTHER.envelope), how)

    assert found(root) == {GOOD.envelope}

    wreck(blob(root, GOOD.envelope), how)
    with pytest.raises(CacheError, match=r"fsck --repair.*\[ENF-1401\]") as caught:
        found(root)
    assert caught.value.code is Code.CACHE_CORRUPT


@pytest.mark.parametrize("how", WRECKS)
def test_a_damaged_manifest_does_not_veto_what_else_is_known(
    root: Path, how: str
) -> None:
    """The engine may hold the manifest itself: a cached copy must not be in its way."""
    wreck(blob(root, ONE.index.raw), how)
    cache = DiskCache(root)

    assert list(cache.manifests_about(ONE.config_digest, [])) == [ONE.manifest]

    wreck(blob(root, ONE.manifest.raw), how)
    assert list(cache.manifests_about(ONE.config_digest, [TARGET])) == []
    with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
        cache.manifests_about(ONE.config_digest, [])


@pytest.mark.parametrize("how", [*WRECKS[:-1], "garbage", "other database"])
def test_a_damaged_index_is_an_error_until_it_is_made_again(
    root: Path, how: str
) -> None:
    """Never "unsigned": the operator must hear that the cache is broken."""
    index = root / "index.db"
    if how == "garbage":
        index.write_bytes(random.Random(1).randbytes(20_000))  # noqa: S311
    elif how == "other database":
        index.unlink()
        with sqlite3.connect(index) as database:
            database.execute("CREATE TABLE signatures(x)")
        database.close()
    elif how in ("truncated", "changed", "longer"):
        index.write_bytes(index.read_bytes()[:5000])
    else:
        wreck(index, how)
    cache = DiskCache(root)

    with pytest.raises(CacheError, match=r"index\.db.*fsck --repair.*\[ENF-1401\]"):
        found(root)
    if how in ("removed", "garbage"):
        with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
            cache.add([signature(TWO.manifest)])
    assert cache.check(repair=False).damaged == ("index.db",)
    assert cache.check(repair=True).damaged == ("index.db",)

    assert found(root) == {GOOD.envelope, OTHER.envelope}
    assert cache.manifests_about(ONE.config_digest, [])
    assert cache.check(repair=False).damaged == ()


def test_repair_puts_junk_aside_and_deletes_nothing(root: Path) -> None:
    blobs = root / "blobs" / "sha256"
    (blobs / "README").write_text("junk")
    (blobs / ("A" * 64)).write_text("not lower case")
    (blobs / "folder").mkdir()
    (blobs / "folder" / "file").write_text("precious")
    (blobs / "link").symlink_to("/etc/passwd")
    os.mkfifo(blobs / "pipe")
    (root / "incoming" / "0123").write_text("of a writer that died")
    wreck(blob(root, OTHER.envelope), "changed")
    junk = {"README", "A" * 64, "folder", "link", "pipe", Digest.of(OTHER.envelope).hex}
    cache = DiskCache(root)

    told = cache.check(repair=False)
    mended = cache.check(repair=True)

    half = Digest.of(OTHER.manifest).hex  # of no use without its envelope
    assert set(told.damaged) == set(mended.damaged) == junk
    assert told.lost == (str(Digest.of(OTHER.envelope)),)
    aside = {
        path.name.rpartition(".")[0]: path for path in (root / "damaged").iterdir()
    }
    assert set(aside) == junk | {half}
    assert (aside["folder"] / "file").read_text() == "precious"
    assert not (root / "incoming" / "0123").exists()
    assert cache.check(repair=False) == cache.check(repair=True)
    assert found(root) == {GOOD.envelope}


def test_importing_again_heals(root: Path) -> None:
    for how in WRECKS:
        if how != "folder":  # only `fsck --repair` moves a folder
            wreck(blob(root, GOOD.envelope), how)
            DiskCache(root).add([GOOD])
            assert found(root) == {GOOD.envelope, OTHER.envelope}


def test_the_index_cannot_lie_about_content(root: Path) -> None:
    """T-CA-2, T-CA-3: whatever it says, the bytes are those of their digest."""
    wrong, envelope = signature(TWO.manifest), bytes_of(Digest.of(GOOD.envelope))
    DiskCache(root).add([TWO.manifest, wrong])
    with sqlite3.connect(root / "index.db") as database:
        database.execute(
            "UPDATE signatures SET envelope = ?, form = 1 WHERE envelope = ?",
            [bytes_of(Digest.of(wrong.envelope)), envelope],
        )
        database.execute(
            "INSERT INTO configs VALUES(?,?)", [bytes_of(ONE.config_digest), envelope]
        )
    database.close()

    # It is returned, under its own digest; verification refuses it: its payload
    # names another subject.
    assert found(root) >= {wrong.envelope, OTHER.envelope}
    contents = DiskCache(root).manifests_about(ONE.config_digest, [])
    assert list(contents) == [ONE.manifest, ONE.index]


@pytest.mark.parametrize("column", ["envelope", "form"])
@pytest.mark.parametrize("value", [7, -1, b"\xff", "no digest", "sha256:../../x"])
def test_rows_of_any_shape_are_an_error_of_ours(
    root: Path, column: str, value: object
) -> None:
    with sqlite3.connect(root / "index.db") as database:
        change = f"UPDATE OR IGNORE signatures SET {column} = ?"  # noqa: S608
        database.execute(change, [value])
        database.execute("DELETE FROM likely")
    database.close()

    with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
        found(root)


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX IF EXISTS x; ALTER TABLE likely ADD COLUMN x",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER DELETE ON blobs BEGIN DELETE FROM signatures; END",
        "ALTER TABLE configs RENAME TO other; CREATE VIEW configs AS WITH RECURSIVE "
        "r(config, manifest) AS (VALUES(1, 2) UNION ALL SELECT * FROM r) "
        "SELECT * FROM r",
    ],
)
def test_other_tables_than_ours_are_damage(root: Path, change: str) -> None:
    """A view could keep us busy for ever, a trigger forget what it should keep."""
    database = sqlite3.connect(root / "index.db")
    database.executescript(change)
    database.close()

    with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
        found(root)
    with pytest.raises(CacheError, match=r"\[ENF-1401\]"):
        DiskCache(root).add([OTHER])


def test_a_media_type_comes_from_the_manifest_itself(tmp_path: Path) -> None:
    """A lying import must not change what a signature is compared with."""
    cache = DiskCache(tmp_path / "cache")
    cache.add([ONE.manifest])
    cache.add([Content("application/vnd.oci.image.index.v1+json", ONE.manifest.raw)])

    assert cache.manifest(TARGET) == ONE.manifest
    assert list(cache.manifests_about(ONE.config_digest, [])) == [ONE.manifest]


def test_the_same_envelope_under_another_media_type_hides_nothing(root: Path) -> None:
    """A second signature manifest may call the same bytes COSE; both are tried."""
    lie = GOOD.manifest.replace(b"application/jose+json", b"application/cose")
    DiskCache(root).add([SignatureFile(lie, GOOD.envelope)])

    about, _ = DiskCache(root).signatures_about([ABOUT], trusted=[], limit=9)

    types = {s.media_type for s in about if s.envelope == GOOD.envelope}
    assert types == {"application/cose", "application/jose+json"}


def test_what_does_not_fit_is_refused_and_the_rest_is_stored(tmp_path: Path) -> None:
    pair = signature(TWO.manifest)
    cut = SignatureFile(pair.manifest, pair.envelope[:-1])
    sha512 = pair.manifest.replace(
        str(Digest.of(pair.envelope)).encode(), b"sha512:" + b"a" * 128
    )
    items: list[Collected] = [
        cut,
        SignatureFile(sha512, pair.envelope),
        SignatureFile(ONE.manifest.raw, pair.envelope),
        SignatureFile(b"{", pair.envelope),
        Content("application/vnd.oci.image.manifest.v1+json", b"[]"),
        Refused("it", "because"),
        GOOD,
    ]

    count, refused = DiskCache(tmp_path / "cache").add(items)

    assert count == 1
    assert len(refused) == 6
    assert all("[ENF-" in item.why for item in refused[:-1])
    assert found(tmp_path / "cache") == {GOOD.envelope}
    assert DiskCache(tmp_path / "cache").check(repair=False).damaged == ()


def test_the_files_of_a_subjects_signatures_are_had_for_an_export(root: Path) -> None:
    """All of them; one that is damaged does not make the export a smaller one."""
    cache = DiskCache(root)
    cache.add([TWO.manifest, signature(TWO.manifest)])

    files = list(cache.signature_files([TARGET, ONE.index.descriptor.digest]))
    wreck(blob(root, GOOD.envelope), "changed")

    assert sorted(files, key=str) == sorted([GOOD, OTHER], key=str)
    assert list(cache.signature_files([Digest.of(b"nothing")])) == []
    with pytest.raises(CacheError):
        list(cache.signature_files([TARGET]))


def test_removing_forgets_by_subject_envelope_or_manifest(root: Path) -> None:
    cache = DiskCache(root)

    assert cache.remove(Digest.of(OTHER.envelope)) == 1
    assert found(root) == {GOOD.envelope}
    assert not blob(root, OTHER.envelope).exists()
    assert cache.remove(TARGET) == 1
    assert cache.remove(TARGET) == 0
    assert found(root) == set()
    assert cache.check(repair=True).blobs == 2  # the manifest and the index


def test_an_envelope_two_manifests_name_stays_until_both_are_gone(root: Path) -> None:
    again = json.loads(GOOD.manifest) | {"annotations": {"a": "b"}}
    DiskCache(root).add([SignatureFile(compact(again), GOOD.envelope)])

    DiskCache(root).remove(Digest.of(GOOD.manifest))

    assert GOOD.envelope in found(root)


def test_no_removed_file_ever_brings_a_signature_back(root: Path) -> None:
    """T-CA-6: what is known after losing a file was known before."""
    for path in [p for p in root.rglob("*") if p.is_file()]:
        copy = root.with_name("copy")
        shutil.copytree(root, copy)
        (copy / path.relative_to(root)).unlink()
        with contextlib.suppress(CacheError):
            assert found(copy) <= found(root)
            for content in DiskCache(copy).manifests_about(ONE.config_digest, []):
                assert content in (ONE.manifest, ONE.index)
        shutil.rmtree(copy)


def test_no_flipped_bit_is_ever_returned(root: Path) -> None:
    """T-CA-7: every bit when soaking, else some thousands of them."""
    step = 1 if SOAK else 199
    for path in [p for p in root.rglob("*") if p.is_file() and p.name != "lock"]:
        raw = path.read_bytes()
        is_index = path.name == "index.db"
        for bit in range(0, len(raw) * 8, step if is_index else max(1, step // 3)):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with contextlib.suppress(CacheError):
                assert found(root) <= {GOOD.envelope, OTHER.envelope}
                for content in DiskCache(root).manifests_about(ONE.config_digest, []):
                    assert content in (ONE.manifest, ONE.index)
        path.write_bytes(raw)
    assert found(root) == {GOOD.envelope, OTHER.envelope}


WRITER = """
import sys, pathlib
from enforcer.sources.cache import DiskCache
from enforcer.sources.cache.schema import raw as bytes_of
from tests.unit.sources.signed import image, signature
cache = DiskCache(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    one = image(f"{sys.argv[2]}-{number}")
    cache.add([one.manifest, one.index, signature(one.manifest)])
    print(number, flush=True)
    if sys.argv[3:]: break
"""


def writer(root: Path, name: str, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), name, *more],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_writer_leaves_a_cache_that_is_whole(root: Path) -> None:
    """T-CA-4: kill -9 at any moment; what was acknowledged is there, fsck is clean."""
    chance = random.Random(7)  # noqa: S311
    for number in range(300 if SOAK else 30):
        process = writer(root, f"round {number}")
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.random() * 0.06)
        process.kill()
        done = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        cache = DiskCache(root)
        for acknowledged in done[:-1] if done and not done[-1].isdigit() else done:
            one = image(f"round {number}-{acknowledged}")
            assert found(root, one.manifest.descriptor)
        assert found(root) == {GOOD.envelope, OTHER.envelope}
        told = cache.check(repair=False)
        assert (told.damaged, told.lost) == ((), ())
    mended = DiskCache(root).check(repair=True)
    assert mended.damaged == ()
    assert len(list(DiskCache(root).entries())) >= 2


DYING = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("DELETE FROM signatures")
os._exit(0)
"""


def test_the_log_of_a_writer_that_died_is_read_and_nothing_written(root: Path) -> None:
    """A full disk has no room for `-shm`, and a page without room is a SIGBUS."""
    subprocess.run([sys.executable, "-c", DYING, root / "index.db"], check=True)
    (root / "index.db-shm").unlink()
    assert (root / "index.db-wal").stat().st_size
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert not list(DiskCache(root).entries())  # the file alone still has two

    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after == before


def test_writers_and_readers_at_once_lose_nothing(root: Path) -> None:
    processes = [writer(root, f"w{number}", "once") for number in range(4)]
    stop = threading.Event()
    seen: list[set[bytes]] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(found(root))

    reader = threading.Thread(target=look)
    reader.start()
    codes = [process.wait(timeout=60) for process in processes]
    stop.set()
    reader.join()
    for process in processes:
        assert process.stdout
        process.stdout.close()

    assert codes == [0] * 4
    assert all(item == {GOOD.envelope, OTHER.envelope} for item in seen)
    for number in range(4):
        assert found(root, image(f"w{number}-0").manifest.descriptor)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little room; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_keeps_what_was_there(small_disk: Path) -> None:
    """And it is still answered from: asking needs no room."""
    root = small_disk / "cache"
    DiskCache(root).add([ONE.manifest, GOOD])
    (small_disk / "ballast").write_bytes(b"x" * 200_000)

    def fill_cache() -> None:
        for number in range(1000):
            more = signature(TWO.manifest, number=str(number))
            DiskCache(root).add([TWO.manifest, more])

    with pytest.raises(CacheError, match=r"No space left|disk is full") as caught:
        fill_cache()

    assert caught.value.code is Code.CACHE_UNAVAILABLE
    with contextlib.suppress(OSError), (small_disk / "rest").open("wb") as rest:
        rest.write(b"x" * 400_000)  # not one byte is left
    assert found(root) == {GOOD.envelope}
    assert not (root / "index.new").exists()
    (small_disk / "ballast").unlink()
    told = DiskCache(root).check(repair=False)
    assert (told.damaged, told.lost) == ((), ())
    DiskCache(root).add([OTHER])
    assert found(root) == {GOOD.envelope, OTHER.envelope}


def test_a_write_that_does_not_fit_changes_nothing(root: Path) -> None:
    """The same for whoever is not root; RLIMIT_FSIZE stands for the full disk."""
    before = (root / "index.db").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CacheError) as caught:
            DiskCache(root).add([signature(TWO.manifest)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert caught.value.code is Code.CACHE_UNAVAILABLE
    assert (root / "index.db").read_bytes() == before
    assert found(root) == {GOOD.envelope, OTHER.envelope}


def test_a_failed_import_changes_nothing(root: Path) -> None:
    def items() -> Iterator[Collected]:
        yield signature(TWO.manifest)
        raise CacheError("the source failed", remedy="")

    with pytest.raises(CacheError, match="the source failed"):
        DiskCache(root).add(items())

    assert found(root, TWO.manifest.descriptor) == set()
    assert found(root) == {GOOD.envelope, OTHER.envelope}


def test_a_folder_that_is_none_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CacheError, match=r"\[ENF-1402\]"):
            DiskCache(place).add([GOOD])


def test_orphans_of_a_crash_come_back_with_repair(root: Path) -> None:
    """Blobs reach the disk before the index names them."""
    late = signature(TWO.manifest)
    for raw in (TWO.manifest.raw, late.manifest, late.envelope):
        blob(root, raw).write_bytes(raw)
    told = DiskCache(root).check(repair=False)
    assert told.damaged == ()
    assert set(told.unnamed) == {
        str(Digest.of(blob_))
        for blob_ in (TWO.manifest.raw, late.manifest, late.envelope)
    }
    assert found(root, TWO.manifest.descriptor) == set()

    DiskCache(root).check(repair=True)

    assert found(root, TWO.manifest.descriptor) == {late.envelope}
    assert parse_signature_manifest(late.manifest) is not None


def test_a_cache_that_is_not_there_says_so(root: Path, tmp_path: Path) -> None:
    """What runs is not stopped for want of a disk that was not mounted."""
    assert DiskCache(root).absence() == ""

    (tmp_path / "mounted").mkdir()
    assert "no signature cache" in DiskCache(tmp_path / "mounted").absence()
    assert "no signature cache" in DiskCache(tmp_path / "none").absence()
    (root / "index.db").unlink()
    assert "no signature cache" in DiskCache(root).absence()
