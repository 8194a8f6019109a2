"""The published JSON Schema and the loader agree about every single file.

What the schema refuses, the loader refuses, too. The other way round there are things
no schema can say; each is listed here.
"""

import json
import random
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from enforcer.core.host_policy import parse_host_policy
from enforcer.core.policy import PolicyInvalidError
from tests.unit.core.host_policy.documents import Document, good, small, text

SCHEMA = json.loads(
    (resources.files("enforcer.core.host_policy") / "policy.schema.json").read_text()
)
VALIDATOR = Draft202012Validator(SCHEMA)

# What the loader knows and a schema cannot say: the rest of the policy, and arithmetic.
BEYOND = [
    r"`always` is missing",
    r"`statements` is missing",
    r"unknown signer",
    r"is at .* already",
    r"is listed (twice|more than once)",
    r"cannot be asked for",
    r"in more than \d+ ways",
    r"nested more than",
    r"signedWithin needs",
    r"none of its algorithms",
    r"must stand alone",
    r"trusted identity ",  # the grammar of distinguished names
    r"matches no certificate",
    r"the scope ",  # what no reference falls under
    r"is not a date",  # the thirtieth of February
    r"printable characters",
]


def refused_by_schema(document: Any) -> bool:
    return not VALIDATOR.is_valid(document)


def refused_by_loader(document: Any) -> list[str]:
    raw = text(document) if isinstance(document, dict) else json.dumps(document)
    try:
        parse_host_policy([("f.yaml", raw if isinstance(raw, bytes) else raw.encode())])
    except PolicyInvalidError as error:
        return list(error.problems)
    return []


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_both_take_what_is_right() -> None:
    for document in (good(), small()):
        assert not refused_by_schema(document)
        assert refused_by_loader(document) == []


def test_the_schema_takes_a_drop_in_that_says_one_thing() -> None:
    """Editors see a file at a time, the loader all of them."""
    for key in set(good()) - {"apiVersion"}:
        assert not refused_by_schema({"apiVersion": "enforcer/v1", key: good()[key]})


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _places(inner, (*path, key))


PLACES = [path for path in _places(good()) if path]
WRONG: tuple[Any, ...] = (
    None, True, 0, 7, -1, 1.5, "", " ", "x", "reg.io/x", "30d", "2030-01-01",
    [], ["x"], [[]], {}, {"x": 1}, {"allOf": []}, "always", "*", "sha256:" + "a" * 64,
)  # fmt: skip


def changed(chance: random.Random) -> Document:
    """A right policy with one to three things made otherwise."""
    document = good()
    for _ in range(chance.randint(1, 3)):
        places = [path for path in _places(document) if path]
        if not places:
            break
        *parents, last = chance.choice(places)
        inner: Any = document
        for key in parents:
            inner = inner[key]
        what = chance.choice(["replace", "replace", "remove", "add", "copy"])
        if what == "remove":
            del inner[last]
        elif what == "add" and isinstance(inner, dict):
            inner["added"] = chance.choice(WRONG)
        elif what == "copy" and isinstance(inner, list):
            inner.append(inner[last])
        else:
            inner[last] = chance.choice(WRONG)
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]


def test_they_agree_about_thousands_of_changed_policies() -> None:
    chance = random.Random(20261125)  # noqa: S311 - repeatable
    both = only_loader = neither = 0
    for _ in range(3000):
        document = changed(chance)
        problems = refused_by_loader(document)
        if refused_by_schema(document):
            assert problems, document
            both += 1
        elif problems:
            unlisted = [p for p in problems if not any(re.search(b, p) for b in BEYOND)]
            assert not unlisted, (unlisted, document)
            only_loader += 1
        else:
            neither += 1
    assert min(both, only_loader, neither) > 50, (both, only_loader, neither)


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_each_value_has_a_type_in_both(path: tuple[Any, ...]) -> None:
    """Whatever stands somewhere, a list of lists never does."""
    document = good()
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = [[[]]]

    assert refused_by_schema(document)
    assert refused_by_loader(document)
