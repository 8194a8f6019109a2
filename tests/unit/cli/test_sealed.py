"""Sealed copies: in memory and on disk, whole or not at all."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer.cli.sealed import MAX_BYTES, SealError, sealed_copy
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, TooLargeError

RAW = os.urandom(3_000_000)
CONTENT = Descriptor.of("application/octet-stream", RAW)
WAYS = pytest.mark.parametrize("in_memory", [True, False])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def parts(raw: bytes) -> Iterator[bytes]:
    for start in range(0, len(raw), 1_000_000):
        yield raw[start : start + 1_000_000]


def copy(content: Descriptor, raw: Iterator[bytes], *, in_memory: bool) -> int:
    limit = content.size if in_memory else content.size - 1
    return sealed_copy(content, raw, max_memory_bytes=limit)


def open_handles() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors are no paths


@WAYS
def test_a_copy_holds_the_bytes_under_a_number_scripts_do_not_use(
    *, in_memory: bool, folder: Path
) -> None:
    handle = copy(CONTENT, parts(RAW), in_memory=in_memory)
    try:
        assert handle >= 20
        assert not os.get_inheritable(handle)
        assert Path(f"/proc/self/fd/{handle}").read_bytes() == RAW
        assert os.read(handle, 4) == RAW[:4]
        with pytest.raises(OSError, match=r"Bad file descriptor|not permitted"):
            os.write(handle, b"x")
        with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
            os.ftruncate(handle, 0)
        assert list(folder.iterdir()) == []
    finally:
        os.close(handle)


def test_a_copy_in_memory_is_sealed_for_good() -> None:
    handle = copy(CONTENT, parts(RAW), in_memory=True)
    try:
        seals = fcntl.fcntl(handle, fcntl.F_GET_SEALS)
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{handle}", os.O_WRONLY | os.O_TRUNC)
    finally:
        os.close(handle)

    expected = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    assert seals == expected | fcntl.F_SEAL_SEAL


@WAYS
@pytest.mark.parametrize("wrong", [RAW[:-1], RAW + b"x", b"x" + RAW[1:], b""])
def test_other_bytes_are_refused_and_nothing_is_left(
    wrong: bytes, *, in_memory: bool, folder: Path
) -> None:
    before = open_handles()
    with pytest.raises(EnforcerError, match=r"what was read is not the") as refused:
        copy(CONTENT, parts(wrong), in_memory=in_memory)

    assert refused.value.code is Code.CONTENT_TAMPERED
    assert open_handles() == before
    assert list(folder.iterdir()) == []


@WAYS
def test_a_source_that_never_ends_is_cut(*, in_memory: bool) -> None:
    drawn = 0

    def endless() -> Iterator[bytes]:
        nonlocal drawn
        while True:
            drawn += 1
            yield bytes(1_000_000)

    with pytest.raises(EnforcerError, match="is not the"):
        copy(CONTENT, endless(), in_memory=in_memory)
    assert drawn == 4


@WAYS
def test_a_source_that_fails_leaves_nothing(*, in_memory: bool) -> None:
    def failing() -> Iterator[bytes]:
        yield RAW[:1000]
        raise SealError("the stick is gone", remedy="-", code=Code.CONTENT_MISSING)

    before = open_handles()
    with pytest.raises(EnforcerError, match="the stick is gone"):
        copy(CONTENT, failing(), in_memory=in_memory)
    assert open_handles() == before


@pytest.mark.parametrize("place", ["/proc", "/no/such/folder", "/dev/null"])
def test_a_disk_that_cannot_hold_it_is_named(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", place)

    with pytest.raises(SealError, match=f"can be kept in {place}: ") as refused:
        copy(CONTENT, parts(RAW), in_memory=False)

    assert "TMPDIR" in refused.value.remedy
    assert refused.value.code is Code.EXEC_NO_ROOM


def test_what_no_device_has_room_for_is_not_tried() -> None:
    with pytest.raises(TooLargeError):
        sealed_copy(Descriptor("x", CONTENT.digest, MAX_BYTES + 1), iter(()))


@WAYS
def test_other_digests_than_sha256_are_checked_as_well(*, in_memory: bool) -> None:
    sha512 = Digest("sha512", hashlib.sha512(RAW).hexdigest())
    content = Descriptor("x", sha512, len(RAW))

    os.close(copy(content, parts(RAW), in_memory=in_memory))
    with pytest.raises(EnforcerError, match="sha512"):
        copy(content, parts(b"x" + RAW[1:]), in_memory=in_memory)
