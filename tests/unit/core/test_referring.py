"""Manifests about others, and the list of them where a registry keeps none."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from enforcer.core.referring import (
    MAX_LISTED,
    listed_with,
    parse_referring,
    referrer_entry,
)
from enforcer.core.signature_manifest import SIGNATURE_ARTIFACT_TYPE
from enforcer.core.strictjson import Json
from tests.unit.sources.signed import compact, describe, image, signature

ONE = image("one")
SIGNED = signature(ONE.manifest)


def entry(number: int) -> dict[str, Json]:
    content = Descriptor.of(OCI_MANIFEST, str(number).encode())
    found = parse_referring(SIGNED.manifest)
    assert found is not None
    return referrer_entry(content, found)


def lines(raw: bytes | None) -> list[Any]:
    assert raw is not None
    return list(json.loads(raw)["manifests"])


def test_a_referrer_is_listed_with_its_type_and_annotations() -> None:
    """distribution-spec v1.1, "Listing Referrers": else no client finds it."""
    found = parse_referring(SIGNED.manifest)
    assert found is not None

    listed = referrer_entry(Descriptor.of(OCI_MANIFEST, SIGNED.manifest), found)

    assert found.subject == ONE.manifest.descriptor
    assert listed["artifactType"] == SIGNATURE_ARTIFACT_TYPE
    assert listed["annotations"] == json.loads(SIGNED.manifest)["annotations"]
    assert listed["size"] == len(SIGNED.manifest)


@pytest.mark.parametrize("subject", [None, ...])
def test_a_manifest_without_subject_is_about_nothing(subject: object) -> None:
    """Go writes null for what is not there."""
    document = json.loads(ONE.manifest.raw) | {"subject": subject}
    if subject is ...:
        del document["subject"]

    assert parse_referring(compact(document)) is None


@pytest.mark.parametrize(
    "members",
    [
        {"subject": 5}, {"subject": {}}, {"Subject": {}}, {"artifactType": 5},
        {"annotations": {"a": 5}}, {"annotations": []},
    ],
)  # fmt: skip
def test_a_malformed_referrer_is_refused(members: dict[str, object]) -> None:
    document = json.loads(ONE.manifest.raw)
    document["subject"] = describe(OCI_MANIFEST, b"x")
    if members == {"annotations": []}:
        assert parse_referring(compact(document | members))
        return
    with pytest.raises(MalformedError):
        parse_referring(compact(document | members))


def test_a_list_keeps_what_it_has() -> None:
    """Another tool's lines, and members nobody here knows, are not ours to drop."""
    strange = describe("x/y", b"other") | {
        "annotations": {"a": "b"},
        "made": "elsewhere",
    }
    document = {
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [strange],
        "annotations": {"who": "oras"},
    }  # fmt: skip

    raw = listed_with(compact(document), [entry(1), entry(2)])

    assert lines(raw) == [strange, entry(1), entry(2)]
    assert json.loads(raw or b"")["annotations"] == {"who": "oras"}
    assert listed_with(raw, [entry(2), entry(1)]) is None
    assert lines(listed_with(raw, [entry(2), entry(3)]))[3:] == [entry(3)]


def test_a_new_list_is_an_index() -> None:
    raw = listed_with(None, [entry(1)])

    assert lines(raw) == [entry(1)]
    assert json.loads(raw or b"")["mediaType"] == OCI_INDEX


@pytest.mark.parametrize("raw", [ONE.manifest.raw, b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_list_is_not_overwritten(raw: bytes) -> None:
    """cosign has put the image itself under that tag (facts, L12)."""
    with pytest.raises(MalformedError):
        listed_with(raw, [entry(1)])


def test_a_list_has_an_end() -> None:
    full = listed_with(None, [entry(n) for n in range(MAX_LISTED)])

    with pytest.raises(TooLargeError):
        listed_with(full, [entry(MAX_LISTED)])


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda j: (
            st.lists(j, max_size=3)
            | st.dictionaries(
                st.sampled_from(["manifests", "subject", "config", "layers", "x"]), j
            )
        ),
    )
)
def test_hostile_documents_are_errors_of_ours(value: Json) -> None:
    document = {"schemaVersion": 2, "manifests": value}
    manifest = {
        "schemaVersion": 2, "config": describe(OCI_CONFIG, b""), "layers": [],
        "subject": value,
    }  # fmt: skip
    for raw in (compact(value), compact(document), compact(manifest)):
        with contextlib.suppress(EnforcerError):
            listed_with(raw, [entry(1)])
        with contextlib.suppress(EnforcerError):
            parse_referring(raw)
