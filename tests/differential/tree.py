"""JSON and CBOR documents as trees that may be wrong, and one wrong turn at a time.

Members are pairs in order, so that a name may occur twice; nothing here uses the
encoders under test.
"""

import base64
import copy
import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Node = Any  # what a test may put into a document


class Pairs(list[tuple[Node, Node]]):
    """An object or map in its own order, duplicates and all."""

    def get(self, name: Node) -> Node:
        return next((value for key, value in self if key == name), None)


@dataclass(frozen=True)
class Raw:
    """Bytes that go into the document as they are."""

    raw: bytes


@dataclass(frozen=True)
class Tagged:
    """A CBOR tag over a value; JSON has the value alone."""

    number: int
    value: Node


def from_json(raw: bytes) -> Node:
    return json.loads(raw, object_pairs_hook=Pairs)


def to_json(node: Node) -> bytes:
    match node:
        case Raw():
            return node.raw
        case Tagged():
            return to_json(node.value)
        case bytes():
            return json.dumps(base64.b64encode(node).decode()).encode()
        case Pairs():
            members = (_name(key) + b":" + to_json(value) for key, value in node)
            return b"{" + b",".join(members) + b"}"
        case list():
            return b"[" + b",".join(to_json(item) for item in node) + b"]"
        case float() if not math.isfinite(node):
            return b"1e999"
        case _:
            return json.dumps(node).encode()


def to_cbor(node: Node) -> bytes:
    match node:
        case Raw():
            return node.raw
        case Tagged():
            return head(6, node.number) + to_cbor(node.value)
        case Pairs():
            members = (to_cbor(key) + to_cbor(value) for key, value in node)
            return head(5, len(node)) + b"".join(members)
        case list():
            return head(4, len(node)) + b"".join(to_cbor(item) for item in node)
        case bytes():
            return head(2, len(node)) + node
        case str():
            text = node.encode("utf-8", "surrogatepass")
            return head(3, len(text)) + text
        case _:
            return _simple_cbor(node)


def _simple_cbor(node: Node) -> bytes:
    if isinstance(node, bool | None):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[node]
    if isinstance(node, float):
        return b"\xfb" + struct.pack(">d", node)
    return head(0, node) if node >= 0 else head(1, -1 - node)


def head(major: int, number: int, *, width: int | None = None) -> bytes:
    """An item's head; `width` (0 to 3) asks for more bytes than it takes."""
    number = min(number, 2**64 - 1)
    if width is None:
        if number < 24:
            return bytes([major << 5 | number])
        width = next(w for w in range(4) if number < 1 << (8 << w))
    return bytes([major << 5 | 24 + width]) + number.to_bytes(1 << width, "big")


def mutate(node: Node, rng: random.Random, words: Sequence[Node]) -> tuple[Node, str]:
    """Return a copy with one thing wrong, and what it is."""
    changed = copy.deepcopy(node)
    container, index = rng.choice(_slots(changed) or [([changed], 0)])
    in_pairs = isinstance(container, Pairs)
    edits: list[Callable[[], str]] = [
        lambda: _delete(container, index),
        lambda: _duplicate(container, index, rng, words),
        lambda: _set(container, index, rng.choice(words)),
        lambda: _set(container, index, _twisted(_value(container, index), rng)),
        lambda: _set(container, index, _twisted(_value(container, index), rng)),
        lambda: _swap(container, index, rng),
        lambda: _add(container, rng, words),
    ]
    if in_pairs:
        edits += [lambda: _rename(container, index, rng, words)] * 2
    return changed, rng.choice(edits)()


def _name(key: Node) -> bytes:
    return key.raw if isinstance(key, Raw) else json.dumps(str(key)).encode()


def _slots(node: Node) -> list[tuple[list[Node], int]]:
    found: list[tuple[list[Node], int]] = []
    if isinstance(node, list):
        for index in range(len(node)):
            found.append((node, index))
            found += _slots(_value(node, index))
    return found


def _value(container: list[Node], index: int) -> Node:
    item = container[index]
    return item[1] if isinstance(container, Pairs) else item


def _set(container: list[Node], index: int, value: Node) -> str:
    if isinstance(container, Pairs):
        container[index] = (container[index][0], value)
        return f"set {container[index][0]!r} to {value!r:.80}"
    container[index] = value
    return f"set [{index}] to {value!r:.80}"


def _delete(container: list[Node], index: int) -> str:
    return f"delete {container.pop(index)!r:.80}"


def _duplicate(
    container: list[Node], index: int, rng: random.Random, words: Sequence[Node]
) -> str:
    item = container[index]
    if isinstance(container, Pairs) and rng.random() < 0.5:
        item = (item[0], rng.choice(words))
    container.insert(rng.randrange(len(container) + 1), copy.deepcopy(item))
    return f"duplicate {item!r:.80}"


def _swap(container: list[Node], index: int, rng: random.Random) -> str:
    other = rng.randrange(len(container))
    container[index], container[other] = container[other], container[index]
    return f"swap {index} and {other}"


def _add(container: list[Node], rng: random.Random, words: Sequence[Node]) -> str:
    item = rng.choice(words)
    if isinstance(container, Pairs):
        item = (rng.choice(words), item)
        if not isinstance(item[0], str | int | Raw) or isinstance(item[0], bool):
            item = (str(item[0]), item[1])
    container.insert(rng.randrange(len(container) + 1), item)
    return f"add {item!r:.80}"


def _rename(
    container: list[Node], index: int, rng: random.Random, words: Sequence[Node]
) -> str:
    old, value = container[index]
    new = rng.choice(words) if rng.random() < 0.3 else _twisted(old, rng)
    if not isinstance(new, str | int | float | bytes | Raw):
        new = str(new)
    container[index] = (new, value)
    return f"rename {old!r} to {new!r:.80}"


def _twisted(value: Node, rng: random.Random) -> Node:
    """Something close to a value."""
    twists: list[Callable[[], Node]] = [lambda: [value], lambda: None]
    if isinstance(value, str):
        twists = [*_text_twists(value, rng), *twists]
    elif isinstance(value, bytes):
        twists = [
            lambda: value[:-1],
            lambda: value + b"\0",
            lambda: b"\0" + value,
            lambda: _flipped(value, rng),
            lambda: base64.b64encode(value).decode(),
            lambda: Raw(head(2, len(value), width=3) + value),
            *twists,
        ]
    elif isinstance(value, Tagged) and isinstance(value.value, int | float):
        twists = [
            lambda: value.value,
            lambda: Tagged(0, "2026-01-01T00:00:00Z"),
            lambda: Tagged(rng.choice([0, 1, 2, 100]), value.value),
            lambda: Tagged(1, float(value.value) + rng.choice([0.0, 0.5, 1e300])),
            lambda: Tagged(1, Tagged(1, value.value)),
            lambda: Tagged(1, _twisted(value.value, rng)),
            lambda: Raw(b"\xd8\x01" + to_cbor(value.value)),
            lambda: Raw(b"\xc1" + head(0, abs(int(value.value)), width=3)),
            lambda: Raw(b"\xc1\xfa" + struct.pack(">f", value.value % 1e9)),
            lambda: Raw(b"\xc1\xf9\x7e\x00"),
            *twists,
        ]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        twists = [*_number_twists(value, rng), *twists]
    elif isinstance(value, list) and value:
        rest = [item for item in value if rng.random() < 0.7]
        twists = [lambda: type(value)(rest), lambda: value[0], *twists]
    return rng.choice(twists)()


def _text_twists(value: str, rng: random.Random) -> list[Callable[[], Node]]:
    at = rng.randrange(len(value) + 1)
    odd = rng.choice(["\u017f", "\u212a", "\0", " ", "\n", "\r", "=", "A", "_", "0"])
    return [
        lambda: value.upper(),
        lambda: value.swapcase(),
        lambda: value[:at] + value[at : at + 1].swapcase() + value[at + 1 :],
        lambda: value[:at] + odd + value[at:],
        lambda: value[:at] + value[at + 1 :],
        lambda: value + odd,
        lambda: value.replace("-", "+").replace("_", "/"),
        lambda: value.replace("+", "-").replace("/", "_"),
        lambda: value.replace("Z", "+00:00"),
        lambda: value.replace("Z", ".5Z"),
        lambda: value.replace("T", "t"),
        lambda: value.replace("s", "\u017f"),
        lambda: value.replace("k", "\u212a"),
        lambda: Raw(b'"%b"' % b"".join(b"\\u%04x" % (ord(c) % 2**16) for c in value)),
        lambda: value.encode("utf-8", "replace"),
        lambda: "",
    ]  # fmt: skip


def _number_twists(value: float, rng: random.Random) -> list[Callable[[], Node]]:
    return [
        lambda: value + rng.choice([-1, 1]),
        lambda: -value,
        lambda: float(value),
        lambda: str(value),
        lambda: 0,
        lambda: 2**63 - 1,
        lambda: 2**63,
        lambda: -(2**63) - 1,
        lambda: Raw(b"%de0" % value),
        lambda: Raw(b"%d.0" % value),
        lambda: Raw(b"0%d" % value),
        lambda: Raw(head(0, abs(int(value)), width=2)),
    ]


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    if not raw:
        return b"\xff"
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
