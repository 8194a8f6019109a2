"""What every signature cache promises: the one on disk, and the one in memory."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.core.collected import Collected, Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import TooLargeError
from enforcer.ports import SignatureCache
from enforcer.sources import carried
from enforcer.sources.cache import DiskCache
from enforcer.sources.carried import CarriedSignatures
from tests.unit.sources.signed import image, root_of, signature

Make = Callable[[Sequence[Collected]], SignatureCache]
ONE, TWO = image("one"), image("two")


@pytest.fixture(params=["disk", "rebuilt", "carried", "both"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def on_disk(items: Sequence[Collected]) -> SignatureCache:
        cache = DiskCache(tmp_path / "cache")
        cache.add(items)
        return cache

    def rebuilt(items: Sequence[Collected]) -> SignatureCache:
        on_disk(items)
        (tmp_path / "cache" / "index.db").write_bytes(b"garbage")
        DiskCache(tmp_path / "cache").check(repair=True)
        return DiskCache(tmp_path / "cache")

    def both(items: Sequence[Collected]) -> SignatureCache:
        half = len(items) // 2
        return CarriedSignatures(items[:half], also=on_disk(items[half:]))

    makers: dict[str, Make] = {"disk": on_disk, "rebuilt": rebuilt, "both": both}
    return makers.get(request.param, CarriedSignatures)


def envelopes(
    cache: SignatureCache, *targets: Descriptor, trusted: Sequence[Digest] = ()
) -> list[bytes]:
    found, more = cache.signatures_about(targets, trusted=trusted, limit=100)
    assert not more
    return [item.envelope for item in found]


def test_signatures_are_found_by_what_they_are_about(make: Make) -> None:
    about_one, about_index = signature(ONE.manifest), signature(ONE.index)
    cache = make([about_one, signature(TWO.manifest), about_index])
    manifest, index = (c.descriptor for c in (ONE.manifest, ONE.index))

    assert envelopes(cache, manifest) == [about_one.envelope]
    assert sorted(envelopes(cache, manifest, index)) == sorted(
        [about_one.envelope, about_index.envelope]
    )
    assert envelopes(cache, Descriptor.of("a/b", b"other")) == []
    assert envelopes(cache, replace(manifest, size=1)) == []
    assert envelopes(cache, replace(manifest, media_type="a/b")) == []
    assert envelopes(cache) == []


def test_the_order_is_the_same_at_every_call_and_trusted_come_first(make: Make) -> None:
    """A hundred strangers' signatures must not hide the one that counts."""
    ours = [signature(ONE.manifest, "acme", number=str(n)) for n in range(3)]
    others = [signature(ONE.manifest, "wabbit", number=str(n)) for n in range(9)]
    mixed: list[Collected] = [*ours, *others]
    random.Random(1).shuffle(mixed)  # noqa: S311
    cache, digest = make(mixed), ONE.manifest.descriptor

    found = envelopes(cache, digest, trusted=[root_of("acme")])
    first, more = cache.signatures_about([digest], trusted=[root_of("acme")], limit=3)

    assert found == envelopes(cache, digest, trusted=[root_of("acme")])
    if not isinstance(cache, CarriedSignatures) or cache._also is None:
        assert [item.envelope for item in first] == found[:3]
        assert set(found[:3]) == {item.envelope for item in ours}
        assert [Digest.of(raw) for raw in found[3:]] == sorted(
            map(Digest.of, found[3:])
        )
    assert more
    assert len(found) == 12


def test_trusted_signers_take_turns(make: Make) -> None:
    """A policy may ask for two of them: many by one must not hide the other's one."""
    many = [signature(ONE.manifest, "acme", number=str(n)) for n in range(20)]
    single = signature(ONE.manifest, "wabbit")
    cache, digest = make([single, *many]), ONE.manifest.descriptor

    trusted = [root_of("acme"), root_of("wabbit")]
    found, more = cache.signatures_about([digest], trusted=trusted, limit=2)

    assert single.envelope in [item.envelope for item in found]
    assert more


def test_one_signature_twice_counts_once(make: Make) -> None:
    one = signature(ONE.manifest)

    assert len(envelopes(make([one, one]), ONE.manifest.descriptor)) == 1


def test_manifests_are_found_by_configuration_and_by_child(tmp_path: Path) -> None:
    for cache in (DiskCache(tmp_path), CarriedSignatures([ONE.manifest, ONE.index])):
        if isinstance(cache, DiskCache):
            cache.add([ONE.manifest, ONE.index, TWO.manifest])
        child = ONE.manifest.descriptor.digest

        assert list(cache.manifests_about(ONE.config_digest, [])) == [
            ONE.manifest,
            ONE.index,
        ]
        assert list(cache.manifests_about(Digest.of(b""), [child])) == [ONE.index]
        assert cache.manifest(child) == ONE.manifest
        assert cache.manifest(Digest.of(b"")) is None


def test_what_was_refused_is_kept_for_whoever_asks() -> None:
    refused = Refused("it", "because")

    assert CarriedSignatures([refused]).refused == [refused]


def test_an_artifact_cannot_carry_more_than_memory_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T-LC-4: ten thousand envelopes of 32 MiB are no artifact."""
    monkeypatch.setattr(carried, "MAX_CARRIED_BYTES", 10_000)

    with pytest.raises(TooLargeError, match="carries more than 10000 bytes"):
        CarriedSignatures(signature(ONE.manifest, n=str(n)) for n in range(9))
