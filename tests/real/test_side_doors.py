"""Behind Docker's back: its namespace in containerd, and images it makes itself.

facts/hooks.md, sections 0.2 and 1: `ctr -n moby import`, commit and import are seen by
no hook that looks at pulls. What starts is the gate's.
"""

import pytest

from tests.engines.images import describe
from tests.real.stage import Image, Stage, said

DOCKERS = pytest.mark.parametrize(
    "generation", ["gated_docker", "gated_graph_docker", "gated_old_docker"]
)


def _import(stage: Stage, word: str) -> Image:
    """Make an image and give it to containerd, into Docker's namespace."""
    image = stage.image(word)
    ctr = stage.docker.containerd.ctr
    ctr("images", "import", image.archive, namespace="moby")
    return image


def test_an_image_imported_behind_dockers_back_does_not_start(
    gated_docker: Stage,
) -> None:
    """With containerd's store Docker takes it for its own."""
    stage = gated_docker
    good = stage.image("good")
    stage.sign(good)
    evil = stage.image("evil", name=f"{stage.name('other')}:1")
    ctr = stage.docker.containerd.ctr
    ctr("images", "tag", "--force", evil.full, good.full, namespace="moby")

    refused = stage.run(good)
    ctr("images", "import", good.archive, namespace="moby")
    back = stage.run(good)

    assert refused.returncode == 125
    assert evil.text not in said(refused)
    assert "[ENF-1001]" in refused.stderr
    assert (back.returncode, back.stdout) == (0, f"{good.text}\n")


@DOCKERS
def test_a_container_in_dockers_namespace_that_docker_did_not_make_does_not_start(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Not even of a signed image: nobody's record says what it is."""
    stage: Stage = request.getfixturevalue(generation)
    image = _import(stage, "hello")
    stage.sign(image)
    engine = stage.docker.containerd
    name = engine.container_id(stage.name("aside"))

    done = engine.run(image.full, name, namespace="moby", check=False)

    assert done.returncode == 1
    assert image.text not in said(done)
    assert "no Docker has a record of container" in done.stderr


@pytest.mark.parametrize("generation", ["gated_graph_docker", "gated_old_docker"])
def test_dockers_record_of_a_container_does_not_vouch_for_another_of_that_id(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Docker says the signed image; what was made under its id has other files."""
    stage: Stage = request.getfixturevalue(generation)
    good = stage.image("good")
    stage.sign(good)
    evil = _import(stage, "evil")
    docker, containerd = stage.docker.docker, stage.docker.containerd
    container = docker("create", good.name).stdout.strip()

    done = containerd.run(evil.full, container, namespace="moby", check=False)
    containerd.ctr("containers", "rm", container, namespace="moby", check=False)
    own = docker("start", "--attach", container, check=False)
    docker("rm", container)

    assert done.returncode == 1
    assert "this is" not in said(done)
    assert "[ENF-1103]" in done.stderr
    assert (own.returncode, own.stdout) == (0, f"{good.text}\n")


def test_dockers_record_of_a_container_does_not_vouch_for_another_snapshot(
    gated_docker: Stage,
) -> None:
    """With containerd's store its id is taken; its files may still be exchanged."""
    stage = gated_docker
    good, evil = stage.image("good"), stage.image("evil")
    stage.sign(good)
    docker, ctr = stage.docker.docker, stage.docker.containerd.ctr
    container = docker("create", good.name).stdout.strip()
    chain = describe(evil.layout).chain_id
    ctr("snapshots", "rm", container, namespace="moby")
    ctr("snapshots", "prepare", container, chain, namespace="moby")

    done = docker("start", "--attach", container, check=False)
    docker("rm", container)

    assert done.returncode == 1
    assert "this is" not in said(done)
    assert "[ENF-1103]" in done.stderr


@DOCKERS
def test_what_docker_makes_of_a_signed_container_is_not_signed(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """`docker commit`, and `docker import` of what was exported (T-HK-11)."""
    stage: Stage = request.getfixturevalue(generation)
    docker = stage.docker.docker
    good = stage.image("good")
    stage.sign(good)
    container = docker("create", good.name).stdout.strip()
    committed, imported = (f"{stage.name('made')}:1" for _ in range(2))
    docker("commit", "--change", 'LABEL changed="yes"', container, committed)
    exported = stage.host.home / f"{container}.tar"
    docker("export", "--output", exported, container)
    docker("import", "--change", 'CMD ["/bin/echo", "made"]', exported, imported)
    docker("rm", container)

    done = [docker("run", "--rm", name, check=False) for name in (committed, imported)]

    for one in done:
        assert one.returncode == 125
        assert one.stdout == ""
        assert "[ENF-1001]" in one.stderr
