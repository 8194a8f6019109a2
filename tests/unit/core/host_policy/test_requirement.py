"""Requirements: distinct keys, whatever the nesting."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.digest import Digest
from enforcer.core.host_policy.requirement import (
    MAX_ALTERNATIVES,
    Requirement,
    all_of,
    any_of,
    at_least,
    both,
    lacking,
    one,
)

A, B, C, D = (one(name) for name in "abcd")


def keys(*vouching: str) -> dict[Digest, set[str]]:
    """One key a text, which vouches for every letter in it."""
    return {Digest.of(bytes([n])): set(names) for n, names in enumerate(vouching)}


@pytest.mark.parametrize(
    ("requirement", "met", "unmet"),
    [
        (A, [["a"], ["ba"]], [[], ["b"]]),
        (any_of([A, B]), [["a"], ["b"], ["ab"]], [[], ["c"]]),
        (all_of([A, B]), [["a", "b"], ["ab", "b"], ["ab", "ab"]], [["a"], ["ab"]]),
        (
            at_least(2, [A, B, C]),
            [["a", "c"], ["abc", "abc"], ["ab", "bc", "c"]],
            [["abc"], ["a", "a"], ["a", "d"]],
        ),
        # The greedy choice is wrong here: the first key has to serve `a`.
        (all_of([A, B, C]), [["ab", "ac", "a"], ["abc", "ab", "a"]], [["ab", "ab"]]),
        # A name in two parts needs two keys: parts are met by different people.
        (all_of([A, any_of([A, B])]), [["a", "b"], ["a", "a"]], [["a"], ["ab"]]),
        (any_of([all_of([A, B]), all_of([C, D])]), [["c", "d"]], [["a", "c"]]),
        (at_least(2, [all_of([A, B]), C, D]), [["a", "b", "c"]], [["a", "c"]]),
    ],
)
def test_each_name_needs_a_key_of_its_own(
    requirement: Requirement, met: list[list[str]], unmet: list[list[str]]
) -> None:
    """php-tuf and kyverno have counted one key twice; here it never serves two."""
    for vouching in met:
        assert requirement.is_met_by(keys(*vouching)), vouching
        assert requirement.missing_from(keys(*vouching)) == ()
    for vouching in unmet:
        assert not requirement.is_met_by(keys(*vouching)), vouching
        assert requirement.missing_from(keys(*vouching))


def test_who_is_missing_is_told_where_least_is_missing() -> None:
    requirement = any_of([all_of([A, B, C]), all_of([C, D])])

    assert requirement.missing_from(keys("c")) == ("d",)
    assert requirement.missing_from(keys("a", "b")) == ("c",)
    assert all_of([A, B]).missing_from(keys("ab")) in (("a",), ("b",))


def test_nothing_to_meet_is_a_mistake() -> None:
    """An empty list must never pass."""
    for alternatives in ((), ((),), (("a",), ())):
        with pytest.raises(ValueError, match="nobody"):
            Requirement("x", alternatives)
    for count, parts in ((0, [A]), (2, [A]), (1, []), (-1, [A])):
        with pytest.raises(ValueError, match="cannot be asked for"):
            at_least(count, parts)


def test_what_can_be_met_in_too_many_ways_is_refused_before_it_is_spelt_out() -> None:
    names = [one(f"n{n}") for n in range(40)]

    with pytest.raises(ValueError, match=f"more than {MAX_ALTERNATIVES} ways"):
        at_least(20, names)
    with pytest.raises(ValueError, match="more than"):
        all_of([any_of(names), any_of(names)])
    few = any_of(names[:30])
    assert len(all_of([few, few]).alternatives) <= MAX_ALTERNATIVES
    # Advice is not worth the million ways that two large demands have together.
    assert both(few, all_of([few, few])).text.count(" or ") < 1000


def test_the_text_is_one_a_person_would_say() -> None:
    assert A.text == "a"
    assert all_of([A, B]).text == "a and b"
    assert any_of([A, all_of([B, C])]).text == "a or (b and c)"
    assert at_least(2, [A, B, any_of([C, D])]).text == "2 of a, b, (c or d)"
    assert all_of([A]).text == "a"


def test_two_demands_judged_apart_may_share_a_key() -> None:
    """`always` and a statement are two questions; one signer may answer both."""
    joined = both(any_of([A, B]), all_of([A, C]))

    assert joined.alternatives == (("a", "c"),)
    assert joined.text == "a and c"
    assert joined.is_met_by(keys("a", "c"))


def test_one_requirement_can_be_at_least_another() -> None:
    assert all_of([A, B]).is_at_least(A)
    assert A.is_at_least(any_of([A, B]))
    assert at_least(2, [A, B, C]).is_at_least(any_of([A, B, C]))
    assert not any_of([A, B]).is_at_least(A)
    assert not all_of([A, A]).is_at_least(all_of([A, B]))
    assert all_of([A, A]).is_at_least(A)
    assert not A.is_at_least(all_of([A, A]))


_REQUIREMENTS = st.recursive(
    st.sampled_from([A, B, C, D]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.integers(1, len(parts)).map(lambda n: at_least(n, parts))
    ),
    max_leaves=4,
)


@given(
    st.lists(_REQUIREMENTS, min_size=1, max_size=2),
    st.lists(st.text("abcd", min_size=1, max_size=3), max_size=3),
)
def test_what_lacks_is_the_least_that_meets_all_demands(
    demands: list[Requirement], vouching: list[str]
) -> None:
    """`explain` sends people for signatures: not in vain, nor for too many."""

    def met_with(names: tuple[str, ...]) -> bool:
        vouched = keys(*vouching, *names)
        return all(demand.is_met_by(vouched) for demand in demands)

    found = lacking(demands, keys(*vouching))

    assert met_with(found)
    for fewer in range(len(found)):
        assert not any(
            met_with(names)
            for names in itertools.combinations_with_replacement("abcd", fewer)
        )


def test_what_lacks_of_demands_with_very_many_ways_is_enough_all_the_same() -> None:
    many = any_of([one(f"n{n}") for n in range(100)])

    found = lacking([many, many, many], {})

    assert found == ("n0",)
