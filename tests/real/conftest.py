"""Lend the tests of this folder engines, with and without a gate in the way.

An engine behind a gate, with its own enforcerd, is a stage; each is started when the
first test asks for it. A test that stops the daemon or changes its settings uses the
fixtures of its own module.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.fixtures import (
    containerd,
    docker,
    engines,
    graph_docker,
    old_containerd,
    old_docker,
    open_gate,
)
from tests.real.acme import People
from tests.real.acme import people as make_people
from tests.real.stage import Stage, containerd_stage, docker_stage

__all__ = [
    "containerd",
    "docker",
    "engines",
    "graph_docker",
    "old_containerd",
    "old_docker",
    "open_gate",
]


@pytest.fixture(scope="session")
def gated_containerd(engines: Path) -> Iterator[Stage]:
    """Run containerd 2.1 behind a gate."""
    with containerd_stage() as stage:
        yield stage


@pytest.fixture(scope="session")
def gated_old_containerd(engines: Path) -> Iterator[Stage]:
    """Run containerd 1.6 behind a gate."""
    with containerd_stage("bookworm") as stage:
        yield stage


@pytest.fixture(scope="session")
def gated_docker(engines: Path) -> Iterator[Stage]:
    """Run Docker 28 with containerd's store behind a gate."""
    with docker_stage("containerd") as stage:
        yield stage


@pytest.fixture(scope="session")
def gated_graph_docker(engines: Path) -> Iterator[Stage]:
    """Run Docker 28 with its own overlay2 store behind a gate."""
    with docker_stage("graphdriver") as stage:
        yield stage


@pytest.fixture(scope="session")
def gated_old_docker(engines: Path) -> Iterator[Stage]:
    """Run Docker 20.10 behind a gate."""
    with docker_stage("graphdriver", "bookworm") as stage:
        yield stage


@pytest.fixture(scope="session")
def people(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> People:
    """ACME's signers, its vendor and a stranger, for hosts with a host policy."""
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def gated_lone_docker(engines: Path) -> Iterator[Stage]:
    """Run Docker 28 behind a gate, as a swarm of one in a network of its own."""
    with docker_stage("containerd", alone=True) as stage:
        stage.docker.docker("swarm", "init", "--advertise-addr=127.0.0.1")
        yield stage
