"""Scenario 6: only an internal server can be reached; then nothing can.

The node is in a network of its own, with a cable to the internal server's and no other
route. The kernel counts what finds no route, strace lists every address that a process
connects to, the engines' as well, and the server's log says who came.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.images import write_layout
from tests.engines.network import Network
from tests.engines.path import program
from tests.engines.process import run
from tests.engines.registry import running_registry
from tests.engines.tls import Tls, make_tls
from tests.engines.watched import Watch
from tests.real.acme import ENGINES, People, policy
from tests.real.nodes import SOAK, Node, node

SERVER, NODE = "10.77.0.1", "10.77.0.2"
REGISTRY = f"{SERVER}:5000"


class Internal:
    """The internal server: what is on it came on a stick, and nobody leaves."""

    def __init__(self, home: Path, network: Network, tls: Tls, who: People) -> None:
        self.network = network
        self.log = home / "log"
        self._home = home
        self._tls = tls
        self._who = who

    def gets(self, app: str, *signers: str) -> str:
        """Have it get an image with its signatures from outside; return its name."""
        layout = self._home / app
        digest = write_layout(layout, text=f"this is {app}", tag=f"{app}:1")
        for name in signers:
            self._who.notation.sign_layout(layout, digest, key=name)
        there = f"{REGISTRY}/infra/{app}:1"
        words = ("copy", "--recursive", "--from-oci-layout", "--no-tty")
        with self.network.inside():
            run(
                [program("oras"), *words, f"{layout}@{digest}", there],
                env={"HOME": str(self._home), "SSL_CERT_FILE": str(self._tls.ca)},
            )
        return there


@dataclass(slots=True)
class Site:
    """A node, its network, what was seen of its processes, and the internal server.

    `in_vain` counts what found no route while there was no cable.
    """

    node: Node
    network: Network
    watch: Watch
    server: Internal
    in_vain: int = 0

    @property
    def without_route(self) -> int:
        """How often anybody on the node tried to reach what it has no route to."""
        return self.network.counters()["IpOutNoRoutes"]

    def connect(self) -> None:
        """Plug the cable in."""
        self.network.connect(self.server.network, f"{NODE}/24", f"{SERVER}/24")

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Have nothing reachable for a while."""
        before = self.without_route
        self.network.disconnect()
        yield
        self.connect()  # first: an idle connection, too, is given up in vain
        self.in_vain += self.without_route - before

    def app(self) -> str:
        """Return a name nobody used before."""
        return self.node.stage.name("app")


@pytest.fixture(scope="module", params=ENGINES if SOAK else ("docker", "containerd"))
def site(
    engines: Path,
    people: People,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Run an internal server, and a node that is connected to that alone."""
    home = tmp_path_factory.mktemp("internal")
    watch = Watch(tmp_path_factory.mktemp("watched") / "calls")
    tls = make_tls(home, SERVER)
    rules = policy("acme-release", {"infra": ([f"{REGISTRY}/infra/*"], "acme-release")})
    with Network() as network, Network() as servers, ExitStack() as stack:
        servers.add_loopback()  # it talks to itself, too
        network.connect(servers, f"{NODE}/24", f"{SERVER}/24")
        with servers.inside():
            stack.enter_context(running_registry(home, address=REGISTRY, tls=tls))
        here = stack.enter_context(
            node(request.param, people, rules, network=network, watch=watch, ca=tls.ca)
        )
        trusted = [{"host": REGISTRY, "ca": str(tls.ca)}]
        here.stage.reconfigure(registries=trusted)
        server = Internal(home, servers, tls, people)
        yield Site(here.called("node", "6"), network, watch, server)


@pytest.fixture
def here(site: Site) -> Iterator[Node]:
    """The node; after each test, nobody has looked for anything but the server."""
    yield site.node
    assert site.watch.addresses() == {(SERVER, 5000)}
    assert site.without_route == site.in_vain
    came = re.findall(
        r"http.request.remoteaddr=\"?([0-9.]+)", site.server.log.read_text()
    )
    assert set(came) <= {SERVER, NODE}
    assert NODE in came


def test_everything_comes_from_the_internal_server(here: Node, site: Site) -> None:
    """Image and signature; nobody asks the registry the image was first pushed to."""
    image = site.server.gets(site.app(), "acme-release")

    here.pulls(image)
    here.refuses(image, f"{image} is not signed", "[ENF-1001]")
    here.brings(image)

    here.starts(image, f"this is {image.split('/')[-1].removesuffix(':1')}")


def test_what_is_on_the_internal_server_is_not_trusted_for_that(
    here: Node, site: Site
) -> None:
    """Where something lies says nothing about who made it: a signer has to."""
    unsigned = site.server.gets(site.app())
    strangers = site.server.gets(site.app(), "stranger")
    for image in (unsigned, strangers):
        here.pulls(image)
        here.brings(image)

    here.refuses(unsigned, f"{unsigned} is not signed", "[ENF-1001]")
    here.refuses(strangers, "O=stranger", "[ENF-1004]")


def test_then_nothing_can_be_reached(here: Node, site: Site) -> None:
    """What was gathered goes on counting, also after a boot of the daemon."""
    app = site.app()
    image = site.server.gets(app, "acme-release")
    here.pulls(image)
    here.brings(image)

    with site.unplugged():
        here.fails(f"enforcer cache import {image}", "[ENF-2602]")
        assert site.without_route > site.in_vain
        here.starts(image, f"this is {app}")
        here.stage.host.stop()
        here.stage.host.start()
        here.starts(image, f"this is {app}")
        carried = f"{REGISTRY}/infra/{site.app()}:1"
        digest = here.layout(carried, "from a stick", "stick")
        here.types(f"notation sign --oci-layout --key acme-release stick@{digest}")
        here.loads("stick")
        here.refuses(carried, f"{carried} is not signed", "[ENF-1001]")
        here.types("enforcer cache import oci-layout:stick")
        here.starts(carried, "from a stick")
