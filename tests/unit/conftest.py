"""What unit tests of several rooms share."""

from collections.abc import Iterator

import pytest

from tests.registry.fake import FakeRegistry
from tests.registry.server import Server, serving


@pytest.fixture
def server(fake: FakeRegistry) -> Iterator[Server]:
    """Serve what a module's own `fake` is."""
    with serving(fake) as served:
        yield served
