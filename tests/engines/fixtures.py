"""Engines for pytest: one of each kind for a whole run, with nothing in their way.

Register with `from tests.engines.fixtures import ...` in a conftest.py. A test that
wants a gate, or stops its engine, makes its own `Containerd` or `Dockerd`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.images import BUSYBOX
from tests.engines.path import ENGINES, REAL_RUNC, ungated


@pytest.fixture(scope="session")
def engines() -> Path:
    """The folder of fetched engines; skips where they cannot run at all."""
    if os.geteuid() != 0:
        pytest.skip("real engines need root")
    if not Path("/etc/debian_version").exists():
        pytest.skip("the real engines are Debian packages, and this is not Debian")
    missing = [
        str(path)
        for path in (ENGINES / "VERSIONS", REAL_RUNC, BUSYBOX)
        if not path.exists()
    ]
    if missing:
        # Not a skip: on a machine that can run them, silence would look like proof.
        pytest.fail(f"missing: {', '.join(missing)}; run: make engines", pytrace=False)
    return ENGINES


@pytest.fixture(scope="session")
def open_gate(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gate folder whose `runc` is the real one."""
    return ungated(tmp_path_factory.mktemp("open") / "gate")


@pytest.fixture(scope="session")
def containerd(open_gate: Path) -> Iterator[Containerd]:
    """Run containerd 2.1."""
    with Containerd(open_gate) as engine:
        yield engine


@pytest.fixture(scope="session")
def old_containerd(open_gate: Path) -> Iterator[Containerd]:
    """Run containerd 1.6."""
    with Containerd(open_gate, release="bookworm") as engine:
        yield engine


@pytest.fixture(scope="session")
def docker(open_gate: Path) -> Iterator[Dockerd]:
    """Run Docker 28 with images in containerd's store."""
    with Dockerd(open_gate) as engine:
        yield engine


@pytest.fixture(scope="session")
def graph_docker(open_gate: Path) -> Iterator[Dockerd]:
    """Run Docker 28 with images in its own overlay2 store."""
    with Dockerd(open_gate, store="graphdriver") as engine:
        yield engine


@pytest.fixture(scope="session")
def old_docker(open_gate: Path) -> Iterator[Dockerd]:
    """Run Docker 20.10, on containerd 1.6."""
    with Dockerd(open_gate, release="bookworm", store="graphdriver") as engine:
        yield engine
