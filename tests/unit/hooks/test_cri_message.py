"""Values in a message are found and replaced where they stand, or it is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.errors import MalformedError, TooLargeError
from enforcer.hooks.cri.message import MAX_FIELDS, Step, rewrite, values
from enforcer.ttrpc import encode_fields

PATH = (Step(2), Step(7, repeated=True), Step(1))
UNKNOWN = b"".join(
    [
        b"\xa0\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # 100: int64 -1
        b"\xa1\x06\x01\x02\x03\x04\x05\x06\x07\x08",  # 100: a double
        b"\xa5\x06\x01\x02\x03\x04",  # 100: a float
        encode_fields((99, b"\x0a\x05no"), (3, "later"), (4, 5)),
    ]
)


def _nested(*names: bytes) -> bytes:
    inner = b"".join(
        UNKNOWN + encode_fields((7, encode_fields((1, name)) + UNKNOWN))
        for name in names
    )
    return UNKNOWN + encode_fields((2, inner + UNKNOWN)) + UNKNOWN


def test_only_the_named_values_change() -> None:
    """What this version of ours does not know is kubelet's and containerd's affair."""
    message = _nested(b"one", b"", b"x" * 200)

    changed = rewrite(message, PATH, lambda raw: raw * 3 + b"!")

    assert changed == _nested(b"oneoneone!", b"!", b"x" * 600 + b"!")
    assert values(message, PATH) == (b"one", b"", b"x" * 200)


def test_a_message_without_the_field_stays_as_it_is() -> None:
    """No image mount, no change."""
    assert rewrite(UNKNOWN, PATH, lambda _: b"new") == UNKNOWN
    assert values(b"", PATH) == ()


TWICE = encode_fields((1, "signed"), (1, "unsigned"))
ONE = (Step(1),)
TAG = b"\x0a"  # field 1, with a length
HOSTILE = {
    "a text twice, of which Go keeps the last": (ONE, TWICE),
    "a message twice, which Go merges": ((Step(1), Step(9)), TWICE),
    "a number where a text belongs": (ONE, b"\x08\x01"),
    "eight bytes where a text belongs": (ONE, b"\x09" + bytes(8)),
    "a field number Go cuts to 1": (ONE, b"\x8a\x80\x80\x80\x80\x01\x01x"),
    "a field number above the largest": (ONE, b"\x82\x80\x80\x80\x10\x01x"),
    "field number 0": (ONE, b"\x02\x01x"),
    "a tag in two bytes that fits one": (ONE, b"\x8a\x00\x01x"),
    "a length in two bytes that fits one": (ONE, TAG + b"\x81\x00x"),
    "a length of 64 bits": (ONE, TAG + b"\xff" * 9 + b"\x01"),
    "a negative length": (ONE, TAG + b"\xff\xff\xff\xff\x0f"),
    "a text cut short": (ONE, TAG + b"\x05hell"),
    "a length cut short": (ONE, TAG + b"\x85"),
    "a tag cut short": (ONE, b"\x8a"),
    "a number that never ends": (ONE, b"\x10" + b"\x80" * 11),
    "a double cut short": (ONE, b"\x11" + bytes(7)),
    "a group": (ONE, b"\x0b\x0c"),
    "the end of a group": (ONE, b"\x0c"),
    "wire type 6": (ONE, b"\x0e"),
    "wire type 7": (ONE, b"\x0f"),
    "packed numbers where a message belongs": (
        PATH,
        encode_fields((2, b"\x3a\x01\xff")),
    ),
}


@pytest.mark.parametrize(("path", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_what_two_parsers_could_differ_about_is_refused(
    path: tuple[Step, ...], message: bytes
) -> None:
    """One parser's signed image would be the other's unsigned one."""
    with pytest.raises(
        MalformedError, match="this call of CRI cannot be read"
    ) as caught:
        values(message, path)

    assert caught.value.code is Code.INPUT_MALFORMED


def test_more_fields_than_a_container_has_are_refused() -> None:
    """Each costs a microsecond of the one thread that serves everybody."""
    field = encode_fields((3, ""))

    assert values(field * MAX_FIELDS, ONE) == ()
    with pytest.raises(TooLargeError, match="more than 100000 fields"):
        values(field * (MAX_FIELDS + 1), ONE)


def test_nesting_is_not_followed_beyond_the_path() -> None:
    """However deep it goes: nobody recurses here."""
    deep = b""
    for _ in range(5000):
        deep = encode_fields((5, deep))

    assert rewrite(deep, ONE, lambda _: b"") == deep


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    """And what can be read comes back unchanged if nothing is changed."""
    with contextlib.suppress(MalformedError):
        assert rewrite(message, PATH, lambda raw: raw) == message
