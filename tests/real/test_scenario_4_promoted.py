"""Scenario 4: content is promoted to another repository, and archived for months.

Path and tag change, the digest does not. Where the copy left signatures behind, they
are found in the repository it came from; where that is gone, in the archive.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.real.acme import policy
from tests.real.nodes import PAIRS, Node, by_digest


@dataclass(frozen=True, slots=True)
class Line:
    """Development, production, and one registry with a repository for each."""

    development: Node
    production: Node
    registry: str

    def develops(self, app: str) -> str:
        """Build, push and sign an image in its first repository; return its name."""
        name = f"{self.registry}/dev/{app}"
        self.development.builds(name, f"this is {app}")
        self.development.signs(
            by_digest(name, self.development.pushes(name)), "acme-release"
        )
        return name

    def name(self) -> str:
        """Return a name for a new application."""
        return f"{self.production.stage.name('app')}:1"


@pytest.fixture(scope="module", params=PAIRS, ids="-to-".join)
def line(
    node_with: Callable[[str, str], Node],
    acme_registry: str,
    request: pytest.FixtureRequest,
) -> Line:
    """Run two nodes; production has rules for its own repository alone."""
    builder, target = request.param
    production = node_with("target", target).called("production", "4")
    scopes = [f"{acme_registry}/prod/*"]
    production.obeys(policy("acme-release", {"production": (scopes, "acme-release")}))
    development = node_with("builder", builder).called("dev", "4")
    return Line(development, production, acme_registry)


def test_a_promotion_that_lost_the_signature_finds_it_in_the_first_repository(
    line: Line,
) -> None:
    """`docker tag` and `push` carry none along, and what they push is the same."""
    app = line.name()
    first, promoted = line.develops(app), f"{line.registry}/prod/{app}"
    line.development.renames(first, promoted)
    line.development.pushes(promoted)

    mends = f"enforcer cache import {first}\n"
    line.development.fails(
        f"enforcer verify --lost {first} {promoted}", "[ENF-2831]", mends
    )
    line.production.pulls(promoted)
    line.production.brings(promoted)
    line.production.refuses(promoted, f"{promoted} is not signed", "[ENF-1001]")
    line.production.brings(first)
    line.production.starts(promoted, f"this is {app}")

    line.production.pulls(first)
    line.production.refuses(first, "no statement", "[ENF-1002]")


@pytest.mark.parametrize(
    "copy",
    [
        "enforcer copy",
        "oras copy --recursive --from-plain-http --to-plain-http --no-tty",
    ],
    ids=["enforcer", "oras"],
)
def test_a_promotion_with_its_signatures_needs_nothing_else(
    copy: str, line: Line
) -> None:
    """Either takes along all that refers to the image."""
    app = line.name()
    first, promoted = line.develops(app), f"{line.registry}/prod/{app}"
    line.development.types(f"{copy} {first} {promoted}")
    line.development.types(f"enforcer verify --lost {first} {promoted}")

    line.production.pulls(promoted)
    line.production.brings(promoted)
    line.production.starts(promoted, f"this is {app}")


def test_the_archive_is_enough_when_the_first_repository_is_gone(line: Line) -> None:
    """Kept for months as files: image and signatures, judged as on the first day."""
    app = line.name()
    first, promoted = line.develops(app), f"{line.registry}/prod/{app}"
    line.development.renames(first, promoted)
    line.development.pushes(promoted)
    archive = line.production.stage.name("archive")
    line.production.types(f"enforcer copy {first} oci-archive:{archive}.tar")
    line.development.types(f"oras manifest delete --plain-http --force {first}")
    line.development.fails(f"oras manifest fetch --plain-http {first}", "not found")

    line.production.pulls(promoted)
    line.production.refuses(promoted, f"{promoted} is not signed", "[ENF-1001]")
    line.production.types(
        f"enforcer verify --scope {promoted} oci-archive:{archive}.tar:1"
    )
    line.production.types(f"enforcer cache import oci-archive:{archive}.tar")
    line.production.starts(promoted, f"this is {app}")
