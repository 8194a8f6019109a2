"""ACME: its signers, its vendor, and the policies of its hosts.

The names are those of the Notary Project's scenarios. Hosts of one test know the same
signers, so a signature made on one of them can be brought to another as it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.engines.images import describe
from tests.engines.notation import Notation, Signer
from tests.real.stage import Done, Image, Stage, containerd_stage, docker_stage, said

ENGINES: dict[str, Callable[..., Stage]] = {
    "containerd": containerd_stage,
    "docker": partial(docker_stage, "containerd"),
    "graph-docker": partial(docker_stage, "graphdriver"),
    "old-docker": partial(docker_stage, "graphdriver", "bookworm"),
}
REGISTRY = "registry.acme-rockets.com"
PROD = f"{REGISTRY}/prod"
WABBIT = "registry.wabbit-networks.com"
MONITOR = f"{REGISTRY}/infra/networking/wabbit-net-monitor"
BARE = ["local/*", "docker.io/library/*"]  # ctr has no bare names, and says the latter
MEMBERS = ("acme-release", "acme-qa", "acme-dev")

Policy = dict[str, object]


def policy(always: object, statements: Mapping[str, tuple[object, object]]) -> Policy:
    """Write a policy: statements are `name: (scopes, requirement)`."""
    members = {
        name: signer("acme", f"x509.subject: C=US, ST=WA, O={name}") for name in MEMBERS
    }
    return {
        "apiVersion": "enforcer/v1",
        "signers": {
            **members,
            "wabbit": signer("wabbit-networks", "*"),
        },
        "always": always,
        "statements": [
            {"name": name, "scopes": scopes, "require": required}
            for name, (scopes, required) in statements.items()
        ],
    }


def signer(store: str, identity: str) -> object:
    """Describe a signer by a trust store and an identity."""
    return {"x509": {"trustStores": [f"ca:{store}"], "identities": [identity]}}


_DEVELOPER = {"anyOf": ["acme-dev", "acme-release"]}
DEVELOPMENT = policy(
    _DEVELOPER, {"development": ([f"{REGISTRY}/*", *BARE], _DEVELOPER)}
)
STAGING = policy("acme-release", {"staging": ([f"{REGISTRY}/*"], "acme-release")})
PRODUCTION = policy(
    {"anyOf": ["acme-release", "wabbit"]},
    {
        "production": ([f"{PROD}/*"], {"allOf": ["acme-release", "acme-qa"]}),
        "vendor-monitor": ([MONITOR], {"allOf": ["wabbit", "acme-release"]}),
        "vendor": ([f"{WABBIT}/*"], "wabbit"),
        "playground": ([f"{REGISTRY}/playground/*"], "acme-dev"),
        "local-builds": (BARE, "acme-release"),
    },
)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who signs, and their notation; `stranger` is trusted nowhere."""

    notation: Notation
    release: Signer
    qa: Signer
    dev: Signer
    wabbit: Signer
    stranger: Signer


def people(home: Path) -> People:
    """Make everybody's keys."""
    notation = Notation(home)
    names = (*MEMBERS, "wabbit", "stranger")
    return People(notation, *(notation.add_signer(name) for name in names))


@contextmanager
def acme_stage(
    engine: str, who: People, rules: Policy, *, before: Sequence[str] = ()
) -> Iterator[Stage]:
    """Run a host with a host policy and an engine; `before` starts its daemons."""
    stage = ENGINES[engine](before=before)
    stage.host.write_policy(rules)
    stage.host.trust("acme", who.release, who.qa, who.dev)
    stage.host.trust("wabbit-networks", who.wabbit)
    with stage:
        yield stage


def sign(stage: Stage, image: Image, *signers: Signer) -> None:
    """Have an image signed on its way to a host; its layout carries the signatures."""
    target = f"oci-layout:{image.layout}@{image.digest}"
    for by in signers:
        words = ("--key", by.key, "--cert", by.chain, "--write-layout")
        stage.host.enforcer("sign", target, *words)


def bring_signatures(image: Image, to: Stage) -> None:
    """Bring all signatures that an image's layout carries to another host."""
    to.host.enforcer("cache", "import", f"oci-layout:{image.layout}@{image.digest}")


def judged(stage: Stage, image: Image) -> Any:  # a decision as JSON, of many shapes
    """Return what `enforcer verify` says about an image in the engine."""
    target = f"docker:{image.name}" if stage.is_docker else f"containerd:{image.full}"
    return json.loads(
        stage.host.enforcer("verify", "-o", "json", target, check=False).stdout
    )


def assert_runs(stage: Stage, image: Image) -> None:
    """The image starts, and it is this image that runs."""
    done = stage.run(image)
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n"), said(done)


def assert_refused(stage: Stage, image: Image, *words: str) -> Done:
    """Nothing starts, and the client shows all these words."""
    done = stage.run(image)
    assert done.returncode != 0
    assert image.text not in said(done)
    for word in words:
        assert word in done.stderr
    return done


def digests(image: Image) -> Sequence[str]:
    """What a policy may call an image: its manifest's and its configuration's."""
    facts = describe(image.layout)
    return (facts.manifest, facts.config)
