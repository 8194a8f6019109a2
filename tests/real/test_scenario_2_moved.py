"""Scenario 2: build, sign, rename, push; pull, validate and run on another node.

A signature belongs to content. A tag that moves to other content takes none along.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.real.acme import BARE, policy
from tests.real.nodes import PAIRS, Node, by_digest


@dataclass(frozen=True, slots=True)
class Team:
    """Where images are built, where they are tried, and the registry between."""

    developer: Node
    test: Node
    registry: str

    def pushes(self, app: str, text: str) -> str:
        """Build, tag and push an image; return its name by digest."""
        name = f"{self.registry}/dev/{app}"
        self.developer.builds(app, text)
        self.developer.renames(app, name)
        return by_digest(name, self.developer.pushes(name))


@pytest.fixture(scope="module", params=PAIRS, ids="-to-".join)
def team(
    node_with: Callable[[str, str], Node],
    acme_registry: str,
    request: pytest.FixtureRequest,
) -> Team:
    """Run two nodes; the second takes whatever development or release signed."""
    builder, target = request.param
    anybody = {"anyOf": ["acme-dev", "acme-release"]}
    rules = policy(anybody, {"any-signed": ([f"{acme_registry}/*", *BARE], anybody)})
    test = node_with("target", target).called("test", "2")
    test.obeys(rules)
    return Team(node_with("builder", builder).called("dev", "2"), test, acme_registry)


def test_a_pushed_image_starts_elsewhere_once_its_signature_is_there(
    team: Team,
) -> None:
    """By tag and by digest, and under another name as well."""
    app = f"{team.test.stage.name('app')}:1"
    name = f"{team.registry}/dev/{app}"
    pushed = team.pushes(app, "made in dev")
    team.developer.signs(pushed, "acme-dev")

    team.test.pulls(name)
    team.test.refuses(name, f"{name} is not signed", "[ENF-1001]")
    team.test.brings(pushed)
    team.test.starts(name, "made in dev")
    team.test.pulls(pushed)
    team.test.starts(pushed, "made in dev")
    renamed = f"{team.registry}/test/{app}"
    team.test.renames(name, renamed)
    team.test.starts(renamed, "made in dev")


def test_a_tag_that_moved_to_unsigned_content_is_refused(team: Team) -> None:
    """Signed under the same name was other content, which goes on by its digest."""
    app = f"{team.test.stage.name('app')}:1"
    name = f"{team.registry}/dev/{app}"
    first = team.pushes(app, "the first")
    team.developer.signs(first, "acme-dev")
    team.test.pulls(name)
    team.test.pulls(first)
    team.test.brings(name)
    team.test.starts(name, "the first")

    second = team.pushes(app, "the second")
    team.test.pulls(name)
    team.test.refuses(name, f"{name} is not signed", "[ENF-1001]")
    team.test.brings(name)  # there is none to bring
    team.test.refuses(name, f"{name} is not signed", "[ENF-1001]")
    team.test.starts(first, "the first")

    team.developer.signs(second, "stranger")
    team.test.brings(name)
    team.test.refuses(name, "O=stranger", "[ENF-1004]")
    team.developer.signs(second, "acme-release")
    team.test.brings(name)
    team.test.starts(name, "the second")
