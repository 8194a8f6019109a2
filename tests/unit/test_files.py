"""Files: what is opened, what is refused, and what a crash or a stranger can do."""

import fcntl
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from enforcer import files
from enforcer.core.errors import TooLargeError
from enforcer.files import (
    FileError,
    FileMissingError,
    FileNotTrustedError,
    locked,
    make_folder,
    read_file,
    remove_file,
    require_trusted_folder,
    write_file,
)


def read(path: Path, **options: bool) -> bytes:
    return read_file(path, max_bytes=100, **options)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)

    assert read(tmp_path / "a") == b"x" * 100


def test_a_byte_too_many_is_refused_and_the_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 101)

    with pytest.raises(TooLargeError, match=f"{tmp_path}/a has more than 100 bytes"):
        read(tmp_path / "a")


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs an attacker nothing."""
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(TooLargeError):
        read_file(tmp_path / "a", max_bytes=1 << 30)


def test_a_file_that_does_not_say_its_size_is_read_and_bounded() -> None:
    """Files in /proc have size 0."""
    assert read_file(Path("/proc/self/stat"), max_bytes=4096)
    with pytest.raises(TooLargeError):
        read_file(Path("/proc/self/status"), max_bytes=10)


def test_a_pipe_is_refused_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FileError, match="is not a regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/dev/null"])
def test_devices_and_folders_are_refused(path: str) -> None:
    with pytest.raises(FileError, match="is not a regular file"):
        read(Path(path))


def test_missing_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="/a does not exist"):
        read(tmp_path / "a")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300])
def test_a_name_no_file_can_have_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError):
        read(tmp_path / name)


def test_a_link_is_followed_only_where_the_caller_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")

    assert read(tmp_path / "link") == b"x"
    with pytest.raises(FileError, match="symbolic link, which is not followed"):
        read(tmp_path / "link", follow=False)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_trusted_file_must_be_ours_alone_to_write(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(mode)

    assert read(tmp_path / "a") == b"x"
    with pytest.raises(FileNotTrustedError, match=f"mode 0{mode:o}.*chmod go-w"):
        read(tmp_path / "a", trusted=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_a_trusted_file_or_folder_must_be_roots(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    os.chown(tmp_path / "a", 1000, 1000)
    os.chown(tmp_path / "folder", 1000, 1000)

    with pytest.raises(FileNotTrustedError, match="belongs to uid 1000, not to root"):
        read(tmp_path / "a", trusted=True)
    with pytest.raises(FileNotTrustedError, match="belongs to uid 1000, not to root"):
        require_trusted_folder(tmp_path / "folder")


def test_a_folder_is_no_better_than_those_above_it(tmp_path: Path) -> None:
    """T-PF-1: who may rename in a parent may exchange the folder."""
    folder = tmp_path / "open" / "mine"
    folder.mkdir(parents=True)
    require_trusted_folder(folder)

    (tmp_path / "open").chmod(0o777)
    with pytest.raises(FileNotTrustedError, match="/open can be written by"):
        require_trusted_folder(folder)

    (tmp_path / "open").chmod(0o1777)  # sticky, as /tmp
    require_trusted_folder(folder)
    folder.chmod(0o1777)  # but the folder itself must not be open at all
    with pytest.raises(FileNotTrustedError):
        require_trusted_folder(folder)


def test_a_link_or_file_is_no_trusted_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()

    for name in ("link", "file"):
        with pytest.raises(FileNotTrustedError, match="is not a folder"):
            require_trusted_folder(tmp_path / name)
    with pytest.raises(FileMissingError):
        require_trusted_folder(tmp_path / "none")


def test_a_link_above_a_trusted_folder_is_judged_by_where_it_leads(
    tmp_path: Path,
) -> None:
    (tmp_path / "open" / "mine").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("open")

    with pytest.raises(FileNotTrustedError, match="/open can be written by"):
        require_trusted_folder(tmp_path / "link" / "mine")


def test_writing_replaces_a_file_or_leaves_it_alone(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"one")
    write_file(tmp_path / "a", b"two", mode=0o644)

    assert (tmp_path / "a").read_bytes() == b"two"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match=f"cannot write {tmp_path}/folder"):
        write_file(tmp_path / "folder", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "folder"}


def test_writing_through_a_link_replaces_the_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    (tmp_path / "a").symlink_to("precious")

    write_file(tmp_path / "a", b"new")

    assert (tmp_path / "precious").read_bytes() == b"x"
    assert not (tmp_path / "a").is_symlink()


def test_a_write_that_does_not_fit_leaves_what_was_there(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for a full disk."""
    write_file(tmp_path / "a", b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"cannot write .*/a: File too large"):
            write_file(tmp_path / "a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_made_folders_are_private_all_the_way_down(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(FileError):
            make_folder(tmp_path / name)


def test_a_lock_excludes_others_and_ends_with_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", wait=True) as held:
        assert held
        with locked(tmp_path / "lock", wait=False) as second:
            assert not second
    with locked(tmp_path / "lock", wait=False) as held:
        assert held


def test_a_folder_can_be_locked_itself(tmp_path: Path) -> None:
    with locked(tmp_path, wait=True), locked(tmp_path, wait=False) as second:
        assert not second
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_lock_ends_when_it_is_let_go(tmp_path: Path) -> None:
    handle = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.1, os.close, [handle]).start()

    with locked(tmp_path / "lock", wait=True) as held:
        assert held


def test_waiting_for_a_stopped_holder_ends(tmp_path: Path) -> None:
    """Every wait has a bound; a process of its own has a shorter one."""
    script = (
        "import sys, pathlib; from enforcer import files; files.LOCK_SECONDS = 0.1\n"
        "try:\n"
        "    with files.locked(pathlib.Path(sys.argv[1]), wait=True): pass\n"
        "except files.FileError as error: print(error)\n"
    )
    with locked(tmp_path / "lock", wait=True):
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "lock"],
            capture_output=True,
            text=True,
            check=True,
        )

    assert "has been locked by another process for 0.1 s" in done.stdout
    assert files.LOCK_SECONDS == 30


def test_what_is_made_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    """Root's may be 077, and enforcerd, who is somebody else, reads what it makes."""
    old = os.umask(0o077)
    try:
        make_folder(tmp_path / "trust" / "store", mode=0o755)
        write_file(tmp_path / "trust" / "file", b"", mode=0o644)
    finally:
        os.umask(old)

    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "trust").iterdir()}
    assert modes == {"store": 0o755, "file": 0o644}
    assert (tmp_path / "trust").stat().st_mode & 0o777 == 0o755


def test_a_file_is_removed_and_a_link_as_such(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")

    remove_file(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    remove_file(tmp_path / "a")

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileMissingError, match="/a does not exist"):
        remove_file(tmp_path / "a")


@pytest.mark.parametrize("path", ["/proc/self/status", "/proc", "/proc/a\0b"])
def test_what_cannot_be_removed_is_an_error_of_ours(path: str) -> None:
    with pytest.raises(FileError, match="cannot remove /proc"):
        remove_file(Path(path))


def test_what_is_removed_is_not_back_after_a_power_cut(tmp_path: Path) -> None:
    """An anchor that comes back is trusted again."""
    (tmp_path / "a").write_bytes(b"x")
    script = (
        "import sys, pathlib; from enforcer.files import remove_file\n"
        "remove_file(pathlib.Path(sys.argv[1]))"
    )
    calls = tmp_path / "calls"
    words = ["strace", "-y", "-e", "trace=unlink,unlinkat,fsync", "-o", str(calls)]

    subprocess.run([*words, sys.executable, "-c", script, tmp_path / "a"], check=True)

    gone, synced, *_ = calls.read_text().splitlines()
    assert (gone.startswith("unlink"), f'"{tmp_path}/a"' in gone) == (True, True)
    assert synced.startswith("fsync(")
    assert f"<{tmp_path}>)" in synced
