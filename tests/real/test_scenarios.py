"""The Notary Project's scenarios by number, under a host policy, on real engines.

Two hosts side by side: one to develop or stage on, and production.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from tests.real.acme import (
    DEVELOPMENT,
    ENGINES,
    MONITOR,
    PROD,
    PRODUCTION,
    REGISTRY,
    STAGING,
    WABBIT,
    People,
    acme_stage,
    assert_refused,
    assert_runs,
    bring_signatures,
    sign,
    signer,
)
from tests.real.stage import Image, Stage


@dataclass(frozen=True, slots=True)
class Hosts:
    """Two hosts with the same kind of engine; `before` is where images come from."""

    before: Stage
    production: Stage


@pytest.fixture(scope="module", params=ENGINES)
def hosts(people: People, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Run a development and a production host, with each kind of engine in turn."""
    with ExitStack() as stack:
        before, production = (
            stack.enter_context(acme_stage(request.param, people, policy))
            for policy in (DEVELOPMENT, PRODUCTION)
        )
        yield Hosts(before, production)


@pytest.fixture
def production(hosts: Hosts) -> Stage:
    """The production host alone."""
    return hosts.production


def _image(stage: Stage, repository: str) -> Image:
    """Make an image below a repository, or with one more tag of the vendor's."""
    if repository == MONITOR:
        return stage.image("monitor", name=stage.name(f"{repository}:v"))
    return stage.image("app", name=f"{repository}/{stage.name('app')}:v1")


def test_2_a_signed_image_starts_under_every_new_name_the_policy_covers(
    people: People, production: Stage
) -> None:
    """A signature belongs to content: renaming it costs nothing and gains nothing."""
    image = _image(production, PROD)
    sign(production, image, people.release, people.qa)
    elsewhere = f"{WABBIT}/stolen:1"

    copy = production.rename(image, f"{PROD}/deeper/{production.name('copy')}:v7")
    bare = production.rename(image, f"{production.name('bare')}:1")
    vendors = production.rename(image, elsewhere)
    unknown = production.rename(image, f"quay.example/{production.name('x')}:1")

    for name in (image, copy, bare):
        assert_runs(production, name)
    assert_refused(production, vendors, "statement vendor wants wabbit", "[ENF-1017]")
    assert_refused(production, unknown, "no statement", "quay.example", "[ENF-1002]")


def test_2_a_tag_that_moves_carries_no_signature_along(
    people: People, production: Stage
) -> None:
    """It may move to signed content; to unsigned it lends nothing but its name."""
    first, second, unsigned = (_image(production, PROD) for _ in range(3))
    for image in (first, second):
        sign(production, image, people.release, people.qa)
    tag = production.rename(first, f"{PROD}/{production.name('tag')}:stable")
    assert_runs(production, tag)

    signed = production.rename(second, tag.name)
    assert_runs(production, signed)
    evil = production.rename(unsigned, tag.name)
    assert_refused(
        production, evil, f"{tag.name} is not signed", "statement production"
    )

    codes = [code for _, code in production.verdicts(tag)]
    assert codes == ["ENF-1000", "ENF-1000", "ENF-1001"]


def test_5_a_vendors_image_under_our_name_needs_the_vendor_and_us(
    people: People, production: Stage
) -> None:
    """The vendor does not say what we run, and we do not say what the vendor made."""
    theirs, ours, nobodys = (_image(production, MONITOR) for _ in range(3))
    sign(production, theirs, people.wabbit)
    sign(production, ours, people.release)
    sign(production, nobodys, people.stranger)
    wants = "statement vendor-monitor wants wabbit and acme-release"

    assert_refused(
        production, theirs,
        f"validly signed by wabbit, but {wants}; missing: acme-release", "[ENF-1017]",
    )  # fmt: skip
    assert_refused(
        production, ours,
        f"validly signed by acme-release, but {wants}; missing: wabbit", "[ENF-1017]",
    )  # fmt: skip
    assert_refused(production, nobodys, wants, "O=stranger", "[ENF-1004]")
    vendors = production.rename(theirs, f"{WABBIT}/{production.name('monitor')}:v1")
    assert_runs(production, vendors)

    sign(production, theirs, people.release)
    sign(production, ours, people.wabbit)

    for image in (theirs, ours, vendors):
        assert_runs(production, image)


def test_7_and_8_what_development_signs_runs_there_and_not_in_production(
    people: People, hosts: Hosts
) -> None:
    """Validly signed, but not for here: the same bytes, name and signature."""
    image = _image(hosts.before, PROD)
    hosts.production.load(image)
    sign(hosts.before, image, people.dev)
    bring_signatures(image, hosts.production)

    assert_runs(hosts.before, image)
    assert_refused(
        hosts.production, image,
        f"{image.name} is validly signed by acme-dev, but statement "
        "production wants acme-release and acme-qa; missing: acme-qa, acme-release",
        "[ENF-1017]",
    )  # fmt: skip

    # The one signature too few on one host is one enough on the other, and no more.
    sign(hosts.production, image, people.release, people.qa)
    assert_runs(hosts.production, image)


def test_8_a_bare_name_after_save_and_load_helps_no_development_image(
    people: People, hosts: Hosts
) -> None:
    """Nobody names a registry any more, and the content is still development's."""
    image = _image(hosts.before, PROD)
    sign(hosts.before, image, people.dev)
    bare = hosts.before.rename(image, f"{hosts.before.name('net-monitor')}:1")
    hosts.production.load(hosts.before.save(bare))
    bring_signatures(image, hosts.production)

    assert_runs(hosts.before, bare)
    assert_refused(
        hosts.production, bare,
        f"{bare.name} is validly signed by acme-dev, but statement "
        "local-builds wants acme-release; missing: acme-release", "[ENF-1017]",
    )  # fmt: skip

    sign(hosts.before, image, people.release)
    bring_signatures(image, hosts.production)
    assert_runs(hosts.production, bare)


@pytest.mark.parametrize("first", ["release", "qa"])
def test_9_signatures_are_added_on_the_way_to_production(
    first: str, people: People, hosts: Hosts
) -> None:
    """Nothing is restarted, nothing is created again, and the order does not matter."""
    before, production = hosts.before, hosts.production
    early, late = (
        (people.release, people.qa)
        if first == "release"
        else (people.qa, people.release)
    )
    pids = (before.host.pid, production.host.pid)
    image = _image(before, PROD)
    production.load(image)
    with before.host.policy_changes():
        before.host.write_policy(STAGING)
    try:
        assert_refused(before, image, "statement staging wants", "[ENF-1001]")
        sign(before, image, early)
        bring_signatures(image, production)
        assert_refused(
            production, image,
            f"validly signed by {early.name}, but statement production "
            f"wants acme-release and acme-qa; missing: {late.name}", "[ENF-1017]",
        )  # fmt: skip
        sign(before, image, late)
        assert_runs(before, image)
    finally:
        with before.host.policy_changes():
            before.host.write_policy(DEVELOPMENT)
    assert_refused(production, image, f"missing: {late.name}")

    bring_signatures(image, production)

    assert_runs(production, image)
    assert pids == (before.host.pid, production.host.pid)


def test_9_one_key_is_one_signer_however_often_and_as_whom_it_signs(
    people: People, production: Stage
) -> None:
    """Two names for one key, or two signatures by it, are not four eyes."""
    image = _image(production, f"{REGISTRY}/reviewed")
    reviewed = {
        "name": "reviewed",
        "scopes": [f"{REGISTRY}/reviewed/*"],
        "require": {"atLeast": {"count": 2, "of": ["acme-anybody", "acme-release"]}},
    }
    anybody = {"acme-anybody": signer("acme", "*")}
    sign(production, image, people.release, people.release)

    with production.host.also(signers=anybody, statements=[reviewed]):
        assert_refused(
            production, image,
            "validly signed by acme-anybody, acme-release, but statement reviewed "
            "wants acme-anybody and acme-release; no key counts twice", "[ENF-1017]",
        )  # fmt: skip
        sign(production, image, people.dev)
        assert_runs(production, image)


def test_a_name_may_only_add_demands(people: People, production: Stage) -> None:
    """Whoever starts a container chooses its name, and so no name is a way around."""
    image = _image(production, f"{REGISTRY}/playground")
    sign(production, image, people.dev)
    names = [
        production.rename(image, name).name
        for name in (
            f"{PROD}/{production.name('x')}:1",
            production.name(f"{MONITOR}:x"),
            f"{WABBIT}/{production.name('x')}:1",
            f"{production.name('x')}:1",
        )
    ]
    if production.is_docker:  # an id stands for every name, and any of them would do
        names.append(production.id_of(image))

    assert_refused(
        production, image,
        "but the policy always wants acme-release or wabbit; missing:", "[ENF-1017]",
    )  # fmt: skip
    for name in names:
        assert_refused(production, replace(image, name=name), "[ENF-1017]")
    unknown = production.rename(image, f"{production.name('evil')}.example/prod/x:1")
    assert_refused(production, unknown, "no statement", "[ENF-1002]")

    sign(production, image, people.release)
    assert_runs(production, image)
    assert_runs(production, replace(image, name=names[-1]))


def test_every_decision_names_the_policy_it_was_made_by(
    people: People, production: Stage
) -> None:
    """Months later somebody asks why it started, and the policy has changed since."""
    image = _image(production, PROD)
    sign(production, image, people.release)
    assert_refused(production, image, "missing: acme-qa")
    first = production.host.policy()["digest"]

    with production.host.also(exempt=[]):
        second = production.host.policy()["digest"]
        assert_refused(production, image, "missing: acme-qa")
        sign(production, image, people.qa)
        assert_runs(production, image)

    found = production.host.decisions()
    ours = [r["policy"] for r in found if r["reference"] in (image.name, image.full)]
    assert ours == [first, second, second]
    assert first != second
    assert {record["policy"][:7] for record in found} == {"sha256:"}
