"""CBOR: one reading for what is in the subset, and a refusal for all else."""

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.cbor import (
    MAX_DEPTH,
    MAX_ITEMS,
    Cbor,
    EpochTime,
    encode_cbor,
    parse_cbor,
)
from enforcer.core.errors import MalformedError, TooLargeError


def read(raw: bytes, *, times: bool = True) -> Cbor:
    return parse_cbor(raw, what="it", max_bytes=1000, times=times)


def problem(raw: bytes, *, times: bool = True) -> str:
    with pytest.raises(MalformedError) as caught:
        read(raw, times=times)
    return caught.value.what.removeprefix("it is not valid CBOR: ")


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1_000_000),
        ("1b000000e8d4a51000", 1_000_000_000_000),
        ("1b7fffffffffffffff", 2**63 - 1),
        ("20", -1),
        ("3903e7", -1000),
        ("3b7fffffffffffffff", -(2**63)),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f90000", 0.0),
        ("f93c00", 1.0),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("c11a514b67b0", EpochTime(1363896240)),
        ("c1fb41d452d9ec200000", EpochTime(1363896240.5)),
        ("4401020304", b"\1\2\3\4"),
        ("60", ""),
        ("62c3bc", "\u00fc"),
        ("80", []),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ],
)
def test_the_examples_of_the_standard_read_as_it_says(
    encoded: str, expected: Cbor
) -> None:
    """RFC 8949, appendix A; types count, so that 1, 1.0 and true differ."""
    found = read(bytes.fromhex(encoded))

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "encoded", ["1800", "190000", "1a00000000", "1b0000000000000000"]
)
def test_a_length_may_be_longer_than_need_be(encoded: str) -> None:
    """RFC 8949 4.1: preferred serialization is no duty, and the value is the same."""
    assert read(bytes.fromhex(encoded)) == 0


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("", "it ends too early"),
        ("18", "it ends too early"),
        ("4201", "it ends too early"),
        ("8201", "it ends too early"),
        ("a101", "it ends too early"),
        ("9b7fffffffffffffff", "it ends too early"),
        ("5b7fffffffffffffff", "it ends too early"),
        ("fb00", "it ends too early"),
        ("0000", "bytes after its end"),
        ("5f4101ff", "an indefinite or reserved length"),
        ("7f6161ff", "an indefinite or reserved length"),
        ("9f01ff", "an indefinite or reserved length"),
        ("bf0102ff", "an indefinite or reserved length"),
        ("1c", "an indefinite or reserved length"),
        ("1b8000000000000000", "an integer out of range"),
        ("3b8000000000000000", "an integer out of range"),
        ("a201020103", "a duplicate label"),
        ("a20102180103", "a duplicate label"),
        ("a2616101616102", "a duplicate label"),
        ("a1410101", "a label that is neither integer nor text"),
        ("a1f501", "a label that is neither integer nor text"),
        ("a1f601", "a label that is neither integer nor text"),
        ("a1f93c0001", "a label that is neither integer nor text"),
        ("a1810101", "a label that is neither integer nor text"),
        ("a1c10101", "a label that is neither integer nor text"),
        ("61ff", "'utf-8' codec can't decode"),
        ("63eda080", "'utf-8' codec can't decode"),
        ("f7", "a simple value that is not false, true or null"),
        ("f0", "a simple value that is not false, true or null"),
        ("f818", "a simple value that is not false, true or null"),
        ("ff", "a simple value that is not false, true or null"),
        ("c001", "tag 0 where it is not allowed"),
        ("c24101", "tag 2 where it is not allowed"),
        ("d90102f6", "tag 258 where it is not allowed"),
        ("c1f5", "tag 1 over something else than a number"),
        ("c16130", "tag 1 over something else than a number"),
        ("c1c101", "tag 1 over something else than a number"),
        ("c1f97e00", "tag 1 over no finite number"),
        ("c1f97c00", "tag 1 over no finite number"),
    ],
)
def test_what_is_outside_the_subset_is_malformed(encoded: str, expected: str) -> None:
    """K2: what two readers could read differently, or one not at all."""
    assert problem(bytes.fromhex(encoded)).startswith(expected)


def test_a_tag_is_read_only_where_times_are() -> None:
    """go-cose, under notation, knows no tags in the unprotected header."""
    assert problem(b"\xc1\x01", times=False) == "tag 1 where it is not allowed"


def test_depth_items_and_size_are_bounded() -> None:
    """Law 6: a few bytes must not cost more than a few bytes."""
    read(b"\x81" * MAX_DEPTH + b"\x00")
    assert "too many items" in problem(b"\x81" * (MAX_DEPTH + 1) + b"\x00")
    assert "too many items" in problem(b"\xc1" * 900)
    many = b"\x99\xff\xff" + b"\x00" * 65535
    with pytest.raises(MalformedError, match="too many items"):
        parse_cbor(many, what="it", max_bytes=len(many))
    assert len(many) > MAX_ITEMS
    with pytest.raises(TooLargeError, match="it has 1001 bytes, more than 1000"):
        read(b"\x00" * 1001)


def test_maps_are_written_in_the_order_of_their_labels_bytes() -> None:
    """RFC 8949 4.2.1: core deterministic; 4.2.1's own example of an order."""
    labels: dict[int | str, Cbor] = {"aa": 0, -1: 0, "z": 0, 100: 0, 10: 0}

    assert encode_cbor(labels).hex() == "a5" + "0a00" + "186400" + "2000" + (
        "617a00" + "62616100"
    )


def test_floats_are_not_written() -> None:
    """Nothing we sign has one, and the shortest form is a matter of its own."""
    with pytest.raises(TypeError, match="float is not written"):
        encode_cbor([1.5])
    with pytest.raises(TypeError, match="EpochTime is not written"):
        encode_cbor(EpochTime(1.5))


ITEMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=20)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.integers(0, 2**40).map(EpochTime),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-9, 300) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(ITEMS)
def test_what_is_written_reads_back(item: Cbor) -> None:
    """Writer and reader agree; types as well as values."""
    found = parse_cbor(encode_cbor(item), what="it", max_bytes=10_000, times=True)

    assert found == item
    assert encode_cbor(found) == encode_cbor(item)


@given(ITEMS, st.binary(min_size=1, max_size=3))
def test_nothing_may_follow(item: Cbor, more: bytes) -> None:
    """A signature over a prefix is a signature over something else."""
    with pytest.raises(MalformedError):
        parse_cbor(encode_cbor(item) + more, what="it", max_bytes=10_000, times=True)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_malformed_or_read_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    with contextlib.suppress(MalformedError):
        found = read(raw)
        assert not isinstance(found, EpochTime) or math.isfinite(found.seconds)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_times_with_a_fraction_are_read(seconds: float) -> None:
    """K8: whole or floating-point, of any of the three sizes."""
    raw = b"\xc1\xfa" + struct.pack(">f", seconds)

    assert read(raw) == EpochTime(seconds)
