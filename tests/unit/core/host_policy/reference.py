"""What a host policy means, said a second time, from the document as written.

`keys` says for which signers each key at hand vouches.
"""

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

Ways = set[frozenset[int]]  # each a set of keys that meets a requirement


def ways(require: Any, keys: Mapping[int, set[str]]) -> Ways:
    """Return every set of keys that is enough, each key used once."""
    if isinstance(require, str):
        return {frozenset([key]) for key, names in keys.items() if require in names}
    ((kind, parts),) = require.items()
    count = {"anyOf": 1, "allOf": len(parts)}.get(kind) or parts["count"]
    found: Ways = set()
    for chosen in combinations(parts["of"] if kind == "atLeast" else parts, count):
        for used in product(*(ways(part, keys) for part in chosen)):
            together = frozenset[int]().union(*used)
            if len(together) == sum(map(len, used)):
                found.add(together)
    return found


def allows(policy: Any, keys: Mapping[int, set[str]], repository: str) -> bool:
    """Say whether the policy lets an image of this name start."""
    best, weight = None, -1
    for statement in policy["statements"]:
        for scope in statement["scopes"]:
            exact, below = scope == repository, scope.endswith("/*")
            covers = scope == "*" or (below and repository.startswith(scope[:-1]))
            value = 10_000 if exact else len(scope)
            if (exact or covers) and value > weight:
                best, weight = statement, value
    if best is None:
        return False
    return bool(ways(policy["always"], keys)) and bool(ways(best["require"], keys))
