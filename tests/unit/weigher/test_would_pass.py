"""What `explain` says would let an image pass: it is done here, and it does."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from enforcer.core.codes import PAGES, Code
from enforcer.core.decide import Decision
from enforcer.core.host_policy import HostPolicy
from enforcer.core.would_pass import would_pass
from enforcer.ports import PolicyInForce
from tests.pki import NOW
from tests.unit.weigher.test_host_policy_weighing import (
    ABOUT,
    Host,
    denying,
    force,
    host,
    key,
    signed_by,
)

# Ways around a policy. Whoever is refused must not be sent there.
BYPASS = re.compile(
    r"monitor|break.?glass|gate\.conf|exempt|allowLevels|permissive|builds: allow|"
    r"uninstall",
    re.IGNORECASE,
)


def lacks(one: Host) -> str:
    return would_pass(one.decide(), one.force.policy, ["local/app"])


def named(text: str) -> list[str]:
    """The signers that a sentence names."""
    return re.findall(r"(\w+) \(x509 ", text)


@pytest.mark.parametrize("signers", [(), ("stranger",), ("wabbit",), ("acme",)])
@pytest.mark.parametrize(
    "require",
    [
        "acme",
        {"allOf": ["acme", "qa"]},
        {"atLeast": {"count": 2, "of": ["acme", "qa", "wabbit"]}},
        {"anyOf": ["qa", {"allOf": ["acme", "wabbit"]}]},
    ],
    ids=str,
)
def test_who_is_named_is_enough(signers: Sequence[str], require: object) -> None:
    before = host(*signers, force=force(require))
    if before.decide().allowed:
        assert lacks(before) == ""
        return

    text = lacks(before)
    after = host(*signers, *named(text), force=force(require))

    assert named(text)
    assert after.decide().allowed, text
    for left_out in named(text):
        fewer = [name for name in named(text) if name != left_out]
        assert not host(*signers, *fewer, force=force(require)).decide().allowed


def test_the_sentence_says_who_that_is() -> None:
    assert lacks(host("acme", force=force({"allOf": ["acme", "qa"]}))) == (
        "would pass if also signed by: qa (x509 ca:qa, any certificate of it)"
    )
    assert lacks(host()) == (
        "would pass if signed by: acme (x509 ca:acme, any certificate of it)"
    )


def test_a_demand_that_always_holds_is_counted_in() -> None:
    """Who meets only the statement would be refused once more."""
    strict = force("wabbit", always="acme")

    assert named(lacks(host(force=strict))) == ["acme", "wabbit"]


def test_of_the_past_the_demands_are_those_that_the_decision_names() -> None:
    one = host(force=force({"allOf": ["acme", "qa"]}))

    assert would_pass(one.decide(), one.force.policy) == lacks(one)
    other = replace(one.decide(), statement="gone since")
    assert would_pass(other, one.force.policy).endswith(
        "signed by: whom statement gone since wants"
    )
    assert would_pass(one.decide(), None) == (
        "would pass if signed by: whom statement all wants"
    )


def test_an_expired_signature_is_to_be_made_again() -> None:
    late = replace(
        host(), signatures=[signed_by("acme", 1)], at=NOW + timedelta(days=30)
    )

    assert lacks(late) == (
        "would pass if signed again, to last longer, by: acme (x509 ca:acme, any "
        "certificate of it)"
    )


def test_what_is_denied_by_name_has_no_way_to_pass() -> None:
    denied = host("acme", force=denying("image", ABOUT))

    assert lacks(denied) == (
        "nothing lets it pass while the policy's deny list names it"
    )


def test_a_key_that_counts_already_is_not_counted_twice() -> None:
    twice: PolicyInForce = force(
        {"allOf": ["acme", "same"]},
        signers={
            "acme": {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}},
            "same": {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}},
        },
        always="acme",
    )

    text = lacks(host("acme", force=twice))

    assert "(each with a key of its own, that does not count yet)" in text


DECIDED = [c for c in Code if c < "ENF-2" and c is not Code.EXEMPT]  # not doctor's


@pytest.mark.parametrize("code", DECIDED)
def test_no_way_around_is_taught(code: Code) -> None:
    """Of all that could be wrong, nothing is mended by looking away."""
    policy = force().policy
    assert isinstance(policy, HostPolicy)
    decision = Decision(
        allowed=False, code=code, message="no", statement="all", signatures=()
    )

    text = would_pass(decision, policy)

    assert text
    assert not BYPASS.search(text)
    if code in (Code.UNSIGNED, Code.WRONG_SIGNER, Code.REQUIREMENT_UNMET):
        assert not BYPASS.search(PAGES[code][1])


def test_keys_are_what_these_tests_think() -> None:
    """A signer of another key would make the sentences above true by accident."""
    assert len({key(name) for name in ("acme", "qa", "wabbit")}) == 3
