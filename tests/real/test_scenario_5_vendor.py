"""Scenario 5: a vendor's image is taken into ACME's registry and signed by ACME, too.

`docker pull`, `tag` and `push` lose the vendor's signature. It is found at the
vendor's, and production wants both: the vendor's, who made it, and ours, who let it in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.real.acme import policy
from tests.real.nodes import PAIRS, Node, by_digest


@dataclass(frozen=True, slots=True)
class Import:
    """The way of a vendor's image, by our gateway and registry, to production."""

    gateway: Node
    production: Node
    wabbit: str
    acme: str

    def sold(self) -> tuple[str, str]:
        """Have the vendor make, push and sign an image; return its and our name."""
        app = f"{self.production.stage.name('net-monitor')}:v1"
        theirs = f"{self.wabbit}/products/{app}"
        self.gateway.called("vendor", "5").builds(theirs, f"this is {app}")
        self.gateway.signs(by_digest(theirs, self.gateway.pushes(theirs)), "wabbit")
        self.gateway.types(f"docker image rm {theirs}")
        self.gateway.called("gateway", "5")
        return theirs, f"{self.acme}/infra/{app}"

    def taken(self, theirs: str, ours: str) -> str:
        """Take an image in as everybody does; return our name for it by digest."""
        self.gateway.pulls(theirs)
        self.gateway.renames(theirs, ours)
        return by_digest(ours, self.gateway.pushes(ours))


@pytest.fixture(scope="module", params=PAIRS, ids="-to-".join)
def way(
    node_with: Callable[[str, str], Node],
    acme_registry: str,
    wabbit_registry: str,
    request: pytest.FixtureRequest,
) -> Import:
    """Run a gateway that both registries are open to, and production."""
    builder, target = request.param
    rules = policy(
        {"anyOf": ["wabbit", "acme-release"]},
        {
            "vendor": ([f"{wabbit_registry}/*"], "wabbit"),
            "vendor-and-us": (
                [f"{acme_registry}/infra/*"],
                {"allOf": ["wabbit", "acme-release"]},
            ),
        },
    )
    production = node_with("target", target).called("production", "5")
    production.obeys(rules)
    gateway = node_with("builder", builder)
    return Import(gateway, production, wabbit_registry, acme_registry)


def test_the_lost_signature_is_found_and_ours_is_added(way: Import) -> None:
    """Neither the vendor alone says what runs here, nor do we say what it made."""
    theirs, ours = way.sold()
    taken = way.taken(theirs, ours)
    production = way.production
    wants = "statement vendor-and-us wants wabbit and acme-release; missing:"
    mends = f"enforcer copy {theirs} {ours}\n"
    # Docker with containerd's store pushes one platform of an index: other content.
    lost = "[ENF-2832]" if way.gateway.engine == "docker" else "[ENF-2831]"
    way.gateway.fails(
        f"enforcer verify --lost {theirs} {ours}", lost, "CN=wabbit", mends
    )

    production.pulls(ours)
    production.brings(ours)
    production.refuses(ours, f"{ours} is not signed", "[ENF-1001]")
    production.brings(theirs)
    production.refuses(ours, f"{wants} acme-release", "[ENF-1017]")
    way.gateway.signs(taken, "acme-release")
    production.brings(ours)

    production.starts(ours, f"this is {ours.rpartition('/')[2]}")


def test_our_signature_does_not_stand_for_the_vendors(way: Import) -> None:
    """Whoever puts something else under that name needs the vendor's key."""
    _, ours = way.sold()
    way.gateway.builds(ours, "something else")
    way.gateway.signs(by_digest(ours, way.gateway.pushes(ours)), "acme-release")

    way.production.pulls(ours)
    way.production.brings(ours)

    missing = "missing: wabbit"
    way.production.refuses(ours, "statement vendor-and-us", missing, "[ENF-1017]")


def test_taken_in_with_its_signatures_it_needs_only_ours(way: Import) -> None:
    """Copied with all that refers to it, the vendor's signature is in our registry."""
    theirs, ours = way.sold()
    way.gateway.types(f"enforcer copy {theirs} {ours}")
    way.gateway.types(f"enforcer verify --lost {theirs} {ours}")
    way.gateway.signs(ours, "acme-release")

    way.production.pulls(ours)
    way.production.brings(ours)

    way.production.starts(ours, f"this is {ours.rpartition('/')[2]}")
