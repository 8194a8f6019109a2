"""What would run: an engine's claim becomes a subject only if its parts agree."""

import json
from dataclasses import replace

import pytest

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.image import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    image_manifest_bytes,
)
from enforcer.core.subject import Claim, Content, SubjectError, bind_subject

DIFF_ID = Digest.of(b"layer")
CONFIG = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [str(DIFF_ID)]},
    }
).encode()
OTHER_CONFIG = CONFIG.replace(b"amd64", b"arm64")


def manifest_of(config: bytes, *, size: int | None = None) -> Content:
    described = Descriptor.of(OCI_CONFIG, config)
    if size is not None:
        described = replace(described, size=size)
    layer = Descriptor.of(OCI_LAYER_TAR, b"layer")
    return Content(OCI_MANIFEST, image_manifest_bytes(described, [layer]))


def index_of(*manifests: Content, architecture: str = "amd64") -> Content:
    entries = [
        {
            "mediaType": m.media_type,
            "digest": str(m.descriptor.digest),
            "size": len(m.raw),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for m in manifests
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Content(OCI_INDEX, json.dumps(document).encode())


MANIFEST = manifest_of(CONFIG)
CLAIM = Claim("app:1", (), Digest.of(CONFIG), CONFIG, DIFF_ID, (MANIFEST,))


def test_a_claim_whose_parts_agree_is_a_subject() -> None:
    """The manifest that names the configuration is what a signature must be about."""
    subject = bind_subject(CLAIM, ())

    assert subject.targets == (MANIFEST.descriptor,)
    assert (subject.manifest, subject.config, subject.chain_id) == (
        MANIFEST.descriptor.digest,
        Digest.of(CONFIG),
        DIFF_ID,
    )


def test_a_graph_driver_image_gets_its_manifest_from_the_cache() -> None:
    """Docker's own store keeps none."""
    subject = bind_subject(replace(CLAIM, contents=()), (MANIFEST,))

    assert subject.targets == (MANIFEST.descriptor,)


def test_without_any_manifest_nothing_can_be_signed() -> None:
    """A signature over a configuration is not a signature on an image."""
    assert bind_subject(replace(CLAIM, contents=()), ()).targets == ()


def test_another_root_file_system_is_refused() -> None:
    """The attack of a moved tag: the record names the signed image, evil is mounted."""
    with pytest.raises(SubjectError) as caught:
        bind_subject(replace(CLAIM, rootfs=Digest.of(b"evil")), ())

    assert caught.value.code is Code.ROOTFS_MISMATCH


def test_other_bytes_than_the_digest_names_are_refused() -> None:
    """Whoever read them should have noticed; here nothing is believed twice."""
    with pytest.raises(SubjectError) as caught:
        bind_subject(replace(CLAIM, config=CONFIG + b" "), ())

    assert caught.value.code is Code.CONTENT_TAMPERED


@pytest.mark.parametrize(
    "stranger",
    [
        manifest_of(OTHER_CONFIG),
        manifest_of(CONFIG, size=1),
        Content("application/vnd.oci.empty.v1+json", MANIFEST.raw),
        Content(OCI_MANIFEST, b"garbage"),
        Content(
            OCI_MANIFEST, MANIFEST.raw.replace(b'"layers"', b'"subject":{},"layers"')
        ),
        index_of(manifest_of(OTHER_CONFIG)),
        index_of(MANIFEST, architecture="arm64"),
        Content(OCI_MANIFEST, index_of(MANIFEST).raw),
    ],
)
def test_a_manifest_that_does_not_fit_neither_counts_nor_vetoes(
    stranger: Content,
) -> None:
    """Signing something else must not release this image, nor keep it from starting."""
    subject = bind_subject(CLAIM, (stranger,))

    assert subject.targets == (MANIFEST.descriptor,)


def test_an_index_that_lists_the_manifest_counts() -> None:
    """Most tools sign the index; it must list what runs, for this platform."""
    index = index_of(MANIFEST)

    subject = bind_subject(CLAIM, (index,))

    assert subject.targets == (MANIFEST.descriptor, index.descriptor)
    assert subject.index == index.descriptor.digest


def test_depth_is_one() -> None:
    """An index of indexes does not vouch for what the inner one lists."""
    inner = index_of(MANIFEST)
    outer = index_of(inner)

    assert outer.descriptor not in bind_subject(CLAIM, (inner, outer)).targets


def test_an_entry_with_the_right_digest_and_a_wrong_size_does_not_count() -> None:
    """Media type, digest and size are one statement."""
    raw = index_of(MANIFEST).raw.replace(
        f'"size": {len(MANIFEST.raw)}'.encode(), b'"size": 7'
    )

    subject = bind_subject(CLAIM, (Content(OCI_INDEX, raw),))

    assert subject.targets == (MANIFEST.descriptor,)
