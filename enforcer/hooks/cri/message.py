"""Values inside protobuf messages, read and replaced where they stand.

containerd reads CRI with gogo's generated code, which takes hostile bytes for
something else than other parsers do: it cuts field numbers to 32 bits, keeps the last
of two strings, merges a message that is there twice, takes text that is no UTF-8. A
second parser would have to make the same mistakes. So what can be read in two ways is
refused, and what is not on the way to a wanted value is passed over and stays as it is,
byte for byte.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from enforcer.core.errors import MalformedError, TooLargeError

MAX_FIELDS = (
    100_000  # in one message: kubelet sets 7 variables for each of 10,000 services
)
_MAX_NUMBER = (1 << 29) - 1  # protobuf's largest field number
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_TAG_BYTES, _LENGTH_BYTES, _VALUE_BYTES = 5, 5, 10


@dataclass(frozen=True, slots=True)
class Step:
    """A field on the way to a value; `repeated` where it may stand there often."""

    number: int
    repeated: bool = False


Path = tuple[Step, ...]


class _Field(NamedTuple):
    number: int
    wire: int
    tag_end: int
    start: int  # of the value
    end: int


def rewrite(message: bytes, path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Return the message with each value at `path` changed, and nothing else.

    Raises:
        MalformedError: No protobuf, or such as two parsers could differ about.
        TooLargeError: More than MAX_FIELDS fields.
    """
    step, rest = path[0], path[1:]
    out, copied, seen = bytearray(), 0, False
    for field in _fields(message):
        if field.number != step.number:
            continue
        if field.wire != _BYTES:
            raise _refused(f"field {step.number} has another type")
        if seen and not step.repeated:
            raise _refused(f"field {step.number} is there twice")
        seen = True
        value = message[field.start : field.end]
        new = rewrite(value, rest, change) if rest else change(value)
        out += message[copied : field.tag_end] + _varint(len(new)) + new
        copied = field.end
    return bytes(out + message[copied:])


def values(message: bytes, path: Path) -> tuple[bytes, ...]:
    """Return every value at `path`, in order. Raises as `rewrite` does."""
    found: list[bytes] = []

    def keep(value: bytes) -> bytes:
        found.append(value)
        return value

    rewrite(message, path, keep)
    return tuple(found)


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    for _ in range(MAX_FIELDS):
        if at == len(message):
            return
        tag, tag_end = _canonical(message, at, _TAG_BYTES)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_NUMBER:
            raise _refused(f"{number} is no field number")
        start, at = _extent(message, tag_end, wire)
        if at > len(message):
            raise _refused("it is cut short")
        yield _Field(number, wire, tag_end, start, at)
    if at != len(message):
        raise TooLargeError(
            f"a message of CRI has more than {MAX_FIELDS} fields",
            remedy="Ask for less at once.",
        )


def _extent(message: bytes, at: int, wire: int) -> tuple[int, int]:
    """Return where a field's value begins and ends."""
    if wire == _BYTES:
        length, start = _canonical(message, at, _LENGTH_BYTES)
        return start, start + length
    if wire == _VARINT:
        return at, _varint_end(message, at, _VALUE_BYTES)
    if wire in _FIXED:
        return at, at + _FIXED[wire]
    raise _refused(f"wire type {wire} is not taken here")  # groups, and no type at all


def _canonical(message: bytes, at: int, max_bytes: int) -> tuple[int, int]:
    """Read a tag or a length in its shortest form, the only one encoders write."""
    end = _varint_end(message, at, max_bytes)
    if end - at == 1:  # nearly all are
        return message[at], end
    value = 0
    for byte in reversed(message[at:end]):
        value = value << 7 | byte & 0x7F
    if not message[end - 1]:
        raise _refused("a number is longer than it need be")
    return value, end


def _varint_end(message: bytes, at: int, max_bytes: int) -> int:
    for end in range(at, min(at + max_bytes, len(message))):
        if message[end] < 0x80:
            return end + 1
    raise _refused("a number is cut short or too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _refused(why: str) -> MalformedError:
    return MalformedError(
        f"this call of CRI cannot be read: {why}",
        remedy="Use a client that encodes protobuf as everybody does.",
    )
