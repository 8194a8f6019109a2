"""CBOR as COSE_Sign1 needs it: one strict reading, one deterministic writing.

Our own, because what a signature covers is decided here: a general library reads
streams, trailing bytes, duplicate labels and any tag unless each is switched off, and
turns tag 1 into a local type before anybody sees which number was written. The subset
below has one reading per input and needs fewer lines than those switches their tests.

Read: integers of 64 bits, byte and text strings, arrays, maps with integer or text
labels, floats, false, true, null, and tag 1 over a number. Lengths may be longer than
need be (RFC 8949 4.1: preferred serialization is not required); nothing indefinite.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from enforcer.core.errors import MalformedError, TooLargeError

Label = int | str
Cbor = Union[
    dict[Label, "Cbor"], list["Cbor"], "EpochTime", bytes, str, int, float, bool, None
]

MAX_DEPTH = 16  # an envelope needs 3: array, map, x5chain
MAX_ITEMS = 10_000  # an envelope has about 30, each costs an object

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_EPOCH_TAG = 1
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}  # by additional information
_CONSTANTS: dict[int, bool | None] = {20: False, 21: True, 22: None}
_MAX_INTEGER = 2**63 - 1  # as Go's int64, under notation


@dataclass(frozen=True, slots=True)
class EpochTime:
    """Seconds since 1970, a number with tag 1 (RFC 8949 3.4.2)."""

    seconds: int | float


def parse_cbor(raw: bytes, *, what: str, max_bytes: int, times: bool = False) -> Cbor:
    """Read one CBOR item, all of `raw`. `what` names it in errors.

    Tag 1 is read with `times` only.

    Raises:
        TooLargeError: More than `max_bytes`.
        MalformedError: Not CBOR, more than one item, or outside the subset.
    """
    if len(raw) > max_bytes:
        raise TooLargeError(
            f"{what} has {len(raw)} bytes, more than {max_bytes}",
            remedy="Nothing that large is read.",
        )
    reader = _Reader(raw, times=times)
    try:
        value = reader.item(0)
        if not reader.is_done:
            raise ValueError("bytes after its end")
    except (ValueError, struct.error) as error:
        raise MalformedError(
            f"{what} is not valid CBOR: {error}",
            remedy="It must be one item of definite length without duplicate labels.",
        ) from error
    return value


def encode_cbor(value: Cbor) -> bytes:
    """Write one item, core deterministic (RFC 8949 4.2.1). Floats are not written."""
    match value:
        case True | False | None:
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, ~value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            text = value.encode("utf-8")
            return _head(_TEXT, len(text)) + text
        case EpochTime(seconds=int() as seconds):
            return _head(_TAG, _EPOCH_TAG) + encode_cbor(seconds)
        case Mapping():
            pairs = sorted((encode_cbor(k), encode_cbor(v)) for k, v in value.items())
            return _head(_MAP, len(pairs)) + b"".join(k + v for k, v in pairs)
        case Sequence():
            return _head(_ARRAY, len(value)) + b"".join(encode_cbor(v) for v in value)
        case _:
            raise TypeError(f"{type(value).__name__} is not written")


class _Reader:
    """Walks the bytes once; every complaint is a ValueError."""

    def __init__(self, raw: bytes, *, times: bool) -> None:
        self._raw = raw
        self._times = times
        self._at = 0
        self._items = 0

    @property
    def is_done(self) -> bool:
        return self._at == len(self._raw)

    def item(self, depth: int) -> Cbor:
        self._items += 1
        if self._items > MAX_ITEMS or depth > MAX_DEPTH:
            raise ValueError("too many items, or nested too deep")
        first = self._take(1)[0]
        major, info = first >> 5, first & 0x1F
        if major == _SIMPLE:
            return self._simple(info)
        number = self._number(info)
        if major in (_UNSIGNED, _NEGATIVE):
            return _integer(number, negative=major == _NEGATIVE)
        if major in (_BYTES, _TEXT):
            taken = self._take(number)
            return taken if major == _BYTES else taken.decode("utf-8")
        if major == _ARRAY:
            return [self.item(depth + 1) for _ in range(number)]
        return self._map(number, depth) if major == _MAP else self._tag(number, depth)

    def _take(self, count: int) -> bytes:
        taken = self._raw[self._at : self._at + count]
        if len(taken) != count:
            raise ValueError("it ends too early")
        self._at += count
        return taken

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError("an indefinite or reserved length")
        return int.from_bytes(self._take(1 << info - 24), "big")

    def _simple(self, info: int) -> Cbor:
        if info in _CONSTANTS:
            return _CONSTANTS[info]
        if info not in _FLOATS:
            raise ValueError("a simple value that is not false, true or null")
        value: float = struct.unpack(_FLOATS[info], self._take(1 << info - 24))[0]
        return value

    def _map(self, count: int, depth: int) -> dict[Label, Cbor]:
        found: dict[Label, Cbor] = {}
        for _ in range(count):
            label = self.item(depth + 1)
            if isinstance(label, bool) or not isinstance(label, int | str):
                raise ValueError("a label that is neither integer nor text")
            if label in found:
                raise ValueError("a duplicate label")
            found[label] = self.item(depth + 1)
        return found

    def _tag(self, number: int, depth: int) -> EpochTime:
        if number != _EPOCH_TAG or not self._times:
            raise ValueError(f"tag {number} where it is not allowed")
        content = self.item(depth + 1)
        if isinstance(content, bool) or not isinstance(content, int | float):
            raise ValueError("tag 1 over something else than a number")
        if not math.isfinite(content):
            raise ValueError("tag 1 over no finite number")
        return EpochTime(content)


def _integer(number: int, *, negative: bool) -> int:
    if number > _MAX_INTEGER:
        raise ValueError("an integer out of range")
    return ~number if negative else number


def _head(major: int, number: int) -> bytes:
    """Return the shortest head of an item."""
    if number < 24:
        return bytes([major << 5 | number])
    width = next(w for w in (0, 1, 2, 3) if number < 1 << (8 << w))
    return bytes([major << 5 | 24 + width]) + number.to_bytes(1 << width, "big")
