"""Tar archives of layouts: headers that lie, members that are not files."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.collected import Refused
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.files import FileError, FileMissingError
from enforcer.sources.layout import files as layout_files
from enforcer.sources.layout import open_layout
from enforcer.sources.layout.add import add_to_layout
from enforcer.sources.layout.files import open_archive
from tests.engines.images import layout_to_tar, write_layout
from tests.unit.sources.signed import image, signature

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def member(
    name: str, data: bytes = b"x", **changes: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def write(
    path: Path,
    members: Iterable[tuple[tarfile.TarInfo, bytes]],
    format_: int = tarfile.USTAR_FORMAT,
) -> Path:
    with tarfile.open(path, "w", format=format_) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def read(path: Path, name: str = "a", max_bytes: int = 100) -> bytes:
    with open_archive(path) as files:
        return files.read(name, max_bytes=max_bytes)


def header(name: bytes = b"a", size: bytes = b"1", kind: bytes = b"0") -> bytes:
    """A ustar header with a right check sum over whatever it says."""
    raw = bytearray(512)
    raw[: len(name)] = name
    raw[124 : 124 + len(size)] = size
    raw[156:157] = kind
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b"%06o\0 " % (sum(raw) + 8 * 32)
    return bytes(raw)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", ["a", "./a", "d" * 90 + "/" + "f" * 90, "ä"])
def test_members_are_read_by_name_in_every_format(
    tmp_path: Path, format_: int, name: str
) -> None:
    data = os.urandom(1500)
    path = write(tmp_path / "t", [member("b"), member(name, data)], format_)

    assert read(path, name.removeprefix("./"), 1500) == data
    with pytest.raises(FileMissingError, match="has no c"):
        read(path, "c")
    with pytest.raises(TooLargeError, match="more than 1499 bytes"):
        read(path, name.removeprefix("./"), 1499)


def test_pax_names_and_times_are_understood(tmp_path: Path) -> None:
    """Go writes a pax header for every member with a time finer than a second."""
    long = "blobs/sha512/" + "0" * 128
    info, data = member(long, b"y", mtime=1.5)

    assert read(write(tmp_path / "t", [(info, data)], tarfile.PAX_FORMAT), long) == b"y"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_no_files(tmp_path: Path, kind: bytes) -> None:
    info, _ = member("a", b"", type=kind, linkname="/etc/passwd")

    with pytest.raises(MalformedError, match="not a plain file"):
        read(write(tmp_path / "t", [(info, b"")]))


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    """One reader takes the first, another the last."""
    path = write(tmp_path / "t", [member("a", b"1"), member("./a", b"2")])

    with pytest.raises(MalformedError, match="two members called a"):
        read(path)


def test_names_that_lead_elsewhere_are_never_asked_for(tmp_path: Path) -> None:
    names = ["/a", "../a", "blobs/../a", "a/"]
    path = write(tmp_path / "t", [member(name) for name in names])

    with pytest.raises(FileMissingError):
        read(path)


def test_compressed_archives_say_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "t", [member("a", os.urandom(2000))])
    path.write_bytes(gzip.compress(path.read_bytes()))

    with pytest.raises(MalformedError, match=r"not a plain tar.*gunzip it first"):
        read(path)


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 1000])
def test_a_cut_archive_is_refused(tmp_path: Path, cut: int) -> None:
    raw = header(size=b"00000002000") + b"x" * 1024
    (tmp_path / "t").write_bytes(raw[: len(raw) - cut])

    with pytest.raises(MalformedError, match="cut short"):
        read(tmp_path / "t")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (b"77777777777", "lies about a size"),
        (b"\x80" + b"\xff" * 11, "lies about a size"),
        (b"\xff" * 12, "lies about a size"),
        (b"-0000000001", "not a plain tar"),
        (b"+0000000001", "not a plain tar"),
        (b"0_1", "not a plain tar"),
        (b"8", "not a plain tar"),
    ],
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g", b"S"])
def test_sizes_that_lie_are_refused_without_being_believed(
    tmp_path: Path, size: bytes, said: str, kind: bytes
) -> None:
    """tarfile would allocate them, or walk backwards for ever (CVE-2025-8194)."""
    (tmp_path / "t").write_bytes(header(size=size, kind=kind) + b"\0" * 1024)

    with pytest.raises(MalformedError, match=said):
        read(tmp_path / "t")


@pytest.mark.parametrize("kind", [b"x", b"L"])
def test_a_huge_name_header_is_refused_unread(tmp_path: Path, kind: bytes) -> None:
    with (tmp_path / "t").open("wb") as file:
        file.write(header(size=b"07777777777", kind=kind))
        file.truncate(1 << 31)

    with pytest.raises(MalformedError, match="a header of more than 65536 bytes"):
        read(tmp_path / "t")


@pytest.mark.parametrize(
    "records",
    [
        b"x", b"5 a=b\n", b"6 a=b\n6", b"999999 a=b\n", b"0 a=\n", b"-6 a=b\n",
        b"7 a=b\n\0",
    ],
)  # fmt: skip
def test_malformed_pax_headers_are_refused(tmp_path: Path, records: bytes) -> None:
    size = b"%011o" % len(records)
    raw = header(size=size, kind=b"x") + records.ljust(512, b"\0")
    (tmp_path / "t").write_bytes(raw + header() + b"x" * 512)

    with pytest.raises(MalformedError, match="pax header"):
        read(tmp_path / "t")


def test_pax_decides_path_and_size_of_the_next_member_only(tmp_path: Path) -> None:
    records = b"10 path=b\n9 size=3\n"
    first = header(size=b"%011o" % len(records), kind=b"x") + records.ljust(512, b"\0")
    raw = first + header(b"a", b"1") + b"xyz".ljust(512, b"\0")
    (tmp_path / "t").write_bytes(raw + header(b"c", b"1") + b"z".ljust(512, b"\0"))

    assert read(tmp_path / "t", "b") == b"xyz"
    assert read(tmp_path / "t", "c") == b"z"


def test_sparse_members_are_no_files(tmp_path: Path) -> None:
    records = b"22 GNU.sparse.major=1\n"
    first = header(size=b"%011o" % len(records), kind=b"x") + records.ljust(512, b"\0")
    (tmp_path / "t").write_bytes(first + header() + b"x" * 512)
    (tmp_path / "s").write_bytes(header(kind=b"S") + b"x" * 512)

    for name in ("t", "s"):
        with pytest.raises(MalformedError, match="not a plain file"):
            read(tmp_path / name)


def test_too_many_members_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_files, "MAX_MEMBERS", 10)
    path = write(tmp_path / "t", [member(str(n)) for n in range(11)])

    with pytest.raises(MalformedError, match="more than 10 members"):
        read(path)


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FileError, match="is not a regular file"):
        read(tmp_path / "pipe")
    with pytest.raises(FileMissingError):
        read(tmp_path / "none")


def test_what_docker_saves_is_imported_with_its_signatures(tmp_path: Path) -> None:
    """Docker 28 saves an OCI layout with manifest.json beside it."""
    digest = write_layout(tmp_path / "l", text="hi", tag="hello:1")
    with open_layout(tmp_path / "l", archive=False) as layout:
        content = layout.find(tag="1")
    add_to_layout(tmp_path / "l", signature(content))
    path = layout_to_tar(tmp_path / "l", tmp_path / "saved.tar")

    with open_layout(path, archive=True) as archive:
        found = list(archive.collect())
        assert archive.find(tag="1") == content

    assert str(content.descriptor.digest) == digest
    assert len(found) == 2
    assert not [item for item in found if isinstance(item, Refused)]


MARKER = b'{"imageLayoutVersion":"1.0.0"}'
RIGHT = header(b"oci-layout", b"%011o" % len(MARKER)) + MARKER.ljust(512, b"\0")


@given(st.binary(max_size=2000), st.integers(0, 1023), st.binary(max_size=600))
def test_no_bytes_make_reading_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int, more: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.tar"
    for raw in (junk, RIGHT[:place] + more + RIGHT[place:], header() + junk):
        path.write_bytes(raw)
        try:
            read(path)
        except EnforcerError:
            continue


def test_an_image_is_what_it_was(tmp_path: Path) -> None:
    """The helper above is right: a fuzzer over a wrong header finds nothing."""
    (tmp_path / "t").write_bytes(RIGHT)

    assert b"1.0.0" in read(tmp_path / "t", "oci-layout")
    assert image("x") == image("x")
