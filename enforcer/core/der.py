"""ASN.1 read and written as DER, and read as the BER that countersignatures come in.

Every element is bounded by the one around it, and nothing is left unread. Of BER only
lengths that could be shorter are taken; indefinite lengths and strings in pieces are
not, as in notation.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from enforcer.core.errors import MalformedError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
UTF8_STRING = 0x0C
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F  # tag numbers above 30 take more octets; nothing we read has one
_LONG_LENGTH = 0x80
_MAX_LENGTH_OCTETS = 4  # 4 GiB, and as notation's reader
_MAX_INTEGER_OCTETS = 64  # serial numbers have up to 20 (RFC 5280), nonces 8 to 20
_MAX_OID_OCTETS = 64  # the longest we know has 11
_MAX_DEPTH = 32  # a certificate's names are 13 levels down in a token

_UTC_TIME = re.compile(rb"(\d{12})Z")
# X.690 11.7: no trailing zeros. Finer than a microsecond nobody stamps, and cutting
# it off would move the time.
_GENERALIZED_TIME = re.compile(rb"(\d{14})(?:\.(\d{0,5}[1-9]))?Z")


class DerError(MalformedError):
    """Bytes are not the ASN.1 they should be; the text says where and why."""

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="Make it again.")


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its identifier octet, its contents, and all of it as it came."""

    tag: int
    contents: bytes
    raw: bytes


class Fields:
    """The elements inside one other, to be taken in their order.

    All of one level is read at once. `what` names it in messages, `whole` what it is
    part of.
    """

    def __init__(
        self, contents: bytes, *, what: str, whole: str = "", ber: bool = False
    ) -> None:
        self.what = what
        self._whole = whole or what
        self._ber = ber
        self._left = _elements(contents, what, ber=ber)[::-1]

    def __len__(self) -> int:
        return len(self._left)

    def take(self, tag: int, name: str) -> Element:
        """Return the next element, which must have this tag.

        Raises:
            DerError: It has another one, or there is none.
        """
        found = self.take_if(tag)
        if found is None:
            there = f"tag 0x{self._left[-1].tag:02x}" if self._left else "nothing"
            raise DerError(
                f"{self.what} lacks {name}: expected tag 0x{tag:02x}, found {there}"
            )
        return found

    def take_if(self, tag: int) -> Element | None:
        """Return the next element if it has this tag."""
        if self._left and self._left[-1].tag == tag:
            return self._left.pop()
        return None

    def inside(self, tag: int, name: str) -> "Fields":
        """Return what is in the next element."""
        contents = self.take(tag, name).contents
        what = f"{self._whole}'s {name}"
        return Fields(contents, what=what, whole=self._whole, ber=self._ber)

    def integer(self, name: str) -> int:
        """Return the next element, an INTEGER."""
        return parse_integer(self.take(INTEGER, name), what=f"{self.what}'s {name}")

    def oid(self, name: str) -> str:
        """Return the next element, an OBJECT IDENTIFIER, as dotted numbers."""
        return parse_oid(self.take(OID, name), what=f"{self.what}'s {name}")

    def rest(self) -> tuple[Element, ...]:
        """Return all elements that are left."""
        left, self._left = self._left[::-1], []
        return tuple(left)

    def end(self) -> None:
        """Return if everything was taken.

        Raises:
            DerError: Something is left.
        """
        if self._left:
            raise DerError(f"{self.what} has something nobody asked for at its end")


def read_one(raw: bytes, *, tag: int, what: str, ber: bool = False) -> Fields:
    """Return what is in the one element that `raw` is, to its last byte.

    Raises:
        DerError: Not one element, or another one.
    """
    whole = Fields(raw, what=what, ber=ber)
    found = whole.take(tag, "its outermost element")
    whole.end()
    return Fields(found.contents, what=what, ber=ber)


def require_nesting(raw: bytes, *, what: str) -> None:
    """Return if elements and what is inside them, all the way down, are whole.

    For the parts nobody reads: other readers stumble over them.

    Raises:
        DerError: One is not, or they are nested too deep.
    """
    level = [raw]
    for _ in range(_MAX_DEPTH):
        inside = [element for part in level for element in _elements(part, what)]
        level = [e.contents for e in inside if e.tag & _CONSTRUCTED]
        if not level:
            return
    raise DerError(f"{what} is nested deeper than {_MAX_DEPTH} levels")


def parse_integer(element: Element, *, what: str) -> int:
    """Return an INTEGER's value; X.690 8.3.2: in as few octets as it takes."""
    octets = element.contents
    if not 1 <= len(octets) <= _MAX_INTEGER_OCTETS:
        raise DerError(f"{what} is a number of {len(octets)} octets")
    if len(octets) > 1 and (octets[0], octets[1] >> 7) in ((0, 0), (0xFF, 1)):
        raise DerError(f"{what} is a number with needless octets")
    return int.from_bytes(octets, "big", signed=True)


def parse_oid(element: Element, *, what: str) -> str:
    """Return an OBJECT IDENTIFIER as dotted numbers."""
    octets = element.contents
    if not 1 <= len(octets) <= _MAX_OID_OCTETS or octets[-1] & 0x80:
        raise DerError(f"{what} is no object identifier")
    arcs, arc, fresh = [], 0, True
    for octet in octets:
        if fresh and octet == 0x80:  # X.690 8.19.2: no leading zero
            raise DerError(f"{what} is no object identifier")
        arc, fresh = arc << 7 | octet & 0x7F, octet < 0x80
        if fresh:
            arcs.append(arc)
            arc = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(str(number) for number in (root, arcs[0] - 40 * root, *arcs[1:]))


def parse_time(element: Element, *, what: str) -> datetime:
    """Return a UTCTime or GeneralizedTime in UTC, as DER writes it; aware.

    Raises:
        DerError: In another zone, finer than a microsecond, or no such time.
    """
    pattern = _UTC_TIME if element.tag == UTC_TIME else _GENERALIZED_TIME
    match = pattern.fullmatch(element.contents)
    if match is None:
        raise DerError(f"{what} is not a time in UTC")
    digits = match[1].decode("ascii")
    if element.tag == UTC_TIME:  # RFC 5280 4.1.2.5.1
        digits = ("20" if digits < "50" else "19") + digits
    fraction = (match[2] or b"").decode("ascii") if pattern is _GENERALIZED_TIME else ""
    pairs = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    month, day, hour, minute, second = pairs
    micro = int(fraction.ljust(6, "0"))
    try:
        return datetime(
            int(digits[:4]), month, day, hour, minute, second, micro, tzinfo=UTC
        )
    except ValueError as error:
        raise DerError(f"{what} is no such time") from error


def encode(tag: int, *parts: bytes) -> bytes:
    """Write one element around these parts."""
    contents = b"".join(parts)
    if len(contents) < _LONG_LENGTH:
        return bytes((tag, len(contents))) + contents
    size = len(contents).to_bytes((len(contents).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(size))) + size + contents


def encode_integer(value: int) -> bytes:
    """Write an INTEGER."""
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return encode(INTEGER, octets)


def encode_oid(dotted: str) -> bytes:
    """Write an OBJECT IDENTIFIER."""
    first, second, *others = (int(arc) for arc in dotted.split("."))
    return encode(OID, *(_base128(arc) for arc in (40 * first + second, *others)))


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:  # bounded by the number itself
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))


def _elements(contents: bytes, what: str, *, ber: bool = True) -> list[Element]:
    found, at = [], 0
    while at < len(contents):  # every element has at least two octets
        element = _element(contents, at, what, ber=ber)
        found.append(element)
        at += len(element.raw)
    return found


def _element(raw: bytes, at: int, what: str, *, ber: bool) -> Element:
    if len(raw) - at < 2:
        raise DerError(f"{what} is cut short")
    tag, length, start = raw[at], raw[at + 1], at + 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise DerError(f"{what} has an element of an unknown kind")
    if length & _LONG_LENGTH:
        octets = length & ~_LONG_LENGTH
        length = _long_length(raw[start : start + octets], octets, what, ber=ber)
        start += octets
    if start + length > len(raw):
        raise DerError(f"{what} is cut short")
    return Element(tag, raw[start : start + length], raw[at : start + length])


def _long_length(octets: bytes, count: int, what: str, *, ber: bool) -> int:
    if not 1 <= count <= _MAX_LENGTH_OCTETS:
        raise DerError(f"{what} has an element of indefinite or outlandish length")
    if len(octets) < count:
        raise DerError(f"{what} is cut short")
    length = int.from_bytes(octets, "big")
    if not ber and (not octets[0] or length < _LONG_LENGTH):
        raise DerError(f"{what} is not DER: a length could be shorter")
    return length
