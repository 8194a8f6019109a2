"""Exports that are killed at each call that changes something: old or new, whole."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.sources.layout import open_layout, placing
from enforcer.sources.layout.add import add_to_folder
from enforcer.sources.layout.contents import Blob, ExportError, LayoutContents, Named
from enforcer.sources.layout.writer import write_archive, write_folder
from tests.unit.sources.signed import Image, image

OLD, NEW = image("old"), image("new")
MOST_CALLS = 60  # of one kind in an export; there are a dozen
KILLED = (-9, 137)  # as strace passes it on
CALLS = ("mkdir", "rename", "renameat2", "unlink", "unlinkat", "fsync")
NO_EXCHANGE = "renameat2:error=EINVAL"  # as vfat before Linux 6.0, and NFS

Write = Callable[..., None]
KILLS = [
    *((write_folder, c) for c in ("mkdir", "rename", "renameat2", "unlinkat", "fsync")),
    *((write_archive, c) for c in ("rename", "unlink", "fsync")),
]


def contents(one: Image, **blobs: Blob) -> LayoutContents:
    held = [Blob.of(one.manifest.raw), Blob.of(one.config), *blobs.values()]
    by_digest = {blob.digest: blob for blob in held}
    return LayoutContents((Named(one.manifest.descriptor, tag="1"),), (), by_digest)


def what_is(path: Path, write: Write) -> str:
    """Say which of the two is there, every blob of it."""
    if not os.path.lexists(path):
        return "nothing"
    is_archive = write is write_archive
    with open_layout(path, archive=is_archive, whole=is_archive) as layout:
        manifest = layout.find(tag="1")
        (one,) = [one for one in (OLD, NEW) if one.manifest == manifest]
        assert layout.blob(one.config_digest, max_bytes=10_000) == one.config
    return "old" if one is OLD else "new"


def left(path: Path) -> list[str]:
    """What is beside it."""
    return sorted(p.name for p in path.parent.iterdir() if p != path)


def exported(write: Write, path: Path, *faults: str) -> int:
    """Export NEW with force in a process with faults in its calls; its exit status."""
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + ",".join(CALLS)]
    words += [f"-einject={fault}" for fault in faults]
    code = f"""
import sys; from pathlib import Path
from tests.unit.sources import test_layout_placing as t
t.{write.__name__}(Path(sys.argv[1]), t.contents(t.NEW), force=True)
"""
    command = [*words, sys.executable, "-B", "-c", code, str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def killed(write: Write, path: Path, call: str, *faults: str) -> Iterator[str]:
    """Kill an export over OLD at each call of a kind; yield what is there then."""
    for number in range(1, MOST_CALLS):
        write(path, contents(OLD), force=True)
        status = exported(write, path, *faults, f"{call}:signal=KILL:when={number}")
        assert status in (0, *KILLED)
        yield what_is(path, write)
        if status == 0:
            return
    raise AssertionError(f"an export that calls {call} for ever")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    if shutil.which("strace") is None:
        pytest.skip("strace kills")
    return tmp_path / "out"


@pytest.mark.parametrize(("write", "call"), KILLS)
def test_whenever_an_export_is_killed_there_is_the_old_or_the_new_whole(
    place: Path, write: Write, call: str
) -> None:
    """And the next one leaves nothing of it."""
    found = list(killed(write, place, call))

    assert len(found) > 1
    assert set(found) <= {"old", "new"}
    assert found[-1] == "new"
    write(place, contents(OLD), force=True)
    assert left(place) == []


def test_where_folders_cannot_be_exchanged_the_next_export_puts_back_what_was_there(
    place: Path,
) -> None:
    """Nothing is there between two renames; it is beside, and no other is lost."""
    write_folder(place, contents(OLD))
    between = "rename:signal=KILL:when=3"  # the first finds what is in the way

    assert exported(write_folder, place, NO_EXCHANGE, between) in KILLED
    assert what_is(place, write_folder) == "nothing"
    assert len(left(place)) == 2
    with pytest.raises(ExportError, match="something already") as refused:
        write_folder(place, contents(NEW))

    assert refused.value.code is Code.EXPORT_EXISTS
    assert what_is(place, write_folder) == "old"
    assert left(place) == []


@pytest.mark.parametrize("call", ["mkdir", "rename", "unlinkat", "fsync"])
def test_where_folders_cannot_be_exchanged_nothing_is_lost_for_good(
    place: Path, call: str
) -> None:
    for _ in killed(write_folder, place, call, NO_EXCHANGE):
        with pytest.raises(ExportError, match="something already"):
            write_folder(place, contents(NEW))
        assert what_is(place, write_folder) in ("old", "new")
        assert left(place) == []

    assert exported(write_folder, place, NO_EXCHANGE) == 0
    assert what_is(place, write_folder) == "new"
    assert left(place) == []


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_a_replacement_that_fails_leaves_what_was_there(
    place: Path, error: int
) -> None:
    """Not by another way: the disk is broken, or full, or not ours."""
    name = errno.errorcode[error]
    for faults in (
        [f"renameat2:error={name}"],
        [NO_EXCHANGE, f"rename:error={name}:when=2"],
        [NO_EXCHANGE, f"rename:error={name}:when=3"],
    ):
        write_folder(place, contents(OLD), force=True)

        assert exported(write_folder, place, *faults) == 1
        assert what_is(place, write_folder) == "old"
        assert left(place) == []


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_what_is_being_written_is_not_taken_for_left_over(
    tmp_path: Path, write: Write
) -> None:
    """Two at once to one place: each is whole, the later one stays."""
    path = tmp_path / "out"
    seen = []

    def meanwhile() -> Iterator[bytes]:
        seen.extend(left(path))
        write(path, contents(OLD), force=True)
        assert left(path) == seen
        assert what_is(path, write) == "old"
        yield b"slow"

    slow = Blob(Digest.of(b"slow"), 4, meanwhile)
    write(path, contents(NEW, slow=slow), force=True)

    assert len(seen) == 1
    assert what_is(path, write) == "new"
    assert left(path) == []


def test_what_comes_to_a_place_meanwhile_is_not_replaced_without_force(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out"

    def meanwhile() -> Iterator[bytes]:
        write_folder(path, contents(OLD))
        yield b"slow"

    slow = Blob(Digest.of(b"slow"), 4, meanwhile)
    with pytest.raises(ExportError, match="cannot be written"):
        write_folder(path, contents(NEW, slow=slow))

    assert what_is(path, write_folder) == "old"
    assert left(path) == []


def test_only_what_is_ours_and_for_this_place_is_tidied_away(tmp_path: Path) -> None:
    """Whoever may write beside it has us remove nothing else."""
    with placing.beside(tmp_path / "out") as (temporary, _):
        start = temporary.name[:-16]
    with placing.beside(tmp_path / "other") as (temporary, _):
        another = temporary.name
    (tmp_path / "home/x").mkdir(parents=True)
    (tmp_path / f"{start}link").symlink_to("home")
    os.mkfifo(tmp_path / f"{start}pipe")
    (tmp_path / f"{start}dead").touch()
    (tmp_path / f"{start}folder/x").mkdir(parents=True)
    (tmp_path / another).touch()
    (tmp_path / ".tmp-0123456789abcdef").touch()
    kept = ("link", "pipe")
    expected = {another, ".tmp-0123456789abcdef", "home"} | {start + k for k in kept}
    if os.geteuid() == 0:
        theirs = tmp_path / f"{start}theirs"
        theirs.touch()
        os.chown(theirs, 65534, 65534)
        expected.add(theirs.name)

    write_folder(tmp_path / "out", contents(NEW))

    assert set(left(tmp_path / "out")) == expected
    assert (tmp_path / "home/x").is_dir()


def test_a_copy_into_a_layout_that_was_killed_leaves_nothing_to_the_next(
    place: Path,
) -> None:
    """What it was writing grows inside the layout, under a lock that dies with it."""
    code = f"""
from pathlib import Path
from tests.unit.sources import test_layout_placing as t
t.add_to_folder(Path({str(place)!r}), t.contents(t.NEW))
"""
    killing = ["-e", "trace=rename", "-einject=rename:signal=KILL"]
    words = ["strace", "-f", "-qq", "-o", "/dev/null", *killing, sys.executable, "-B"]
    write_folder(place, contents(OLD))

    for inject in ("when=1", "when=3"):  # a blob, and index.json
        words[7] = f"-einject=rename:signal=KILL:{inject}"
        done = subprocess.run([*words, "-c", code], capture_output=True, check=False)
        assert done.returncode in KILLED
        assert what_is(place, write_folder) == "old"
        assert len(list(place.rglob(".tmp-*"))) == 1
    add_to_folder(place, contents(NEW))

    assert what_is(place, write_folder) == "new"
    assert list(place.rglob(".tmp-*")) == []
