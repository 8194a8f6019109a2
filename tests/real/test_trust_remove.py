"""An anchor that is taken away on a host that runs, and given back."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.enforced import POLICY_SECONDS
from tests.engines.notation import Signer
from tests.engines.process import wait_until
from tests.real.acme import (
    PRODUCTION,
    WABBIT,
    People,
    acme_stage,
    assert_refused,
    assert_runs,
    sign,
)
from tests.real.door import ask_image
from tests.real.stage import Image, Stage

BUSY_SECONDS = 3.0  # one is promised; the machine may have other things to do
ALLOWED, UNTRUSTED, NO_STORE = "ENF-1000", "ENF-1004", "ENF-1203"


@pytest.fixture(scope="module")
def stage(people: People) -> Iterator[Stage]:
    """Run a production host whose trust stores this module empties."""
    with acme_stage("containerd", people, PRODUCTION) as stage:
        yield stage


def _becomes(stage: Stage, image: Image, code: str) -> float:
    """Wait until that is what a door is told; return how long it took."""
    started = time.monotonic()
    wait_until(lambda: ask_image(stage, image.full).code == code, code, POLICY_SECONDS)
    return time.monotonic() - started


def _names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def _trust(stage: Stage, *signers: Signer) -> None:
    stage.host.trust("acme", *signers)


@pytest.mark.alone
def test_what_only_a_removed_anchor_vouched_for_is_refused_within_a_second(
    people: People, stage: Stage
) -> None:
    """A stolen key is taken away from a running host, without a restart."""
    image = stage.image("app")
    sign(stage, image, people.release)
    assert_runs(stage, image)
    words = ("trust", "remove", "--store", "acme", people.release.ca.name)

    stage.host.enforcer(*words)
    took = [_becomes(stage, image, UNTRUSTED)]
    assert_refused(stage, image, f"[{UNTRUSTED}]")
    _trust(stage, people.release)
    took.append(_becomes(stage, image, ALLOWED))
    assert_runs(stage, image)

    print("in force after " + ", ".join(f"{seconds:.2f} s" for seconds in took))
    assert max(took) < BUSY_SECONDS


def test_an_emptied_store_refuses_all_that_needs_it_and_nothing_else(
    people: People, stage: Stage
) -> None:
    """So it is asked twice. What a vendor signed needs another store."""
    image = stage.image("app")
    vendors = stage.image("vendors", name=f"{WABBIT}/{stage.name('app')}:1")
    sign(stage, image, people.release)
    sign(stage, vendors, people.wabbit)
    store = stage.host.config / "trust" / "x509" / "ca" / "acme"
    before = _names(store)
    words = ("trust", "remove", "--store", "acme", *sorted(before))

    asked = stage.host.enforcer(*words, check=False)
    assert asked.returncode == 4
    assert "needs it: always, production, vendor-monitor, playground" in asked.stderr
    assert _names(store) == before
    assert_runs(stage, image)

    stage.host.enforcer(*words, "--yes")
    _becomes(stage, image, NO_STORE)
    assert_refused(stage, image, "enforcer trust add --type ca", f"[{NO_STORE}]")
    assert_runs(stage, vendors)

    _trust(stage, people.release, people.qa, people.dev)
    _becomes(stage, image, ALLOWED)
    assert_runs(stage, image)
