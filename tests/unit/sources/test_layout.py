"""OCI layouts: what strangers put there is read without being believed."""

import json
import os
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.collected import Refused, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import OCI_INDEX, OCI_MANIFEST
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.core.strictjson import Json
from enforcer.core.subject import Content
from enforcer.files import FileError, FileMissingError, locked
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import Layout, LayoutError, open_layout
from enforcer.sources.layout.add import add_to_layout
from enforcer.sources.layout.index import MAX_ENTRIES
from tests.engines.images import write_layout
from tests.unit.sources.signed import compact, describe, image, signature

ONE, TWO = image("one"), image("two")
ABOUT_ONE, ABOUT_TWO = signature(ONE.manifest), signature(TWO.manifest)


class Folder:
    """A layout being made, wrong wherever a test wants it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[dict[str, object]] = []
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_bytes(compact({"imageLayoutVersion": "1.0.0"}))
        self.index({"schemaVersion": 2, "manifests": []})

    def blob(self, raw: bytes) -> Path:
        path = self.root / "blobs" / "sha256" / Digest.of(raw).hex
        path.write_bytes(raw)
        return path

    def add(self, raw: bytes, kind: str = OCI_MANIFEST, **members: Any) -> Path:
        self.entries.append(describe(kind, raw) | members)
        self.index({"schemaVersion": 2, "manifests": self.entries})
        return self.blob(raw)

    def sign(self, one: SignatureFile) -> Path:
        self.add(one.manifest)
        return self.blob(one.envelope)

    def index(self, document: object) -> None:
        (self.root / "index.json").write_bytes(compact(document))

    def open(self) -> Layout:
        with open_layout(self.root, archive=False) as layout:
            return layout

    def collect(self, only: Digest | None = None) -> tuple[list[object], list[Refused]]:
        items = list(self.open().collect(only))
        refused = [item for item in items if isinstance(item, Refused)]
        return [i for i in items if not isinstance(i, Refused)], refused


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "layout")


def test_everything_a_cache_keeps_is_collected(folder: Folder) -> None:
    folder.add(ONE.index.raw, OCI_INDEX)
    folder.blob(ONE.manifest.raw)
    folder.sign(ABOUT_ONE)

    assert folder.collect() == ([ONE.index, ABOUT_ONE, ONE.manifest], [])


def test_one_subject_alone_can_be_collected(folder: Folder) -> None:
    folder.add(ONE.index.raw, OCI_INDEX)
    folder.blob(ONE.manifest.raw)
    folder.add(TWO.manifest.raw)
    for one in (ABOUT_ONE, ABOUT_TWO):
        folder.sign(one)

    everything, refused = folder.collect(ONE.index.descriptor.digest)

    assert everything == [ONE.index, ABOUT_ONE, ONE.manifest]
    assert refused == []
    assert folder.collect(TWO.manifest.descriptor.digest)[0] == [
        TWO.manifest,
        ABOUT_TWO,
    ]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"mediaType": OCI_INDEX}, "is listed as"),
        ({"size": 7}, "is listed as .* of 7 bytes"),
        ({"mediaType": "application/octet-stream"}, "not a manifest"),
        ({"digest": f"sha256:{'0' * 64}"}, "does not exist"),
        ({"digest": str(TWO.manifest.descriptor.digest)}, "other content"),
    ],
)
def test_a_descriptor_that_lies_is_refused_and_the_rest_goes_on(
    folder: Folder, members: dict[str, Any], said: str
) -> None:
    """T-CA-2."""
    folder.add(ONE.manifest.raw, **members)
    (folder.root / "blobs/sha256" / TWO.manifest.descriptor.digest.hex).write_bytes(
        ONE.manifest.raw
    )
    folder.sign(ABOUT_ONE)

    found, (refused,) = folder.collect()

    assert found == [ABOUT_ONE]
    assert re.search(said, refused.why)
    assert "[ENF-" in refused.why


def test_annotations_and_artifact_types_of_a_listing_mean_nothing(
    folder: Folder,
) -> None:
    kind = "application/vnd.cncf.notary.signature"
    folder.add(ONE.manifest.raw, artifactType=kind, annotations={"a": "b"})
    folder.add(ABOUT_ONE.manifest, artifactType="application/x")
    folder.blob(ABOUT_ONE.envelope)

    assert folder.collect() == ([ONE.manifest, ABOUT_ONE], [])


def test_duplicates_are_read_once(folder: Folder) -> None:
    for _ in range(3):
        folder.add(ONE.manifest.raw)

    assert folder.collect() == ([ONE.manifest], [])


def test_indexes_in_indexes_end(folder: Folder) -> None:
    """A digest cannot contain itself; depth and repetition are what can be made."""
    raw, kinds = ONE.manifest.raw, OCI_MANIFEST
    for _ in range(30):
        listing = {"schemaVersion": 2, "mediaType": OCI_INDEX}
        raw = compact(listing | {"manifests": [describe(kinds, raw)] * 3})
        kinds = OCI_INDEX
        folder.add(raw, OCI_INDEX)

    found, refused = folder.collect()

    assert len(found) == 30
    assert refused == []


@pytest.mark.parametrize("count", [MAX_ENTRIES + 1, 200_000])
def test_too_many_entries_are_refused_at_once(folder: Folder, count: int) -> None:
    entry = describe(OCI_MANIFEST, ONE.manifest.raw)
    if count < 100_000:
        folder.index({"schemaVersion": 2, "manifests": [entry] * count})
    else:
        folder.index({"manifests": [describe("a", b"") | {"x": "y" * 200}] * count})

    with pytest.raises(EnforcerError, match="more than"):
        folder.open()


def test_indexes_that_list_too_much_together_are_refused_before_anything_is_taken(
    folder: Folder,
) -> None:
    for number in range(21):
        listed = [describe(OCI_MANIFEST, f"{number} {n}".encode()) for n in range(1000)]
        folder.add(
            compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}),
            OCI_INDEX,
        )

    with pytest.raises(LayoutError, match=f"lists more than {MAX_ENTRIES} manifests"):
        next(folder.open().collect())


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'{"manifests":{}}', b'{"manifests":[7]}', b"{}",
        b'{"manifests":[],"manifests":[]}', b'{"Manifests":[]}', b"\xff", b"[" * 9999,
        b'{"manifests":[{"mediaType":"a","digest":"sha256:../../etc","size":1}]}',
        b'{"manifests":[{"mediaType":"a","digest":"sha1:00","size":-1}]}',
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_an_error_of_ours(folder: Folder, raw: bytes) -> None:
    (folder.root / "index.json").write_bytes(raw)

    with pytest.raises((MalformedError, LayoutError)):
        folder.open()


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"imageLayoutVersion":"2.0.0"}', b"[]"])
def test_another_version_of_layout_is_refused(folder: Folder, raw: bytes) -> None:
    """image-layout.md: the version must be known; oras refuses others, too."""
    (folder.root / "oci-layout").write_bytes(raw)

    with pytest.raises(MalformedError):
        folder.open()


def test_what_is_no_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=f"{tmp_path} is not an OCI layout"):
        Folder.open(_bare(tmp_path))


def _bare(root: Path) -> Folder:
    made = Folder.__new__(Folder)
    made.root = root
    return made


@pytest.mark.parametrize("how", ["pipe", "link", "folder", "empty", "cut"])
@pytest.mark.parametrize("what", ["manifest", "envelope", "child"])
def test_a_bad_blob_is_refused_and_the_rest_goes_on(
    folder: Folder, what: str, how: str
) -> None:
    bad = {
        "manifest": lambda: folder.add(TWO.manifest.raw),
        "envelope": lambda: folder.sign(ABOUT_TWO),
        "child": lambda: (
            folder.add(TWO.index.raw, OCI_INDEX),
            folder.blob(TWO.manifest.raw),
        )[1],
    }[what]()
    folder.add(ONE.manifest.raw)
    folder.sign(ABOUT_ONE)
    raw = bad.read_bytes()
    bad.unlink()
    replace: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(bad),
        "link": lambda: bad.symlink_to("/etc/passwd"),
        "folder": bad.mkdir,
        "empty": bad.touch,
        "cut": lambda: bad.write_bytes(raw[:-1]),
    }
    replace[how]()

    found, refused = folder.collect()

    assert [item for item in (ONE.manifest, ABOUT_ONE) if item in found]
    assert len(refused) == 1
    if what == "child":
        assert folder.open().children(TWO.index) == ()


def test_what_an_index_lists_and_nobody_brought_is_no_loss(folder: Folder) -> None:
    """`skopeo copy` of one platform brings the index and one of its manifests."""
    folder.add(ONE.index.raw, OCI_INDEX)

    assert folder.collect() == ([ONE.index], [])


def test_a_huge_envelope_is_refused_unread(folder: Folder) -> None:
    """100 MiB that claim to be 5 KiB, and 100 MiB that say so."""
    path = folder.sign(ABOUT_ONE)
    os.truncate(path, 100 * 1024 * 1024)
    manifest = json.loads(ABOUT_TWO.manifest)
    manifest["layers"][0]["size"] = MAX_ENVELOPE_BYTES + 1
    folder.add(compact(manifest))

    found, refused = folder.collect()

    assert found == []
    assert len(refused) == 2
    assert all("more than" in item.why for item in refused)


def test_a_name_is_found_by_tag_or_digest_or_alone(folder: Folder) -> None:
    tag = {"org.opencontainers.image.ref.name": "1"}
    full = tag | {"io.containerd.image.name": "docker.io/library/one:1"}
    folder.add(ONE.manifest.raw, annotations=full)
    folder.sign(ABOUT_ONE)
    layout = folder.open()

    assert layout.find() == layout.find(tag="1") == ONE.manifest
    assert layout.find(digest=ONE.manifest.descriptor.digest) == ONE.manifest
    assert layout.name_of(ONE.manifest.descriptor.digest) == "docker.io/library/one:1"
    assert layout.name_of(Digest.of(b"")) == ""
    with pytest.raises(LayoutError, match=r"has 0 entries for 2.*tags there: 1"):
        layout.find(tag="2")
    folder.add(TWO.manifest.raw, annotations=tag)
    with pytest.raises(LayoutError, match="has 2 entries for 1"):
        folder.open().find(tag="1")


def test_a_layout_of_the_engines_tests_is_imported(tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "l", text="hi", tag="hello:1", index=True)
    cache = DiskCache(tmp_path / "cache")

    with open_layout(tmp_path / "l", archive=False) as layout:
        assert cache.add(layout.collect()) == (0, [])

    assert cache.manifest(Digest.parse(digest)) is not None


def test_a_signature_is_written_beside_the_image(folder: Folder) -> None:
    folder.add(ONE.manifest.raw)

    add_to_layout(folder.root, ABOUT_ONE)

    assert folder.collect() == ([ONE.manifest, ABOUT_ONE], [])
    listed = json.loads((folder.root / "index.json").read_bytes())["manifests"]
    assert "org.opencontainers.image.ref.name" not in listed[1]["annotations"]


def test_a_damaged_blob_in_the_way_is_replaced(folder: Folder) -> None:
    folder.blob(ABOUT_ONE.envelope).write_bytes(b"x")

    add_to_layout(folder.root, ABOUT_ONE)

    assert folder.collect() == ([ABOUT_ONE], [])


def test_signatures_written_at_once_are_all_listed(folder: Folder) -> None:
    """A lock on index.json itself would be a lock on a file that is replaced."""
    made = [signature(ONE.manifest, n=str(n)) for n in range(16)]
    threads = [
        threading.Thread(target=add_to_layout, args=(folder.root, one)) for one in made
    ]
    with locked(folder.root, wait=True):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()

    found, refused = folder.collect()

    assert refused == []
    assert len(found) == 16


@pytest.mark.parametrize("raw", [b"{", b"{}", b'{"manifests":7}'])
def test_a_layout_that_cannot_be_added_to_is_left_alone(
    folder: Folder, raw: bytes
) -> None:
    (folder.root / "index.json").write_bytes(raw)

    with pytest.raises(EnforcerError, match=r"index\.json"):
        add_to_layout(folder.root, ABOUT_ONE)

    assert (folder.root / "index.json").read_bytes() == raw


class Memory:
    """Layout files in memory, for hostile documents by the hundred."""

    name = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, *, max_bytes: int) -> bytes:
        if name not in self._files:
            raise FileMissingError(f"no {name}", remedy="")
        return self._files[name][:max_bytes]

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        yield self.read(name, max_bytes=size)


NAMES = (
    "manifests", "layers", "config", "subject", "digest", "size", "mediaType",
    "schemaVersion", "annotations", "platform",
)  # fmt: skip
JSONS: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSONS, JSONS)
def test_no_document_makes_collecting_fail_otherwise(index: Json, blob: Json) -> None:
    """Hostile JSON is an EnforcerError or a refusal, and nothing else."""
    raw = compact(blob)
    listed = describe(OCI_MANIFEST, raw)
    files = {
        "oci-layout": compact({"imageLayoutVersion": "1.0.0"}),
        "index.json": compact({"manifests": [listed]}),
        f"blobs/sha256/{Digest.of(raw).hex}": raw,
    }
    for item in Layout(Memory(files)).collect():
        assert isinstance(item, Refused | Content | SignatureFile)
    try:
        Layout(Memory(files | {"index.json": compact(index)}))
    except EnforcerError:
        return


LAYER = b"layer" * 500_000  # more than one part


def _archived(folder: Folder) -> Path:
    archive = folder.root.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(folder.root, arcname=".")
    return archive


def test_a_large_blob_comes_in_parts(folder: Folder) -> None:
    """Firmware has gigabytes, and this process has not."""
    folder.blob(LAYER)
    wanted = Descriptor.of("x", LAYER)
    with open_layout(_archived(folder), archive=True) as archived:
        for layout in (folder.open(), archived):
            parts = list(layout.stream(wanted))

            assert b"".join(parts) == LAYER
            assert len(parts) == 3


@pytest.mark.parametrize("change", [b"other" * 500_000, LAYER[:-1], LAYER + b"x"])
def test_a_large_blob_that_is_another_is_noticed(folder: Folder, change: bytes) -> None:
    """By digest or by size; whoever drew it to the end is told."""
    folder.blob(LAYER).write_bytes(change)
    wanted = Descriptor.of("x", LAYER)
    for path in (folder.root, _archived(folder)):
        with (
            pytest.raises(MalformedError, match=r"other content|bytes, not the"),
            open_layout(path, archive=path != folder.root) as layout,
        ):
            list(layout.stream(wanted))


def test_a_large_blob_that_is_cut_while_it_is_read_is_noticed(folder: Folder) -> None:
    path = folder.blob(LAYER)
    parts = folder.open().stream(Descriptor.of("x", LAYER))
    next(parts)
    os.truncate(path, 10)

    with pytest.raises(MalformedError, match="is cut short"):
        list(parts)


def test_a_large_blob_is_no_link_and_not_absent(folder: Folder, tmp_path: Path) -> None:
    """CVE-2026-50162's kin: what is outside the layout is not in it."""
    wanted = Descriptor.of("x", LAYER)
    with pytest.raises(FileMissingError):
        list(folder.open().stream(wanted))
    (tmp_path / "outside").write_bytes(LAYER)
    place = folder.blob(LAYER)
    place.unlink()
    place.symlink_to(tmp_path / "outside")

    with pytest.raises(FileError, match="symbolic link"):
        list(folder.open().stream(wanted))
