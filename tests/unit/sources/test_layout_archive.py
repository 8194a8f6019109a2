"""Tar archives of layouts: read once, and refused whole for one thing that is wrong."""

import contextlib
import io
import itertools
import os
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.collected import Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.files import FileError, FileMissingError
from enforcer.sources.layout import ArchiveError, Layout, open_layout, whole_layout
from enforcer.sources.layout import archive as layout_archive
from enforcer.sources.layout import tar as layout_tar
from enforcer.sources.layout.add import add_to_layout
from enforcer.sources.layout.archive import ArchiveFiles, open_archive
from enforcer.sources.layout.tar import Source, Tar
from tests.engines.images import layout_to_tar, write_layout
from tests.unit.sources.signed import SOAK, signature
from tests.unit.sources.tars import (
    ABOUT_ONE,
    BLOCK,
    END,
    GOOD,
    HOSTILE,
    LAYER,
    NAMES,
    ONE,
    Attack,
    header,
    layout,
    member,
    tar,
)

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
Files = dict[str, bytes]


def write(path: Path, files: Files, format_: int = tarfile.USTAR_FORMAT) -> Path:
    """Write an archive as Python does, every time finer than a second in pax."""
    with tarfile.open(path, "w", format=format_) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if format_ in FORMATS[2:] else 1
            archive.addfile(info, io.BytesIO(data))
    return path


def files_in(handle: int) -> Files:
    reader = Tar(Source(handle))
    return {m.name: b"".join(reader.data(m)) for m in reader}


def read(path: Path) -> Files:
    with path.open("rb") as file:
        return files_in(file.fileno())


@contextlib.contextmanager
def piped(parts: Iterable[bytes]) -> Iterator[int]:
    """Lend the reading end of a pipe; who gives up early lets the writer end, too."""
    reading, writing = os.pipe()

    def fill() -> None:
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as file:  # noqa: PTH123
            for part in parts:
                file.write(part)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield reading
    finally:
        os.close(reading)
        thread.join()


@contextlib.contextmanager
def streamed(parts: Iterable[bytes]) -> Iterator[ArchiveFiles]:
    with piped(parts) as handle:
        files = ArchiveFiles(Source(handle), "a pipe", whole=True)
        with contextlib.closing(files):
            if files.has("index.json"):
                whole_layout(files)
            yield files


# -- what is right ---------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", ["a", "./a", "d" * 90 + "/" + "f" * 90, "ä"])
def test_files_are_read_in_every_format(
    tmp_path: Path, format_: int, name: str
) -> None:
    data = os.urandom(1500)
    path = write(tmp_path / "t", {"b": b"", name: data}, format_)

    found = read(path)

    assert found == {"b": b"", name.removeprefix("./"): data}
    with piped([path.read_bytes()]) as handle:
        assert files_in(handle) == found


def test_the_hostile_ones_are_wrong_in_one_thing_only(tmp_path: Path) -> None:
    """Else they might be refused for something else."""
    (tmp_path / "t").write_bytes(GOOD)

    with open_layout(tmp_path / "t", archive=True, whole=True) as found:
        assert list(found.collect()) == [ONE.manifest, ABOUT_ONE]
    with streamed([GOOD]) as files:
        assert list(Layout(files).collect()) == [ONE.manifest, ABOUT_ONE]


def test_zeros_may_follow_the_end(tmp_path: Path) -> None:
    """tar fills its last record, of up to a mebibyte."""
    for more in (0, 8 * BLOCK, 1024 * 1024):
        (tmp_path / "t").write_bytes(GOOD + bytes(more))

        assert len(read(tmp_path / "t")) == 6


def test_sizes_beyond_an_octal_number_are_understood_both_ways(tmp_path: Path) -> None:
    """GNU writes them in binary, Go and Python in pax; the file is a sparse one."""
    size = 8 * 1024**3
    for format_ in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("a")
        info.size = size
        head = info.tobuf(format_)
        with (tmp_path / "t").open("wb") as file:
            file.write(head)
            file.truncate(len(head) + size + len(END))

        with (tmp_path / "t").open("rb") as file:
            found = list(Tar(Source(file.fileno())))

        assert [(m.name, m.size) for m in found] == [("a", size)]


def test_what_docker_saves_is_imported_with_its_signatures(tmp_path: Path) -> None:
    """Docker 28 saves an OCI layout with manifest.json beside it."""
    digest = write_layout(tmp_path / "l", text="hi", tag="hello:1")
    with open_layout(tmp_path / "l", archive=False) as source:
        content = source.find(tag="1")
    add_to_layout(tmp_path / "l", signature(content))
    path = layout_to_tar(tmp_path / "l", tmp_path / "saved.tar")

    with open_layout(path, archive=True) as archive:
        found = list(archive.collect())
        assert archive.find(tag="1") == content

    assert str(content.descriptor.digest) == digest
    assert len(found) == 2
    assert not [item for item in found if isinstance(item, Refused)]


def test_a_layer_can_be_had_from_a_file_and_is_gone_from_a_pipe(tmp_path: Path) -> None:
    described = Descriptor.of("a layer", LAYER)
    (tmp_path / "t").write_bytes(GOOD)

    with open_layout(tmp_path / "t", archive=True) as found:
        assert b"".join(found.stream(described)) == LAYER
    with streamed([GOOD]) as files, pytest.raises(FileMissingError):
        list(Layout(files).stream(described))


def test_a_layer_is_hashed_as_it_is_streamed(tmp_path: Path) -> None:
    """Not every reader hashes layers first; who streams one learns it at the end."""
    path = tmp_path / "t"
    path.write_bytes(GOOD.replace(LAYER, LAYER[:-1] + b"?"))

    with open_layout(path, archive=True) as found:
        with pytest.raises(EnforcerError, match="other content than its name says"):
            list(found.stream(Descriptor.of("a layer", LAYER)))
        short = Descriptor("a layer", Digest.of(LAYER), len(LAYER) - 1)
        with pytest.raises(MalformedError, match="55 bytes, not the 54"):
            list(found.stream(short))


# -- what is refused, whole ------------------------------------------------------------


@pytest.mark.parametrize("attack", HOSTILE, ids=[attack.name for attack in HOSTILE])
def test_a_hostile_archive_is_refused(tmp_path: Path, attack: Attack) -> None:
    """security.md rows 70, 88, 92, 93; from a file and from a pipe."""
    (tmp_path / "t").write_bytes(attack.raw)

    with (
        pytest.raises(ArchiveError, match=r"/t (has|is|goes|says|lies)") as from_file,
        open_layout(tmp_path / "t", archive=True, whole=True),
    ):
        pass
    with pytest.raises(ArchiveError) as from_pipe, streamed([attack.raw]):
        pass

    assert (from_file.value.code, from_pipe.value.code) == (attack.code, attack.code)


def test_the_archives_of_attacks_have_names_of_their_own() -> None:
    assert len({attack.name for attack in HOSTILE}) == len(HOSTILE)


def test_an_archive_that_ends_early_is_refused_wherever_that_is(tmp_path: Path) -> None:
    """At every block, and beside it: what is there looks whole up to there."""
    cuts = range(0, len(GOOD), BLOCK)
    for cut in sorted({*cuts, *(c + 1 for c in cuts), *(c - 1 for c in cuts if c)}):
        (tmp_path / "t").write_bytes(GOOD[:cut])

        with pytest.raises(ArchiveError) as caught:
            read(tmp_path / "t")

        assert caught.value.code is Code.ARCHIVE_CUT, cut


def test_too_many_files_are_refused_before_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A million of them are half a gigabyte, or a few kilobytes by gzip."""
    most = layout_tar.MAX_MEMBERS if SOAK else 10
    monkeypatch.setattr(layout_tar, "MAX_MEMBERS", most)
    endless = (header(b"%d" % n) for n in itertools.count())

    with (
        pytest.raises(ArchiveError, match=f"more than {most} files"),
        streamed(endless),
    ):
        pass


def test_an_endless_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_tar, "MAX_ARCHIVE_BYTES", 100_000)
    endless = itertools.chain([header(b"a", 1 << 40)], itertools.repeat(b"x" * 512))

    with (
        pytest.raises(ArchiveError, match="more than 100000 bytes") as caught,
        streamed(endless),
    ):
        pass

    assert caught.value.code is Code.ARCHIVE_TOO_LARGE


def test_what_is_copied_out_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand blobs of 32 MiB that are no layers would fill the disk."""
    monkeypatch.setattr(layout_archive, "MAX_SPOOLED_BYTES", 3000)
    blobs = [os.urandom(1000) for _ in range(4)]
    names = [f"blobs/sha256/{Digest.of(raw).hex}".encode() for raw in blobs]
    (tmp_path / "t").write_bytes(tar(*map(member, names, blobs)))

    with (
        pytest.raises(ArchiveError, match="more than 3000 bytes besides layers"),
        open_archive(tmp_path / "t"),
    ):
        pass


def test_a_huge_index_is_never_read(tmp_path: Path) -> None:
    """It is a sparse file here, and 40 MiB through a pipe would be as much."""
    size = 40 * 1024 * 1024
    marker = next(m for m in layout() if m.startswith(b"oci-layout"))
    with (tmp_path / "t").open("wb") as file:
        file.write(marker + header(b"index.json", size))
        file.truncate(len(marker) + BLOCK + size + len(END))

    with (
        pytest.raises(TooLargeError, match=r"index.json .* more than 33554432 bytes"),
        open_layout(tmp_path / "t", archive=True),
    ):
        pass


def test_a_file_that_is_changed_while_it_is_read_is_read_once(tmp_path: Path) -> None:
    """What was checked is what is used: the file is not looked at again."""
    path = tmp_path / "t"
    path.write_bytes(GOOD)

    with open_layout(path, archive=True, whole=True) as found:
        with path.open("r+b") as file:
            file.write(os.urandom(len(GOOD)))
        items = list(found.collect())

    assert items == [ONE.manifest, ABOUT_ONE]


def test_a_pipe_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_tar, "MAX_SILENCE_SECONDS", 0.01)
    reading, writing = os.pipe()
    try:
        os.write(writing, GOOD[:700])
        with pytest.raises(FileError, match="gives nothing any more"):
            files_in(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_no_room_for_what_is_copied_out_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t").write_bytes(GOOD)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))

    with (
        pytest.raises(FileError, match="cannot be kept for now: No such file"),
        open_archive(tmp_path / "t"),
    ):
        pass


def test_nothing_is_left_where_it_was_copied_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TMPDIR", str(spool))
    (tmp_path / "t").write_bytes(GOOD)

    with open_archive(tmp_path / "t"):
        assert list(spool.iterdir()) == []


def test_a_named_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name in ("pipe", "none"):
        with pytest.raises(FileError), open_archive(tmp_path / name):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="mknod needs root")
def test_a_device_is_no_archive(tmp_path: Path) -> None:
    """/dev/zero has no end."""
    os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))

    with (
        pytest.raises(FileError, match="is not a regular file"),
        open_archive(tmp_path / "zero"),
    ):
        pass


# -- whatever comes --------------------------------------------------------------------


@given(
    st.binary(max_size=2000),
    st.integers(0, len(GOOD)),
    st.one_of(st.binary(max_size=600), st.sampled_from([a.raw for a in HOSTILE])),
)
def test_no_bytes_make_reading_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int, more: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.tar"
    for raw in (junk, GOOD[:place] + more + GOOD[place:], header() + junk):
        path.write_bytes(raw)
        with contextlib.suppress(EnforcerError):
            read(path)


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_what_is_accepted_is_what_python_finds(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int]],
    mend: bool,  # noqa: FBT001
) -> None:
    """Two readers see the same files, or ours refuses. With sums mended, too."""
    raw = bytearray(GOOD)
    for place, value in changes:
        raw[place] = value
    if mend:
        _mend(raw)
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    path.write_bytes(raw)
    try:
        found = read(path)
    except EnforcerError:
        return

    with tarfile.open(path, "r:") as archive:
        theirs = [m for m in archive.getmembers() if not m.isdir()]
        assert {m.name: _read(archive, m) for m in theirs} == found
        assert all(m.isreg() for m in theirs)


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file is not None
    return file.read()


def _mend(raw: bytearray) -> None:
    """Make the check sum of every header of GOOD right again."""
    position = 0
    for one in layout():
        head = raw[position : position + BLOCK]
        total = sum(head[:148]) + 8 * 32 + sum(head[156:])
        raw[position + 148 : position + 156] = b"%06o\0 " % total
        position += len(one)


def test_the_names_of_blobs_are_as_they_should_be() -> None:
    """The helpers are right: a fuzzer over a wrong archive finds nothing."""
    with streamed([GOOD]) as files:
        assert set(NAMES.values()) - set(files.names()) == {NAMES[LAYER]}
        found = list(Layout(files).collect())

    assert [type(item) for item in found[1:]] == [SignatureFile]
