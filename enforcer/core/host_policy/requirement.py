"""Requirements: who must have signed, and whether the keys at hand are enough.

A requirement is kept as its alternatives: lists of names, each of which suffices. One
key never serves two names of an alternative, so `allOf` and `atLeast` count distinct
keys however they are nested.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from enforcer.core.digest import Digest

MAX_ALTERNATIVES = 1000  # "any four of fourteen"; each costs a decision microseconds

Alternative = tuple[str, ...]
Vouched = Mapping[Digest, Collection[str]]  # key -> the names it vouches for


@dataclass(frozen=True, slots=True)
class Requirement:
    """Who must have signed. `text` is for people.

    An alternative lists each name as often as it needs a key of its own.
    """

    text: str
    alternatives: tuple[Alternative, ...]

    def __post_init__(self) -> None:
        if not self.alternatives or not all(self.alternatives):
            raise ValueError("a requirement that nobody has to meet is a mistake")

    @property
    def names(self) -> frozenset[str]:
        """Every signer that is named."""
        return frozenset(itertools.chain.from_iterable(self.alternatives))

    def is_met_by(self, vouched: Vouched) -> bool:
        """Whether one alternative has a distinct key for every name in it."""
        return any(not unmatched(names, vouched) for names in self.alternatives)

    def missing_from(self, vouched: Vouched) -> Alternative:
        """Return the names that are lacking where least is; () if it is met."""
        lacking = (unmatched(names, vouched) for names in self.alternatives)
        return min(lacking, key=len)

    def is_at_least(self, other: "Requirement") -> bool:
        """Whether whatever meets this requirement meets the other one, too."""
        return all(
            any(_covers(one, two) for two in other.alternatives)
            for one in self.alternatives
        )


def one(name: str) -> Requirement:
    """Require a single signer."""
    return Requirement(name, ((name,),))


def any_of(parts: Sequence[Requirement]) -> Requirement:
    """Require one of these."""
    return at_least(1, parts)


def all_of(parts: Sequence[Requirement]) -> Requirement:
    """Require all of these, by distinct keys."""
    return at_least(len(parts), parts)


def at_least(count: int, parts: Sequence[Requirement]) -> Requirement:
    """Require so many of these, by distinct keys.

    Raises:
        ValueError: No such number of parts, or more than MAX_ALTERNATIVES.
    """
    if not 1 <= count <= len(parts):
        raise ValueError(f"{count} of {len(parts)} cannot be asked for")
    if _count(count, [len(part.alternatives) for part in parts]) > MAX_ALTERNATIVES:
        raise ValueError(f"it can be met in more than {MAX_ALTERNATIVES} ways")
    found = dict.fromkeys(
        tuple(sorted(itertools.chain.from_iterable(ways)))
        for chosen in itertools.combinations(parts, count)
        for ways in itertools.product(*(part.alternatives for part in chosen))
    )
    return Requirement(_text(count, parts), tuple(found))


def both(first: Requirement, second: Requirement) -> Requirement:
    """Require two things that are judged apart: a key may serve in each of them.

    Alternatives that ask for more than another one are left out. Of two that have more
    than MAX_ALTERNATIVES ways together the second stands for both: this is advice.
    """
    if len(first.alternatives) * len(second.alternatives) > MAX_ALTERNATIVES:
        return Requirement(f"({first.text}), and ({second.text})", second.alternatives)
    found = dict.fromkeys(
        tuple(sorted((Counter(one) | Counter(two)).elements()))
        for one in first.alternatives
        for two in second.alternatives
    )
    least = tuple(
        names
        for names in found
        if not any(other != names and _covers(names, other) for other in found)
    )
    words = [" and ".join(names) for names in least]
    if len(words) > 1:
        words = [f"({text})" if " " in text else text for text in words]
    return Requirement(" or ".join(words), least)


def lacking(demands: Sequence[Requirement], vouched: Vouched) -> Alternative:
    """Return the fewest names that, each with a new key, meet all of these; () if met.

    Demands are judged apart, so one new key serves a name in each of them. Of demands
    with more than MAX_ALTERNATIVES ways together the fewest of each are taken: that
    suffices, and may be more than is needed.
    """
    least: list[Counter[str]] = [Counter()]
    for demand in demands:
        ways = [Counter(unmatched(names, vouched)) for names in demand.alternatives]
        if len(least) * len(ways) > MAX_ALTERNATIVES:
            ways = [min(ways, key=Counter.total)]
            least = [min(least, key=Counter.total)]
        least = [one | two for one in least for two in ways]
    return tuple(sorted(min(least, key=Counter.total).elements()))


def unmatched(names: Alternative, vouched: Vouched) -> Alternative:
    """Return the names that no key is left for, when as many as possible have one."""
    serves: dict[Digest, int] = {}  # key -> place in `names`
    for place in range(len(names)):
        _seat(place, names, vouched, serves, set())
    return tuple(n for i, n in enumerate(names) if i not in serves.values())


def _seat(
    place: int,
    names: Alternative,
    vouched: Vouched,
    serves: dict[Digest, int],
    tried: set[Digest],
) -> bool:
    """Find a key for one name; who has it may move to another (Kuhn's matching)."""
    for key, vouches in vouched.items():
        if names[place] not in vouches or key in tried:
            continue
        tried.add(key)
        if key not in serves or _seat(serves[key], names, vouched, serves, tried):
            serves[key] = place
            return True
    return False


def _covers(one: Alternative, two: Alternative) -> bool:
    """Whether `one` has every name of `two`, as often."""
    return not Counter(two) - Counter(one)


def _count(count: int, ways: Sequence[int]) -> int:
    """How many alternatives there are: every choice of `count` parts, every way."""
    totals = [1] + [0] * count
    for number in ways:
        for size in range(count, 0, -1):
            totals[size] += totals[size - 1] * number
    return totals[count]


def _text(count: int, parts: Sequence[Requirement]) -> str:
    if len(parts) == 1:
        return parts[0].text
    if count in (1, len(parts)):
        word = " or " if count == 1 else " and "
        return word.join(_operands(parts))
    return f"{count} of {', '.join(_operands(parts))}"


def _operands(parts: Sequence[Requirement]) -> Iterator[str]:
    for part in parts:
        yield f"({part.text})" if " " in part.text else part.text


__all__ = [
    "MAX_ALTERNATIVES",
    "Alternative",
    "Requirement",
    "Vouched",
    "all_of",
    "any_of",
    "at_least",
    "both",
    "lacking",
    "one",
    "unmatched",
]
