"""Layouts that are written: the same every time, whole or not at all, ours to read."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.carried import CARRIED_INDEX
from enforcer.core.codes import Code
from enforcer.core.collected import Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import MAX_INDEX_ENTRIES, OCI_INDEX, OCI_MANIFEST
from enforcer.files import FileMissingError
from enforcer.sources.layout import open_layout
from enforcer.sources.layout.add import add_to_folder, add_to_layout
from enforcer.sources.layout.contents import (
    Blob,
    ExportError,
    LayoutContents,
    Loadable,
    Named,
)
from enforcer.sources.layout.tar import Source, Tar
from enforcer.sources.layout.tar_header import END, file_header
from enforcer.sources.layout.writer import stream_archive, write_archive, write_folder
from tests.engines.path import ENGINES, program
from tests.unit.sources.signed import describe, image, signature

ONE, TWO = image("one"), image("two")
ABOUT_ONE = signature(ONE.manifest)
LAYER = os.urandom(3_000_000)
NAME = "docker.io/library/app:1"

Write = Callable[..., None]


def blobs(*raws: bytes) -> dict[Digest, Blob]:
    return {blob.digest: blob for blob in map(Blob.of, raws)}


def contents(**changes: Any) -> LayoutContents:
    about = Descriptor.of(OCI_MANIFEST, ABOUT_ONE.manifest)
    raws = (ONE.manifest.raw, ONE.config, LAYER, ABOUT_ONE.manifest, ABOUT_ONE.envelope)
    return replace(
        LayoutContents(
            named=(Named(ONE.manifest.descriptor, (NAME,)),),
            beside=(about,),
            blobs=blobs(*raws),
            loadable=(Loadable(ONE.config_digest, (Digest.of(LAYER),), (NAME,)),),
        ),
        **changes,
    )


def broken(change: Callable[[], Iterator[bytes]]) -> LayoutContents:
    """Contents whose layer does not come as it was announced."""
    good = contents()
    layer = replace(good.blobs[Digest.of(LAYER)], open=change)
    return replace(good, blobs={**good.blobs, layer.digest: layer})


def written(write: Write, path: Path) -> list[object]:
    """Write, and read it all again."""
    write(path, contents())
    with open_layout(path, archive=write is write_archive, whole=True) as layout:
        assert b"".join(layout.stream(Descriptor.of("a layer", LAYER))) == LAYER
        assert layout.find(tag="1") == ONE.manifest
        assert layout.name_of(ONE.manifest.descriptor.digest) == NAME
        return list(layout.collect())


@pytest.fixture(params=[write_folder, write_archive])
def write(request: pytest.FixtureRequest) -> Write:
    found: Write = request.param
    return found


def test_what_is_written_is_read_again(tmp_path: Path, write: Write) -> None:
    """The index that lists signatures is no content of a cache's."""
    assert written(write, tmp_path / "out") == [ONE.manifest, ABOUT_ONE]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_index_json_names_what_engines_and_oras_ask_for(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", contents())

    index = json.loads((tmp_path / "out/index.json").read_bytes())
    image_line, carried = index["manifests"]

    assert image_line["annotations"] == {
        "io.containerd.image.name": NAME,
        "org.opencontainers.image.ref.name": "1",
    }
    assert carried["artifactType"] == CARRIED_INDEX
    assert "annotations" not in carried
    (loadable,) = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert loadable["RepoTags"] == ["app:1"]


def test_two_images_of_one_tag_keep_their_names_apart(tmp_path: Path) -> None:
    """Else oras and skopeo would take whichever comes last."""
    named = (
        Named(ONE.manifest.descriptor, (NAME,)),
        Named(TWO.manifest.descriptor, ("registry.test/db:1", "registry.test/db:2")),
    )
    more = {**contents().blobs, **blobs(TWO.manifest.raw)}
    write_folder(tmp_path / "out", contents(named=named, blobs=more))

    with open_layout(tmp_path / "out", archive=False) as layout:
        tags = [entry.tag for entry in layout.entries]
        assert layout.find(tag="2") == TWO.manifest

    assert tags == [NAME, "registry.test/db:1", "2", ""]


def test_the_same_contents_are_the_same_bytes(tmp_path: Path) -> None:
    """Whenever, by whom and in whatever order; nothing in it says so."""
    other = contents(blobs=dict(reversed(list(contents().blobs.items()))))
    write_archive(tmp_path / "a", contents())
    write_archive(tmp_path / "b", other)
    streamed = io.BytesIO()
    stream_archive(streamed, contents())

    raw = (tmp_path / "a").read_bytes()
    assert raw == (tmp_path / "b").read_bytes() == streamed.getvalue()
    with tarfile.open(tmp_path / "a") as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.mode, m.uname) for m in members} == {
        (0, 0, 0, 0o644, "")
    }


def test_other_programs_unpack_it(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", contents())
    (tmp_path / "out").mkdir()

    command = ["tar", "-x", "-f", str(tmp_path / "a.tar"), "-C", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, check=True)

    assert done.stderr == b""
    with open_layout(tmp_path / "out", archive=False) as layout:
        assert list(layout.collect()) == [ONE.manifest, ABOUT_ONE]


def test_a_layer_beyond_eight_gibibytes_has_a_header(tmp_path: Path) -> None:
    """As pax has it; the file here is a sparse one."""
    size = 9 * 1024**3
    head = file_header("blobs/sha256/x", size)
    with (tmp_path / "t").open("w+b") as file:
        file.write(head)
        file.truncate(len(head) + size + len(END))
        file.seek(0)
        (found,) = Tar(Source(file.fileno()))

    with tarfile.open(tmp_path / "t") as archive:
        (theirs,) = archive.getmembers()
    assert (found.name, found.size) == (theirs.name, theirs.size)
    assert found.size == size


def test_many_signatures_are_listed_in_several_indexes(tmp_path: Path) -> None:
    """An image index has at most so many lines, and so have these."""
    many = [Content(n) for n in range(MAX_INDEX_ENTRIES + 1)]
    held = {**contents().blobs, **blobs(*(one.raw for one in many))}
    beside = tuple(one.descriptor for one in many)
    write_folder(tmp_path / "out", contents(beside=beside, blobs=held))

    with open_layout(tmp_path / "out", archive=False) as layout:
        assert len([e for e in layout.entries if not e.tag]) == 2
        assert len(list(layout.collect())) == len(many) + 1


class Content:
    """A manifest that differs from others."""

    def __init__(self, number: int) -> None:
        self.raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": describe("x", b"%d" % number),
                "layers": [],
            }
        ).encode()
        self.descriptor = Descriptor.of(OCI_MANIFEST, self.raw)


def test_a_signature_that_is_lost_from_a_layout_is_told(tmp_path: Path) -> None:
    """Listed below index.json, and due all the same: it is not another platform's."""
    write_folder(tmp_path / "out", contents())
    lost = Digest.of(ABOUT_ONE.manifest)
    (tmp_path / "out/blobs/sha256" / lost.hex).unlink()

    with open_layout(tmp_path / "out", archive=False) as layout:
        found = list(layout.collect())

    (refused,) = [item for item in found if isinstance(item, Refused)]
    assert refused.what == str(lost)


# -- whole, or not at all --------------------------------------------------------------


def _missing() -> Iterator[bytes]:
    raise FileMissingError("there is no layer", remedy="Pull it.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_missing, "is not to be had: there is no layer. Pull it."),
        (lambda: iter((LAYER[:-1],)), "is not what its digest and size say"),
        (lambda: iter((LAYER, b"x")), "is not what its digest and size say"),
        (lambda: iter((LAYER[:-1], b"?")), "is not what its digest and size say"),
        (lambda: iter(()), "is not what its digest and size say"),
    ],
)
def test_an_export_that_lacks_something_leaves_nothing(
    tmp_path: Path, write: Write, change: Callable[[], Iterator[bytes]], said: str
) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        write(tmp_path / "out", broken(change))

    assert caught.value.code is Code.EXPORT_INCOMPLETE
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_goes_on_is_not_written_on(tmp_path: Path) -> None:
    """/dev/zero in place of a layer would fill the disk."""

    def endless() -> Iterator[bytes]:
        for _ in range(10):
            yield LAYER
        raise AssertionError("it was read on and on")

    with pytest.raises(ExportError, match="is not what its digest"):
        write_archive(tmp_path / "out", broken(endless))


def test_what_is_there_stays_unless_forced(tmp_path: Path, write: Write) -> None:
    written(write, tmp_path / "out")

    with pytest.raises(ExportError, match=r"out is something already.*--force") as why:
        write(tmp_path / "out", contents())
    with pytest.raises(ExportError, match="is not to be had"):
        write(tmp_path / "out", broken(_missing), force=True)

    assert why.value.code is Code.EXPORT_EXISTS
    is_archive = write is write_archive
    with open_layout(tmp_path / "out", archive=is_archive, whole=True) as layout:
        assert list(layout.collect()) == [ONE.manifest, ABOUT_ONE]
    write(tmp_path / "out", contents(beside=()), force=True)
    with open_layout(tmp_path / "out", archive=is_archive) as layout:
        assert list(layout.collect()) == [ONE.manifest]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_no_layout_is_never_replaced(tmp_path: Path, write: Write) -> None:
    """`--force oci-layout:/home` removes no home."""
    (tmp_path / "home/x").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    names = ("home", "link") if write is write_archive else ("home", "link", "file")

    for name in names:
        with pytest.raises(ExportError, match="is something else than a layout"):
            write(tmp_path / name, contents(), force=True)

    assert (tmp_path / "home/x").is_dir()
    assert (tmp_path / "file").read_bytes() == b"x"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    assert written(write_folder, tmp_path / "out") == [ONE.manifest, ABOUT_ONE]


def test_a_place_that_is_none_is_told(tmp_path: Path, write: Write) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "no/out", tmp_path / "file/out"):
        with pytest.raises(ExportError, match="cannot be written") as caught:
            write(path, contents())

        assert caught.value.code is Code.EXPORT_FAILED


def test_a_full_disk_leaves_nothing(tmp_path: Path, write: Write) -> None:
    """A file system of 256 KiB, mounted in a namespace of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("a file system is mounted by root")
    command = ["unshare", "--mount", "sh", "-euc", _SMALL, "sh", str(tmp_path)]
    name = write.__name__

    done = subprocess.run(
        [*command, sys.executable, "-c", _FILLING, name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
    )

    assert done.stderr == ""
    assert done.stdout == "ENF-2813 No space left on device []\n"


_SMALL = 'mount -t tmpfs -o size=256k tmpfs "$1"; cd "$1"; shift; exec "$@"'
_FILLING = """
import os, sys
from pathlib import Path
from enforcer.sources.layout import writer
from tests.unit.sources.test_layout_writer import ExportError, contents
try:
    getattr(writer, sys.argv[1])(Path("out"), contents())
except ExportError as error:
    print(error.code, str(error).partition("written: ")[2].partition(".")[0], end=" ")
print(os.listdir("."))
"""


def test_a_stream_that_breaks_off_has_no_end(tmp_path: Path) -> None:
    """Who reads it refuses it."""
    path = tmp_path / "t"
    with path.open("wb") as file, pytest.raises(ExportError):
        stream_archive(file, broken(lambda: iter((LAYER[:-1],))))

    with pytest.raises(EnforcerError, match="is cut"), open_layout(path, archive=True):
        pass


def test_a_stream_that_cannot_be_written_is_an_error() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OSError, match="No space"),
    ):
        stream_archive(full, contents())


# -- into a layout that is there -------------------------------------------------------


def test_contents_are_added_to_a_layout(tmp_path: Path) -> None:
    """What is there stays; a tag or name that is given anew moves."""
    write_folder(tmp_path / "out", contents())
    two = Named(TWO.manifest.descriptor, (NAME,))
    about = signature(TWO.manifest)
    raws = (TWO.manifest.raw, about.manifest, about.envelope)
    more = LayoutContents((two,), (_described(about),), blobs(*raws))

    for _ in range(2):
        add_to_folder(tmp_path / "out", more)

    with open_layout(tmp_path / "out", archive=False) as layout:
        assert layout.find(tag="1") == TWO.manifest
        assert set(map(id_of, layout.collect())) == {
            Digest.of(raw)
            for raw in (TWO.manifest.raw, about.manifest, ABOUT_ONE.manifest)
        }
        assert len(layout.entries) == 3
    assert not list((tmp_path / "out").rglob(".tmp-*"))


DB = "registry.test/db:1"


def test_a_bare_tag_moves_and_who_had_it_keeps_its_full_name(tmp_path: Path) -> None:
    """As with `docker tag` and oras: one tag, one image; no name is lost."""
    write_folder(tmp_path / "out", contents())
    held = blobs(TWO.manifest.raw)
    two = TWO.manifest.descriptor
    for named, tags in (
        (Named(two, (DB,)), [NAME, "", "1"]),
        (Named(two, tag="1"), [NAME, "", DB, "1"]),
        (Named(two), [NAME, "", DB, "1", ""]),
        (Named(two), [NAME, "", DB, "1", ""]),
        (Named(ONE.manifest.descriptor, tag="1"), [NAME, "", DB, "", "1"]),
        (Named(ONE.manifest.descriptor, (NAME,)), ["", DB, "", "1"]),
    ):
        add_to_folder(tmp_path / "out", LayoutContents((named,), (), held))

        with open_layout(tmp_path / "out", archive=False) as layout:
            assert [entry.tag for entry in layout.entries] == tags
            assert layout.find(tag="1").descriptor == named.descriptor or not named.tag
            assert layout.find(tag=NAME) == ONE.manifest
            assert layout.find(tag=DB) == TWO.manifest


def test_oras_skopeo_and_enforcer_take_the_same_image_for_a_tag(
    tmp_path: Path,
) -> None:
    """Of two lines with one tag skopeo takes the first and oras the last."""
    if not shutil.which("skopeo") or not (ENGINES / "forky/usr/bin/oras").exists():
        pytest.skip("this needs skopeo, and oras of `make engines`")
    held = {**contents().blobs, **blobs(TWO.manifest.raw, TWO.config)}
    two = LayoutContents((Named(TWO.manifest.descriptor, (DB,)),), (), held)
    write_folder(tmp_path / "out", contents())
    add_to_folder(tmp_path / "out", two)

    def oras(reference: str) -> str:
        words = ("manifest", "fetch", "--oci-layout", reference)
        return _said(tmp_path, program("oras"), *words)

    def skopeo(reference: str) -> str:
        words = ("--insecure-policy", "inspect", "--raw", f"oci:{reference}")
        return _said(tmp_path, "skopeo", *words)

    raw = TWO.manifest.raw.decode()
    assert oras("out:1") == skopeo("out:1") == raw
    raw, digest = ONE.manifest.raw.decode(), ONE.manifest.descriptor.digest
    assert skopeo(f"out:{NAME}") == oras(f"out@{digest}") == raw


def _said(folder: Path, *command: str | Path) -> str:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=env, cwd=folder
    )
    return done.stdout


def test_a_damaged_blob_is_mended_by_adding_it_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", contents())
    path = tmp_path / "out/blobs/sha256" / Digest.of(LAYER).hex
    for damage in (b"x", LAYER + b"x", bytes(len(LAYER))):
        path.write_bytes(damage)

        add_to_folder(tmp_path / "out", contents())

        assert path.read_bytes() == LAYER


def test_adding_that_fails_changes_nothing_that_is_listed(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", contents(beside=()))
    before = (tmp_path / "out/index.json").read_bytes()
    (tmp_path / "out/blobs/sha256" / Digest.of(LAYER).hex).unlink()

    with pytest.raises(ExportError, match="is not to be had"):
        add_to_folder(tmp_path / "out", broken(_missing))

    assert (tmp_path / "out/index.json").read_bytes() == before
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_a_folder_that_is_no_layout_is_not_added_to(tmp_path: Path) -> None:
    with pytest.raises(EnforcerError, match="is not an OCI layout"):
        add_to_folder(tmp_path, contents())

    assert list(tmp_path.iterdir()) == []


def test_a_signature_is_added_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", contents(beside=()))

    for _ in range(2):
        add_to_layout(tmp_path / "out", ABOUT_ONE)

    with open_layout(tmp_path / "out", archive=False) as layout:
        assert list(layout.collect()) == [ONE.manifest, ABOUT_ONE]
        assert len(layout.entries) == 2


def _described(one: SignatureFile) -> Descriptor:
    return Descriptor.of(OCI_MANIFEST, one.manifest)


def id_of(item: object) -> Digest:
    if isinstance(item, SignatureFile):
        return Digest.of(item.manifest)
    descriptor = getattr(item, "descriptor", None)
    assert isinstance(descriptor, Descriptor)
    assert descriptor.media_type != OCI_INDEX
    return descriptor.digest
