"""Lend the tests of this folder engines, with and without a gate in the way.

An engine behind a gate, with its own enforcerd, is a stage; each is started when the
first test asks for it. A test that stops the daemon or changes its settings uses the
fixtures of its own module.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from tests.engines.registry import running_registry
from tests.real.acme import DEVELOPMENT, People
from tests.real.acme import people as make_people
from tests.real.nodes import Node, node
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


@pytest.fixture(scope="session")
def acme_registry(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run ACME's registry; the address is all of its name."""
    with running_registry(tmp_path_factory.mktemp("acme-registry")) as address:
        yield address


@pytest.fixture(scope="session")
def wabbit_registry(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run the vendor's registry."""
    with running_registry(tmp_path_factory.mktemp("wabbit-registry")) as address:
        yield address


@pytest.fixture(scope="session")
def node_with(people: People) -> Iterator[Callable[[str, str], Node]]:
    """Lend the node of a role that has some engine; scenarios share them."""
    with ExitStack() as stack:
        nodes: dict[tuple[str, str], Node] = {}

        def lend(role: str, engine: str) -> Node:
            if (role, engine) not in nodes:
                there = stack.enter_context(node(engine, people, DEVELOPMENT))
                nodes[role, engine] = there
            return nodes[role, engine]

        yield lend
