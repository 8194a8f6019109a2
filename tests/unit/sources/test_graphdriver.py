"""What Docker's own store says a name or the beginning of an id stands for."""

import json
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.ports import EngineError
from enforcer.sources.engines import graphdriver
from enforcer.sources.engines.graphdriver import GraphDriver

ONE, TWO, THREE = (Digest("sha256", text * 64) for text in ("a", "b", "c"))


@pytest.fixture
def store(tmp_path: Path) -> GraphDriver:
    """A data root as dockerd leaves it, names and ids only."""
    folder = tmp_path / "image/overlay2"
    content = folder / "imagedb/content/sha256"
    content.mkdir(parents=True)
    near = Digest("sha256", "ab" + "0" * 62)
    for image in (ONE, TWO, near):
        (content / image.hex).write_text("{}")
    (content / ".tmp-123").write_text("half written")
    tags = {"app:1": str(ONE), f"app@{THREE}": str(TWO)}
    document = {"Repositories": {"app": tags, "x/app": {"x/app:1": str(TWO)}}}
    (folder / "repositories.json").write_text(json.dumps(document))
    return GraphDriver(tmp_path)


def test_a_name_or_repository_digest_stands_for_its_image(store: GraphDriver) -> None:
    """Only in its own repository, as in dockerd."""
    assert store.find("app", "app:1") == ONE
    assert store.find("app", f"app@{THREE}") == TWO
    assert store.find("app", "x/app:1") is None
    assert store.find("", "") is None


def test_the_beginning_of_an_id_finds_every_image_with_it(store: GraphDriver) -> None:
    """More than one is for the caller to refuse."""
    assert store.ids("b") == (TWO,)
    assert store.ids("aa") == (ONE,)
    assert len(store.ids("a")) == 2
    assert store.ids("c") == ()


def test_every_name_of_every_image_is_told(store: GraphDriver) -> None:
    """Repository digests are what says where an image came from."""
    assert store.tags() == {ONE: ("app:1",), TWO: (f"app@{THREE}", "x/app:1")}
    assert len(store.ids("")) == 3


def test_a_host_without_this_store_has_no_ids(tmp_path: Path) -> None:
    """Docker with containerd's store only."""
    assert GraphDriver(tmp_path).ids("a") == ()


def test_more_images_than_the_bound_are_a_refusal(
    store: GraphDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 6."""
    monkeypatch.setattr(graphdriver, "MAX_IMAGES", 2)

    with pytest.raises(EngineError) as caught:
        store.ids("a")

    assert caught.value.code is Code.TOO_LARGE
