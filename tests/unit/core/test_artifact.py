"""What is said about an artifact: read from any manifest, decided by none of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.artifact import HELM_CONFIG, TITLE, find_part, parse_artifact
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from enforcer.core.strictjson import Json
from tests.unit.sources.signed import compact, describe, image

EMPTY = describe("application/vnd.oci.empty.v1+json", b"{}")


def manifest(*layers: object, config: object = EMPTY, **members: object) -> bytes:
    return compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": list(layers),
        }
        | members
    )


def layer(title: object, raw: bytes = b"x", media_type: str = "a/b") -> object:
    return describe(media_type, raw) | {"annotations": {TITLE: title}}


def test_the_type_is_the_declared_one_else_the_configurations() -> None:
    """image-spec manifest.md, "Guidelines for Artifact Usage"."""
    declared = parse_artifact(manifest(artifactType="application/x"))
    chart = parse_artifact(manifest(config=describe(HELM_CONFIG, b"{}")))

    assert (declared.media_type, declared.kind) == ("application/x", "")
    assert (chart.media_type, chart.kind) == (HELM_CONFIG, "Helm chart")
    assert not declared.is_image
    assert parse_artifact(manifest(config=describe(OCI_CONFIG, b"{}"))).is_image


def test_an_index_is_no_single_artifact() -> None:
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})

    with pytest.raises(MalformedError, match="@DIGEST"):
        parse_artifact(index)


def test_a_part_is_found_by_its_name_alone() -> None:
    """Two of one name are ambiguous; nothing is guessed."""
    raw = manifest(layer("a", b"1"), layer("b", b"2", "c/d"), layer("b", b"3"))
    artifact = parse_artifact(raw)

    assert find_part(artifact, "a").content == artifact.parts[0].content
    assert find_part(artifact, "c/d").title == "b"
    assert find_part(artifact, str(artifact.parts[2].content.digest)).title == "b"
    for name in ("", "b", "a/b", "A", "a "):
        with pytest.raises(MalformedError, match="layers"):
            find_part(artifact, name)
    for none in ("", "a"):
        with pytest.raises(MalformedError, match=r"no layers.*none"):
            find_part(parse_artifact(manifest()), none)


@pytest.mark.parametrize("title", [None, 5, {}, ["a"]])
def test_a_title_that_is_no_text_is_none(title: object) -> None:
    assert parse_artifact(manifest(layer(title))).parts[0].title == ""


def test_an_image_has_parts_too() -> None:
    assert parse_artifact(image("x").manifest.raw).is_image


JSONS: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=8,
)


@given(JSONS, JSONS, JSONS)
def test_no_manifest_makes_reading_it_fail_otherwise(
    layers: Json, annotations: Json, type_: Json
) -> None:
    """Hostile bytes are an EnforcerError, and nothing else."""
    listed = describe("a/b", b"x") | {"annotations": annotations}
    for raw in (
        manifest(listed, artifactType=type_),
        manifest(layers, artifactType=type_),
        compact(layers),
    ):
        with contextlib.suppress(EnforcerError):
            find_part(parse_artifact(raw), "")
