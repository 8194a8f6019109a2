"""Where the gate ends: an engine inside a container brings its own runc."""

from collections.abc import Iterator

import pytest

from tests.engines.containerd import Containerd, accepts
from tests.engines.path import program, ungated
from tests.engines.process import wait_until
from tests.real.stage import Image, Stage


@pytest.fixture
def nested(gated_docker: Stage) -> Iterator[Containerd]:
    """A containerd in a privileged, signed container, as kind's nodes have one."""
    stage = gated_docker
    node, name = stage.image("node"), stage.name("node")
    stage.sign(node)
    engine = Containerd(ungated(stage.host.home / stage.name("open")))
    path = f"PATH={engine.environment['PATH']}"
    try:
        stage.docker.docker(
            "run", "--detach", "--privileged", "--pid=host", "--cgroupns=host",
            "--network=host", "--volume=/:/host", f"--name={name}", node.name,
            "/bin/busybox", "chroot", "/host", "/usr/bin/env", path,
            program("containerd"), "--config", engine.config,
        )  # fmt: skip
        wait_until(lambda: accepts(engine.socket), "the nested containerd listens")
        yield engine
    finally:
        stage.docker.docker("rm", "--force", name, check=False)
        engine.close()


def _import(engine: Containerd, image: Image) -> None:
    engine.ctr("images", "import", image.archive)


def test_an_engine_in_a_container_starts_what_it_likes(
    nested: Containerd, gated_docker: Stage
) -> None:
    """Not claimed (test_entry_matrix): what a signed container does is its own."""
    evil = gated_docker.image("evil")
    _import(nested, evil)

    outside = gated_docker.run(evil)
    name = nested.container_id(gated_docker.name("inner"))
    inside = nested.run(evil.full, name, check=False)

    assert "[ENF-1001]" in outside.stderr
    assert (inside.returncode, inside.stdout) == (0, f"{evil.text}\n")
