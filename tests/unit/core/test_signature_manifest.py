"""Signature manifests: two forms read, one written, nothing else taken for one."""

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, TooLargeError
from enforcer.core.signature_manifest import (
    MAX_ENVELOPE_BYTES,
    MAX_MANIFEST_BYTES,
    build_signature_manifest,
    parse_signature_manifest,
)

SIGNATURE = "application/vnd.cncf.notary.signature"
EMPTY = "application/vnd.oci.empty.v1+json"
IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SUBJECT = Descriptor(IMAGE_MANIFEST, Digest("sha256", "2e" * 32), 349)
ENVELOPE = Descriptor("application/cose", Digest("sha256", "32" * 32), 3151)
CREATED = datetime(2026, 11, 22, 11, 42, 56, tzinfo=UTC)


def descriptor(value: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": value.media_type,
        "digest": str(value.digest),
        "size": value.size,
    }


def manifest(**changes: Any) -> bytes:
    members: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": {"mediaType": SIGNATURE, "digest": f"sha256:{'44' * 32}", "size": 2},
        "layers": [descriptor(ENVELOPE)],
        "subject": descriptor(SUBJECT),
    }
    merged = {k: v for k, v in (members | changes).items() if v is not None}
    return json.dumps(merged).encode()


def config(media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{'44' * 32}", "size": 2}


def test_the_written_form_is_notations_byte_for_byte() -> None:
    """Facts 5.2: what notation 1.3.2 wrote, recorded."""
    raw = build_signature_manifest(ENVELOPE, SUBJECT, ("6c65", "eaac"), CREATED)

    assert raw.decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        '"config":{"mediaType":"application/vnd.cncf.notary.signature","digest":"sha256:'
        '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},'
        f'"layers":[{{"mediaType":"application/cose","digest":"sha256:{"32" * 32}",'
        '"size":3151}],'
        '"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":'
        f'"sha256:{"2e" * 32}","size":349}},'
        '"annotations":{"io.cncf.notary.x509chain.thumbprint#S256":'
        '"[\\"6c65\\",\\"eaac\\"]",'
        '"org.opencontainers.image.created":"2026-11-22T11:42:56Z"}}'
    )


def test_what_is_written_reads_back() -> None:
    """Writer and reader agree."""
    raw = build_signature_manifest(ENVELOPE, SUBJECT, ("6c65", "eaac"), CREATED)

    found = parse_signature_manifest(raw)

    assert found is not None
    assert (found.envelope, found.subject) == (ENVELOPE, SUBJECT)
    assert (found.thumbprints, found.created) == (("6c65", "eaac"), CREATED)


@pytest.mark.parametrize(
    "raw",
    [
        manifest(),
        manifest(artifactType=SIGNATURE, config=config(EMPTY)),
        manifest(mediaType=None),
    ],
)
def test_both_forms_are_signatures(raw: bytes) -> None:
    """D6: verifiers SHOULD accept either; a missing media type is tolerated (2.4)."""
    assert parse_signature_manifest(raw) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        manifest(config=config("application/vnd.oci.image.config.v1+json")),
        manifest(config=config(EMPTY), artifactType="application/sbom"),
        manifest(config=None),
        manifest(config=config(SIGNATURE.upper())),
    ],
)
def test_another_manifest_is_not_a_signature(raw: bytes) -> None:
    """A layout holds images and other attachments too."""
    assert parse_signature_manifest(raw) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"artifactType": SIGNATURE}, "mixes two forms"),
        ({"artifactType": SIGNATURE, "config": None}, "mixes two forms"),
        ({"artifactType": "application/x"}, "mixes two forms"),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "another mediaType"),
        ({"layers": None}, "does not have exactly one layer"),
        ({"layers": []}, "does not have exactly one layer"),
        ({"layers": [descriptor(ENVELOPE)] * 2}, "does not have exactly one layer"),
        (
            {
                "layers": [
                    descriptor(ENVELOPE) | {"mediaType": "application/jose+json;a"}
                ]
            },
            'has a layer of media type "application/jose\\+json;a", expected',
        ),
        (
            {"layers": [descriptor(ENVELOPE) | {"size": "1"}]},
            'layer has no whole number "size"',
        ),
        ({"layers": [descriptor(ENVELOPE) | {"digest": "x"}]}, '"x" is not a digest'),
        ({"subject": None}, "subject is not a JSON object"),
        (
            {"subject": descriptor(SUBJECT) | {"size": -1}},
            'subject has no whole number "size"',
        ),
        (
            {"subject": descriptor(SUBJECT) | {"size": 2**63}},
            'subject has no whole number "size"',
        ),
        ({"schemaVersion": 1}, "not of schemaVersion 2"),
        ({"schemaVersion": 2.0}, "not of schemaVersion 2"),
        ({"annotations": []}, "annotations that are no object"),
        ({"annotations": {"a": 5}}, "an annotation that is not text"),
        (
            {"config": descriptor(ENVELOPE) | {"mediaType": SIGNATURE, "urls": [5]}},
            "config has a malformed urls",
        ),
        ({"layers": [descriptor(ENVELOPE) | {"data": "?"}]}, "a malformed data"),
        ({"subject": descriptor(SUBJECT) | {"platform": 5}}, "a malformed platform"),
        ({"Subject": {}}, "only by case"),
    ],
)
def test_a_signature_that_breaks_a_rule_is_malformed(
    changes: dict[str, Any], expected: str
) -> None:
    """D5, D6, D8, D9: it says it is a signature, so it is held to it."""
    with pytest.raises(MalformedError, match=expected):
        parse_signature_manifest(manifest(**changes))


@pytest.mark.parametrize(
    "annotations",
    [
        None,
        {"io.cncf.notary.x509chain.thumbprint#S256": "garbage"},
        {"io.cncf.notary.x509chain.thumbprint#S256": '{"a":1}'},
        {"org.opencontainers.image.created": "yesterday"},
    ],
)
def test_annotations_are_a_hint_and_never_an_error(annotations: Any) -> None:
    """Facts 2.4: anybody may have written them."""
    found = parse_signature_manifest(manifest(annotations=annotations))

    assert found is not None
    assert found.thumbprints == ()
    assert found.created is None


def test_size_is_bounded() -> None:
    """D14: the manifest's own, and the one it promises."""
    huge = descriptor(ENVELOPE) | {"size": MAX_ENVELOPE_BYTES + 1}

    for raw in (b" " * (MAX_MANIFEST_BYTES + 1), manifest(layers=[huge])):
        with pytest.raises(TooLargeError):
            parse_signature_manifest(raw)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    """Law 5; what is JSON by chance is no signature."""
    with contextlib.suppress(MalformedError):
        assert parse_signature_manifest(raw) is None
