"""Docker's stored names, as policy reads them."""

import pytest

from enforcer.core.reference import InvalidReferenceError
from enforcer.sources.engines.docker import familiar


@pytest.mark.parametrize(
    ("stored", "short"),
    [
        ("docker.io/library/app:1", "app:1"),
        ("docker.io/acme/app:1", "acme/app:1"),
        ("docker.io/library/acme/app:1", "library/acme/app:1"),
        ("docker.io/library/foo.bar:1", "foo.bar:1"),
        ("docker.io.evil.com/library/app:1", "docker.io.evil.com/library/app:1"),
        ("reg.io/docker.io/app:1", "reg.io/docker.io/app:1"),
        ("moby-dangling@sha256:" + "a" * 64, "moby-dangling@sha256:" + "a" * 64),
    ],
)
def test_a_stored_name_is_shortened_as_docker_shows_it(stored: str, short: str) -> None:
    """So that an image without an origin can be judged as a local one."""
    assert familiar(stored) == short


@pytest.mark.parametrize(
    "stored", ["docker.io/foo.bar/app:1", "docker.io/localhost/app:1"]
)
def test_a_name_that_would_read_as_another_registry_s_is_refused(stored: str) -> None:
    """Else a tag below Docker Hub would choose the statement of `foo.bar`."""
    with pytest.raises(InvalidReferenceError, match="another registry's name"):
        familiar(stored)
