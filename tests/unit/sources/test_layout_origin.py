"""A layout as the origin of a copy: what it holds of memory while it is looked at."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from enforcer.copying import MAX_MANIFEST_BYTES as MOST_COPIED
from enforcer.core.codes import Code
from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.image import MAX_MANIFEST_BYTES, OCI_INDEX, OCI_MANIFEST
from enforcer.core.subject import Content
from enforcer.sources.layout import LayoutError, open_layout
from enforcer.sources.layout.contents import Blob, LayoutContents, Named
from enforcer.sources.layout.index import MAX_ENTRIES
from enforcer.sources.layout.origin import MAX_READ_BYTES, LayoutOrigin
from enforcer.sources.layout.writer import write_archive, write_folder
from tests.unit.sources.signed import compact, describe, image, signature

MIB = 1024 * 1024
MOST_RSS = 96 * MIB  # of a process that copies something small
ONE, TWO = image("one"), image("two")


def about(subject: Content, number: int = 0, *, size: int = 0) -> bytes:
    """A manifest about another one, of this size or what it takes."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": describe("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [],
        "subject": describe(subject.media_type, subject.raw),
        "annotations": {"number": str(number), "filler": ""},
    }
    document["annotations"] = {
        "number": str(number),
        "filler": "x" * (size - len(compact(document))),
    }
    return compact(document)


def listing(
    *manifests: bytes, beside: tuple[Descriptor, ...] | None = None
) -> LayoutContents:
    """A layout of ONE, tagged 1, with these manifests beside it."""
    blobs = [Blob.of(raw) for raw in (ONE.manifest.raw, ONE.config, b"{}", *manifests)]
    return LayoutContents(
        (Named(ONE.manifest.descriptor, tag="1"),),
        beside or tuple(Descriptor.of(OCI_MANIFEST, raw) for raw in manifests),
        {blob.digest: blob for blob in blobs},
    )


def origin(folder: Path) -> LayoutOrigin:
    with open_layout(folder, archive=False) as layout:
        return LayoutOrigin(layout)


@pytest.mark.parametrize("subject", ["another", "what is copied"])
def test_a_hostile_archive_costs_a_copy_no_more_memory_than_its_bounds(
    tmp_path: Path, subject: str
) -> None:
    """400 MiB of manifests: about something else they are passed over.

    About what is copied they are refused where there are too many, and not held.
    """
    is_other = subject == "another"
    of = TWO.manifest if is_other else ONE.manifest
    raws = (about(of, n, size=MAX_MANIFEST_BYTES) for n in range(100))
    write_archive(tmp_path / "a.tar", listing(*raws))
    words = ["copy", f"oci-archive:{tmp_path}/a.tar:1", f"oci-layout:{tmp_path}/out"]
    folders = [f"--{kind}-dir={tmp_path}" for kind in ("state", "config", "run")]

    command = [sys.executable, "-c", _MEASURED, *folders, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    status, peak = map(int, done.stdout.split()[-2:])
    assert status == (0 if is_other else 1), done.stderr
    assert is_other == (tmp_path / "out").exists()
    assert is_other or f"[{Code.TOO_LARGE}]" in done.stderr
    # What is copied is held as bytes, and its annotations as text.
    assert peak < (MOST_RSS if is_other else MOST_RSS + 2 * MOST_COPIED)


_MEASURED = """
import re, sys
from pathlib import Path
from enforcer.cli.main import main
status = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(status, int(peak) * 1024)
"""


def test_more_bytes_of_manifests_than_anybody_reads_are_refused_unread(
    tmp_path: Path,
) -> None:
    """One blob, listed with thousands of sizes: an hour of reading it again."""
    size = 4 * MIB
    lies = tuple(
        Descriptor(OCI_MANIFEST, TWO.manifest.descriptor.digest, size + n)
        for n in range(MAX_READ_BYTES // size + 1)
    )
    write_folder(tmp_path / "out", listing(beside=lies))

    with pytest.raises(LayoutError, match=f"more than {MAX_READ_BYTES} bytes") as why:
        next(origin(tmp_path / "out").referrers(ONE.manifest.descriptor.digest))

    assert why.value.code is Code.ARCHIVE_TOO_LARGE


def test_a_size_that_lies_costs_what_it_says(tmp_path: Path) -> None:
    """And what it is a lie about is told, and the rest goes on."""
    large, good = about(ONE.manifest, 1, size=MIB), about(ONE.manifest, 2)
    lie = Descriptor(OCI_MANIFEST, Digest.of(large), 1000)
    contents = listing(large, good, beside=(lie, Descriptor.of(OCI_MANIFEST, good)))
    write_folder(tmp_path / "out", contents)

    found = list(origin(tmp_path / "out").referrers(ONE.manifest.descriptor.digest))

    assert Content(OCI_MANIFEST, good) in found
    (refused,) = [item for item in found if isinstance(item, Refused)]
    assert (refused.what, "more than 1000 bytes" in refused.why) == (
        str(lie.digest),
        True,
    )


def test_more_manifests_than_anybody_reads_are_refused_and_not_some_of_them_copied(
    tmp_path: Path,
) -> None:
    """A signature beyond the bound would be lost in silence."""
    raws = [about(TWO.manifest, n) for n in range(MAX_ENTRIES)]
    beside = tuple(Descriptor.of(OCI_MANIFEST, raw) for raw in raws)
    write_folder(tmp_path / "out", listing(beside=beside))

    with pytest.raises(LayoutError, match=f"more than {MAX_ENTRIES} manif") as caught:
        next(origin(tmp_path / "out").referrers(ONE.manifest.descriptor.digest))

    assert caught.value.code is Code.ARCHIVE_TOO_LARGE


def test_media_types_as_long_as_manifests_are_not_held(tmp_path: Path) -> None:
    """Each index names one thing, by four million letters."""
    raws = []
    for number in range(20):
        one = describe("x" * (MAX_MANIFEST_BYTES - 4096), b"%d" % number)
        raws.append(compact({"schemaVersion": 2, "manifests": [one]}))
    document = {
        "schemaVersion": 2,
        "manifests": [describe(OCI_INDEX, raw) for raw in raws],
    }
    write_folder(tmp_path / "out", listing(*raws))
    (tmp_path / "out/index.json").write_bytes(compact(document))

    with open_layout(tmp_path / "out", archive=False) as layout:
        tracemalloc.start()
        try:
            held = layout.descriptors()
            here, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert len(held) == 40
    assert here < MIB


def test_a_signature_that_a_layout_lost_is_told_by_a_copy(tmp_path: Path) -> None:
    """As by an import: it is listed one level down, and due all the same."""
    signed = signature(ONE.manifest)
    write_folder(tmp_path / "out", listing(signed.manifest, signed.envelope))
    lost = Digest.of(signed.manifest)
    (tmp_path / "out/blobs/sha256" / lost.hex).unlink()

    found = list(origin(tmp_path / "out").referrers(ONE.manifest.descriptor.digest))

    assert str(lost) in [item.what for item in found if isinstance(item, Refused)]
