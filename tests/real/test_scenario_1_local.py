"""Scenario 1: build, sign and validate on one machine. There is no registry.

There is no network, either: the node is in a network namespace without a route, whose
loopback device is down. strace watches every process from the engine's start on, and
nobody makes an internet socket: neither our processes and commands nor the engine.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.network import Network
from tests.engines.watched import Watch
from tests.real.acme import BARE, ENGINES, People, policy
from tests.real.nodes import Node, node

LOCAL = policy(
    {"anyOf": ["acme-dev", "acme-release"]},
    {
        "local-builds": (BARE, "acme-dev"),
        "hub": (["docker.io/acme/*"], "acme-release"),
    },
)
DEV = "--key keys/acme-dev.key --cert keys/acme-dev.crt"
STRANGER = "--key keys/stranger.key --cert keys/stranger.crt"


@dataclass(frozen=True, slots=True)
class Alone:
    """A node without a network, and what was seen of its processes."""

    node: Node
    network: Network
    watch: Watch


@pytest.fixture(scope="module", params=ENGINES)
def alone(
    engines: Path,
    people: People,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Alone]:
    """Run a node of each kind that reaches nothing at all."""
    watch = Watch(tmp_path_factory.mktemp("watched") / "calls")
    with (
        Network() as network,
        node(request.param, people, LOCAL, network=network, watch=watch) as here,
    ):
        yield Alone(here.called("workstation", "1"), network, watch)


@pytest.fixture
def workstation(alone: Alone) -> Iterator[Node]:
    """The node; after each test, nobody has made an internet socket."""
    yield alone.node
    ran = "\n".join(alone.watch.ran())
    for program in ("enforcer.daemon", "enforcer.resolver", '"-m", "enforcer"', "ask"):
        assert program in ran
    assert alone.watch.sockets("AF_UNIX")
    assert alone.watch.internet_sockets() == []
    assert alone.watch.addresses() == set()


def _name(here: Node, word: str) -> str:
    """A bare name; ctr knows none, so there it is what Docker makes of it."""
    name = f"{here.stage.name(word)}:1"
    return name if here.is_docker else f"docker.io/library/{name}"


def test_what_is_built_here_starts_once_it_is_signed_here(workstation: Node) -> None:
    """Build, sign, validate, run: four commands, and nothing else is needed."""
    app = _name(workstation, "hello-world")
    target = workstation.target(app)

    workstation.builds(app, "hello from here")
    workstation.refuses(app, f"{app} is not signed", "[ENF-1001]")
    workstation.fails(f"enforcer verify {target}", "[ENF-1001]")
    workstation.types(f"enforcer sign {target} {DEV}")
    verified = workstation.types(f"enforcer verify {target}")
    workstation.starts(app, "hello from here")

    assert verified.stdout.startswith(f"ALLOWED  {app} ")
    assert "statement  local-builds" in verified.stdout


def test_the_next_build_under_the_same_name_is_signed_anew(workstation: Node) -> None:
    """The tag is the same, the content is not; going back needs no new signature."""
    app = _name(workstation, "hello-world")
    target = workstation.target(app)
    workstation.builds(app, "the first")
    workstation.types(f"enforcer sign {target} {DEV}")
    workstation.starts(app, "the first")

    workstation.builds(app, "the second")
    workstation.refuses(app, f"{app} is not signed", "[ENF-1001]")
    workstation.types(f"enforcer sign {target} {STRANGER}")
    workstation.refuses(app, "O=stranger", "[ENF-1004]")
    workstation.types(f"enforcer sign {target} {DEV}")
    workstation.starts(app, "the second")
    workstation.builds(app, "the first")
    workstation.starts(app, "the first")


def test_a_name_without_a_registry_means_none(workstation: Node) -> None:
    """Docker's `acme/app` was built here, and docker.io/acme has other rules."""
    app = f"acme/{workstation.stage.name('app')}:1"
    if not workstation.is_docker:
        app = f"docker.io/{app}"  # ctr has full names only, and means what they say
    target = workstation.target(app)

    workstation.builds(app, "mine")
    workstation.types(f"enforcer sign {target} {DEV}")

    if workstation.is_docker:
        workstation.starts(app, "mine")
    else:
        workstation.refuses(app, "statement hub wants acme-release", "[ENF-1017]")
    asked = workstation.types("enforcer policy show docker.io/acme/app:1")
    assert "hub" in asked.stdout


def test_what_comes_on_a_stick_is_imported_judged_and_started(
    workstation: Node,
) -> None:
    """Signed elsewhere by notation, carried as files; then every word there is."""
    app = _name(workstation, "carried")
    workstation.layout(app, "from a stick", "stick")
    workstation.types("notation sign --oci-layout --key acme-dev stick:1")
    workstation.loads("stick")
    workstation.refuses(app, f"{app} is not signed", "[ENF-1001]")

    workstation.types("enforcer cache import oci-layout:stick")
    workstation.starts(app, "from a stick")
    workstation.types("enforcer cache list")
    workstation.types("enforcer cache gc")
    workstation.types("enforcer cache fsck")
    workstation.types("enforcer verify --scope local/carried oci-layout:stick")
    workstation.types(f"enforcer explain {workstation.target(app)}")
    workstation.types("enforcer status")
    workstation.types("enforcer log --denied")
    workstation.types("enforcer policy check")
    removed = workstation.digest_of("stick")
    workstation.types(f"enforcer cache remove {removed}")
    workstation.refuses(app, f"{app} is not signed", "[ENF-1001]")


def test_one_file_carries_the_image_and_its_signatures(workstation: Node) -> None:
    """Exported here and taken in as on another host: by the engine, then by us."""
    app = _name(workstation, "packed")
    target = workstation.target(app)
    workstation.builds(app, "all in one")
    signed = workstation.types(f"enforcer sign -o json {target} {DEV}")
    digest = json.loads(signed.stdout)["digest"]

    workstation.types(f"enforcer cache export --with-image {target} oci-archive:a.tar")
    workstation.types(f"enforcer cache remove {digest}")
    workstation.removes(app)
    workstation.takes("a.tar")
    workstation.refuses(app, f"{app} is not signed", "[ENF-1001]")
    workstation.types("enforcer cache import oci-archive:a.tar")
    workstation.starts(app, "all in one")
