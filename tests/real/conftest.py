"""Lend the tests of this folder the engines of tests/engines."""

from tests.engines.fixtures import (
    containerd,
    docker,
    engines,
    graph_docker,
    old_containerd,
    old_docker,
    open_gate,
)

__all__ = [
    "containerd",
    "docker",
    "engines",
    "graph_docker",
    "old_containerd",
    "old_docker",
    "open_gate",
]
