"""Add an item to a list of a JSON object, or remove it, as text.

Every function raises ValueError where the text is no strict JSON object, or where
more than the item would change.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import parse_json, require_object

MAX_BYTES = 1024 * 1024
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Part:
    """A member of an object, or an item of a list (without a name)."""

    start: int
    end: int
    name: str = ""
    value_start: int = 0


def add(text: str, key: str, item: str) -> str:
    """Append `item` to the list `key`, which is made if there is none."""
    before = _parse(text, key)
    listed = before.get(key, [])
    if not isinstance(listed, list):
        raise ValueError(f"{key} is not a list")
    if item in listed:
        return text
    new = _added(text, key, json.dumps(item))
    _prove(new, key, before | {key: [*listed, item]})
    return new


def remove(text: str, key: str, item: str) -> str:
    """Take `item` out of the list `key`, and the list if nothing else is in it."""
    before = _parse(text, key)
    listed = before.get(key)
    if not isinstance(listed, list) or item not in listed:
        return text
    rest = [other for other in listed if other != item]
    expected = {k: v for k, v in before.items() if k != key or rest}
    if rest:
        expected[key] = rest
    new = text
    while item in _parse(new, key).get(key, []):
        new = _removed(new, key, item)
    _prove(new, key, expected)
    return new


def _added(text: str, key: str, value: str) -> str:
    members = list(_members(text))
    found = next((part for part in members if part.name == key), None)
    if found is None:
        return _appended(text, _past(text, 0), members, f'"{key}": [{value}]', "\n  ")
    items = list(_items(text, found.value_start))
    return _appended(text, found.value_start, items, value, "")


def _appended(text: str, opens: int, parts: list[_Part], new: str, alone: str) -> str:
    """Put a part behind the last one, after the space that the first one has."""
    if not parts:
        closes = _past(text, opens + 1)
        tail = "\n" if alone else ""
        return text[: opens + 1] + alone + new + tail + text[closes:]
    space = text[opens + 1 : parts[0].start]
    if "\n" not in space:
        space = " "
    last = parts[-1].end
    return f"{text[:last]},{space}{new}{text[last:]}"


def _removed(text: str, key: str, item: str) -> str:
    members = list(_members(text))
    place = next(n for n, part in enumerate(members) if part.name == key)
    opens = members[place].value_start
    items = list(_items(text, opens))
    if len(items) == 1:
        return _cut(text, _past(text, 0), members, place)
    texts = [_DECODER.raw_decode(text, part.start)[0] for part in items]
    return _cut(text, opens, items, texts.index(item))


def _cut(text: str, opens: int, parts: list[_Part], place: int) -> str:
    """Cut a part out with the comma before it; of the first, the one behind."""
    part = parts[place]
    if place > 0:
        return text[: parts[place - 1].end] + text[part.end :]
    if len(parts) > 1:
        return text[: part.start] + text[parts[1].start :]
    return text[: opens + 1] + text[_past(text, part.end) :]


def _members(text: str) -> Iterator[_Part]:
    def member(at: int) -> _Part:
        name, end = _DECODER.raw_decode(text, at)
        value = _past(text, _past(text, end) + 1)  # behind the colon
        return _Part(at, _DECODER.raw_decode(text, value)[1], name, value)

    return _parts(text, _past(text, 0), "}", member)


def _items(text: str, opens: int) -> Iterator[_Part]:
    def item(at: int) -> _Part:
        return _Part(at, _DECODER.raw_decode(text, at)[1])

    return _parts(text, opens, "]", item)


def _parts(
    text: str, opens: int, closing: str, read: Callable[[int], _Part]
) -> Iterator[_Part]:
    at = _past(text, opens + 1)
    while text[at] != closing:  # it was parsed before, so it ends
        part = read(at)
        yield part
        at = _past(text, part.end)
        if text[at] == ",":
            at = _past(text, at + 1)


def _past(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _parse(text: str, key: str) -> dict[str, Any]:
    try:
        document = parse_json(text.encode(), what="it", max_bytes=MAX_BYTES)
        require_object(document, what="it", known=(key,))  # nor another case of it
    except EnforcerError as error:
        raise ValueError(error.what) from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    return document


def _prove(text: str, key: str, expected: dict[str, Any]) -> None:
    if _parse(text, key) != expected:
        raise ValueError("more than the item would change")
