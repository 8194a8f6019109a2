"""In which order to try signatures, when more are at hand than can be looked at."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import TypeVar

_Item = TypeVar("_Item")


def in_turns(groups: Iterable[list[_Item]]) -> list[_Item]:
    """Return the first of each group, then the second of each, every item once.

    A thousand signatures below one root must not hide the single one below another:
    a policy may ask for both.
    """
    rounds = zip_longest(*groups)
    return list(dict.fromkeys(i for turn in rounds for i in turn if i is not None))
