"""What a promotion lost: which signatures count where, by content alone."""

import json

import pytest

from enforcer.core.descriptor import Descriptor
from enforcer.core.image import DOCKER_MANIFEST
from enforcer.core.lost import Held, Relation, compare, format_of, untrusted_signer
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature
from tests.unit.sources.signed import compact, image, signature

ONE, TWO = image("one"), image("two")


def stored(content: Content, by: str = "acme") -> StoredSignature:
    envelope = signature(content, by).envelope
    digest = Descriptor.of(JWS_MEDIA_TYPE, envelope).digest
    return StoredSignature(digest, JWS_MEDIA_TYPE, envelope)


A, B = stored(ONE.manifest), stored(ONE.manifest, "wabbit")
OF_INDEX = stored(ONE.index)
# What `docker push` from an overlay2 store makes of it: the same configuration.
PUSHED = Content(
    DOCKER_MANIFEST,
    compact(json.loads(ONE.manifest.raw) | {"mediaType": DOCKER_MANIFEST}),
)


def held(
    *contents: Content, by: tuple[StoredSignature, ...] = (), by_config: bool = False
) -> Held:
    return Held(contents, by, by_config=by_config)


def test_the_same_content_has_lost_what_is_not_there() -> None:
    loss = compare(held(ONE.manifest, by=(A, B)), held(ONE.manifest, by=(B,)))

    assert (loss.relation, loss.lost, loss.kept) == (Relation.SAME, (A,), (B,))
    assert not loss.is_none


@pytest.mark.parametrize("there", [(A, B), (B, A), (A, B, OF_INDEX)])
def test_what_has_it_all_lost_nothing(there: tuple[StoredSignature, ...]) -> None:
    """More is not less: the customer's own signature is beside the vendor's."""
    loss = compare(held(ONE.manifest, by=(A, B)), held(ONE.manifest, by=there))

    assert loss.is_none
    assert loss.lost == ()


def test_content_without_signatures_has_none_to_lose() -> None:
    assert compare(held(ONE.manifest), held(ONE.manifest)).is_none


@pytest.mark.parametrize(
    ("second", "relation"),
    [(PUSHED, Relation.SAME_IMAGE), (TWO.manifest, Relation.OTHER)],
)
def test_about_another_manifest_no_signature_counts(
    second: Content, relation: Relation
) -> None:
    """Even where somebody keeps the old ones beside it: they are about the old one."""
    loss = compare(held(ONE.manifest, by=(A,)), held(second, by=(A,)))

    assert (loss.relation, loss.lost, loss.is_none) == (relation, (A,), False)
    assert not compare(held(ONE.manifest), held(second)).is_none


def test_a_push_of_one_platform_leaves_the_index_behind() -> None:
    """What is about the platform itself may have been kept."""
    first = held(ONE.index, ONE.manifest, by=(OF_INDEX, A))

    loss = compare(first, held(ONE.manifest, by=(A,)))

    assert (loss.relation, loss.lost, loss.kept) == (Relation.LISTED, (OF_INDEX,), (A,))
    assert not loss.is_none


def test_an_engine_finds_signatures_by_the_configuration() -> None:
    """Docker's own store keeps no manifest: any that names its configuration counts."""
    whole = held(PUSHED, by=(A, OF_INDEX), by_config=True)
    half = held(PUSHED, by=(OF_INDEX,), by_config=True)
    other = held(TWO.manifest, by=(A,), by_config=True)

    assert compare(held(ONE.manifest, by=(A,)), whole).is_none
    assert compare(held(ONE.index, ONE.manifest, by=(OF_INDEX,)), whole).is_none
    assert compare(held(ONE.manifest, by=(A,)), half).lost == (A,)
    assert compare(held(ONE.manifest, by=(A,)), other).relation is Relation.OTHER
    assert not compare(held(ONE.manifest, by=(A,)), other).is_none


def test_what_an_engine_pushed_by_any_manifest_of_its_image_is_the_same() -> None:
    engine = held(PUSHED, ONE.manifest, by=(A,), by_config=True)

    assert compare(engine, held(ONE.manifest, by=(A,))).is_none
    assert compare(engine, held(ONE.manifest)).lost == (A,)


def test_whom_an_envelope_names_is_shown_escaped() -> None:
    """Nobody verified it, and it comes from wherever the registry is."""
    broken = StoredSignature(A.digest, "text/\033[31m", b"\033")

    assert untrusted_signer(B) == "CN=wabbit,O=enforcer test,ST=WA,C=US"
    assert format_of(B) == "jws"
    assert untrusted_signer(broken) == "an envelope that cannot be read"
    assert "\033" not in format_of(broken)
    for cut in range(0, len(A.envelope), 97):
        hostile = StoredSignature(A.digest, JWS_MEDIA_TYPE, A.envelope[:cut])
        assert untrusted_signer(hostile) == "an envelope that cannot be read"
