"""`enforcer cache gc` beside real engines: what they can start, they still can."""

import pytest

from enforcer.sources.cache import DiskCache
from tests.engines.dockerd import Dockerd
from tests.real.door import ask_image
from tests.real.stage import Image, Signing, Stage

ENGINES = (
    "gated_containerd",
    "gated_old_containerd",
    "gated_docker",
    "gated_graph_docker",
    "gated_old_docker",
)


@pytest.fixture(params=ENGINES)
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each engine in turn."""
    found: Stage = request.getfixturevalue(request.param)
    return found


def gc(stage: Stage) -> None:
    """Drop all that no engine needs, however new."""
    stage.host.enforcer("cache", "gc", "--keep-days", "0")


def subjects(stage: Stage) -> set[str]:
    cache = DiskCache(stage.host.state / "cache")
    return {entry.subject for entry in cache.entries()}


def delete(stage: Stage, image: Image) -> None:
    if isinstance(stage.engine, Dockerd):
        stage.engine.docker("image", "rm", "--force", image.name)
    else:
        stage.engine.ctr("images", "rm", "--sync", image.full)


def is_allowed(stage: Stage, image: Image) -> bool:
    name = image.name if stage.is_docker else image.full
    return ask_image(stage, name).allowed


@pytest.mark.parametrize("by", ["notation", "enforcer"])
def test_what_an_engine_holds_keeps_its_signature_and_the_rest_goes(
    stage: Stage, by: Signing
) -> None:
    """notation signs the index of one, enforcer what the engine itself has."""
    kept, gone = stage.image("kept", index=by == "notation"), stage.image("gone")
    for image in (kept, gone):
        stage.sign(image, by=by)
    before = subjects(stage)
    delete(stage, gone)

    gc(stage)

    assert is_allowed(stage, kept)
    assert stage.run(kept).returncode == 0
    assert before - subjects(stage)
    stage.load(gone)
    assert not is_allowed(stage, gone)


def test_an_image_that_only_a_stopped_container_has_keeps_its_signature(
    stage: Stage,
) -> None:
    if not isinstance(stage.engine, Dockerd):
        pytest.skip("containerd starts a container by its image's record alone")
    image = stage.image("stopped")
    stage.sign(image)
    name = stage.name("stopped")
    stage.engine.docker("create", "--name", name, "--network", "none", image.name)

    gc(stage)

    started = stage.engine.docker("start", "--attach", name)
    assert image.text in started.stdout
