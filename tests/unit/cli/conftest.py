"""Lend the tests of the command line a host."""

from pathlib import Path

import pytest

from tests.engines.images import write_layout
from tests.unit.cli.host import Host


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the layout of an image, once."""
    layout = tmp_path_factory.mktemp("image") / "layout"
    write_layout(layout, text="hi", tag="app:1")
    return layout


@pytest.fixture
def host(tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    """A host that trusts acme, with an image nobody signed yet."""
    return Host(tmp_path, image, capsys)
