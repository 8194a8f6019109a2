"""Manifests, indexes and configurations: told apart by what they contain."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    image_manifest_bytes,
    media_type_of,
    parse_config,
    parse_manifest_or_index,
)

CONFIG = Descriptor.of(OCI_CONFIG, b"{}")
LAYER = Descriptor.of(OCI_LAYER_TAR, b"layer")


def manifest(**changes: object) -> bytes:
    document = json.loads(image_manifest_bytes(CONFIG, [LAYER])) | changes
    return json.dumps({k: v for k, v in document.items() if v is not None}).encode()


def test_a_manifest_names_its_configuration_and_layers() -> None:
    """What `docker save` writes, we read."""
    found = parse_manifest_or_index(image_manifest_bytes(CONFIG, [LAYER]))

    assert found == Manifest(OCI_MANIFEST, CONFIG, (LAYER,), is_image=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"mediaType": OCI_MANIFEST, "digest": "x", "size": 1}},
        {"artifactType": "application/vnd.cncf.notary.signature"},
        {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"},
        {"config": {"mediaType": "a/b", "digest": str(CONFIG.digest), "size": 2}},
    ],
)
def test_what_is_not_plainly_an_image_is_none(changes: dict[str, object]) -> None:
    """A signature on a signature, chart or artifact is no signature on an image."""
    found = parse_manifest_or_index(manifest(**changes))

    assert not found.is_image


def test_a_media_type_may_be_left_out_but_not_be_a_number() -> None:
    """image-spec manifest.md: mediaType SHOULD be there."""
    assert media_type_of(manifest(mediaType=None)) == OCI_MANIFEST
    assert media_type_of(manifest(mediaType=DOCKER_MANIFEST)) == DOCKER_MANIFEST
    with pytest.raises(MalformedError):
        media_type_of(manifest(mediaType=5))


@pytest.mark.parametrize(
    "changes",
    [
        {"manifests": []},  # both at once: CVE-2021-41190
        {"layers": None, "config": None},  # neither
        {"Layers": []},
        {"SUBJECT": {}},
        {"schemaVersion": 1},
        {"schemaVersion": None},
        {"layers": {}},
        {"layers": [{"mediaType": "a/b", "digest": "sha256:1", "size": 1}]},
        {"config": {"mediaType": OCI_CONFIG, "digest": str(CONFIG.digest)}},
        {"config": {"mediaType": OCI_CONFIG, "digest": str(CONFIG.digest), "size": -1}},
        {
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": str(CONFIG.digest),
                "size": True,
            }
        },
    ],
)
def test_what_could_be_read_in_two_ways_is_malformed(
    changes: dict[str, object],
) -> None:
    """A registry and an engine must not see two different images in one manifest."""
    with pytest.raises(MalformedError):
        parse_manifest_or_index(manifest(**changes))


def test_an_index_lists_manifests_with_their_platforms() -> None:
    """In its own order, which is the order in which engines choose."""
    entry = {"mediaType": OCI_MANIFEST, "digest": str(LAYER.digest), "size": 5}
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry | {"platform": platform}, entry],
        }
    ).encode()

    found = parse_manifest_or_index(raw)

    assert isinstance(found, Index)
    assert found.is_image
    assert [e.platform for e in found.entries] == [
        Platform("linux", "arm64", "v8"),
        None,
    ]


def test_chain_ids_are_the_specifications_own() -> None:
    """image-spec config.md, "Layer ChainID": one layer is its own chain."""
    first, second = (Digest.of(text) for text in (b"one", b"two"))
    platform = Platform("linux", "amd64")

    assert ImageConfig(platform, (first,)).chain_id == first
    assert ImageConfig(platform, (first, second)).chain_id == Digest.of(
        f"{first} {second}".encode()
    )


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}},
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["x"]}},
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [5]}},
        {"os": "linux", "rootfs": {"diff_ids": [str(LAYER.digest)]}},
        {"os": 5, "architecture": "amd64", "rootfs": {"diff_ids": [str(LAYER.digest)]}},
    ],
)
def test_a_configuration_without_layers_or_platform_is_malformed(
    document: dict[str, object],
) -> None:
    """Without layers there is nothing to compare a root file system with."""
    with pytest.raises(MalformedError):
        parse_config(json.dumps(document).encode())


@given(st.binary(max_size=300))
def test_hostile_bytes_have_one_outcome(raw: bytes) -> None:
    """A value, or our own error."""
    for parse in (parse_manifest_or_index, parse_config):
        try:
            parse(raw)
        except EnforcerError:
            continue
