"""Revocation evidence as an artifact: read strictly, and only ever a hint."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.collected import EvidenceFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.evidence import MAX_ITEMS, MAX_OCSP_BYTES, EvidenceKind, Item, Slot
from enforcer.core.image import OCI_MANIFEST
from enforcer.core.revocation_artifact import (
    REVOCATION_ARTIFACT,
    build_evidence,
    parse_evidence_manifest,
    untrusted_items,
)
from enforcer.core.signature_manifest import parse_signature_manifest

AT = datetime(2026, 1, 1, tzinfo=UTC)
ISSUER = Digest.of(b"a key")
SUBJECT = Descriptor.of(OCI_MANIFEST, b"an image")
LIST = Item(Slot.crl(ISSUER, "http://ca/list"), "http://ca/list", AT, b"0list")
ANSWER = Item(Slot(EvidenceKind.OCSP, ISSUER, "2a"), "http://ca/ocsp", AT, b"0good")


def changed(**members: Any) -> bytes:
    document = json.loads(build_evidence(SUBJECT, [LIST]).manifest)
    return json.dumps(document | members).encode()


def changed_piece(**members: Any) -> bytes:
    layer = json.loads(build_evidence(SUBJECT, [LIST]).manifest)["layers"][0]
    return changed(layers=[layer | members])


def test_what_was_written_is_read_again() -> None:
    file = build_evidence(SUBJECT, [LIST, ANSWER])
    later = datetime(2026, 2, 1, tzinfo=UTC)

    manifest = parse_evidence_manifest(file.manifest)
    items = untrusted_items(file, later)

    assert manifest is not None
    assert manifest.subject == SUBJECT
    assert set(items) == {replace(item, obtained=later) for item in (LIST, ANSWER)}


def test_the_same_evidence_makes_the_same_bytes() -> None:
    """An export is the same every time; order and repetition say nothing."""
    assert build_evidence(SUBJECT, [LIST, ANSWER]) == build_evidence(
        SUBJECT, [ANSWER, LIST, ANSWER]
    )


def test_it_is_no_signature_and_signatures_are_none() -> None:
    file = build_evidence(SUBJECT, [LIST])

    assert parse_signature_manifest(file.manifest) is None
    assert parse_evidence_manifest(b'{"artifactType":"x"}') is None
    assert json.loads(file.manifest)["artifactType"] == REVOCATION_ARTIFACT


@pytest.mark.parametrize(
    "raw",
    [
        changed(subject=None),
        changed(layers=None),
        changed(layers=[{}]),
        changed(layers=[{}] * (MAX_ITEMS + 1)),
        changed(Layers=[]),
        changed_piece(mediaType="application/json"),
        changed_piece(size=-1),
        changed_piece(size=2**40),
        changed_piece(mediaType="application/ocsp-response", size=MAX_OCSP_BYTES + 1),
        changed_piece(annotations={}),
        changed_piece(annotations=[]),
        changed_piece(
            annotations={
                f"vnd.enforcer.revocation.{name}": text
                for name, text in {
                    "issuer": str(ISSUER),
                    "about": "u" * 2000,
                    "url": "u" * 2000,
                }.items()
            }
        ),
    ],
)
def test_a_malformed_one_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_evidence_manifest(raw)


def test_pieces_of_too_many_bytes_in_all_are_refused() -> None:
    layer = json.loads(build_evidence(SUBJECT, [LIST]).manifest)["layers"][0]
    raw = changed(layers=[layer | {"size": 20 * 1024 * 1024}] * 4)

    with pytest.raises(MalformedError, match="more than 67108864 bytes"):
        parse_evidence_manifest(raw)


@pytest.mark.parametrize("pieces", [(), (b"0lisT",), (b"0list", b"more")])
def test_pieces_that_are_not_the_ones_named_are_refused(
    pieces: tuple[bytes, ...],
) -> None:
    file = EvidenceFile(build_evidence(SUBJECT, [LIST]).manifest, pieces)

    with pytest.raises(MalformedError, match="does not name its pieces"):
        untrusted_items(file, AT)


@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 255))
def test_no_bytes_make_it_fail_otherwise(junk: bytes, place: int, value: int) -> None:
    raw = bytearray(build_evidence(SUBJECT, [LIST]).manifest)
    raw[place % len(raw)] = value
    for one in (junk, bytes(raw)):
        try:
            untrusted_items(EvidenceFile(one, (b"0list",)), AT)
        except EnforcerError:
            continue
