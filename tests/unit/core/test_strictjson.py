"""The one JSON parser: two readers could not read its documents differently."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.strictjson import parse_json, require_object

LIMIT = 1000

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_reads_what_any_writer_writes(value: object) -> None:
    """Strict is not picky: every ordinary document passes."""
    raw = json.dumps(value).encode()

    assert parse_json(raw, what="it", max_bytes=100_000) == value


@given(st.binary(max_size=200))
def test_hostile_bytes_have_one_outcome(raw: bytes) -> None:
    """A value, or our own error; never a library's."""
    try:
        parse_json(raw, what="it", max_bytes=LIMIT)
    except EnforcerError:
        return


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',  # Go takes the last, Python too, a third the first
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1}{"a":2}',  # Go's Decoder stops after the first
        b"{} x",
        b"\xef\xbb\xbf{}",  # a byte order mark
        '{"a":1}'.encode("utf-16"),
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":1' + b"0" * 30 + b"}",
        rb'{"a":"\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":1,}',
        b"{'a':1}",
        b"",
        b"// {}",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
)
def test_what_could_be_read_in_two_ways_is_malformed(raw: bytes) -> None:
    """Each of these is read by some JSON library without a word."""
    with pytest.raises(MalformedError):
        parse_json(raw, what="it", max_bytes=LIMIT)


def test_depth_is_counted_outside_strings_only() -> None:
    """A string full of brackets is just a string, escaped quotes included."""
    text = '[{"\\"' * 100

    assert parse_json(json.dumps(text).encode(), what="it", max_bytes=LIMIT) == text


def test_a_million_open_brackets_neither_crash_nor_take_long() -> None:
    """Recursion is bounded before the parser starts (CVE-2022-1996's kin)."""
    for raw in (b"[" * 10**6, b'"' * 10**6, b'"\\' * 10**6, b'{"":' * 10**5):
        with pytest.raises(MalformedError):
            parse_json(raw, what="it", max_bytes=10**7)


def test_more_than_the_limit_is_not_read() -> None:
    """Every caller names its own bound."""
    with pytest.raises(TooLargeError, match="1001 bytes, more than 1000"):
        parse_json(b" " * 1001, what="it", max_bytes=LIMIT)


@pytest.mark.parametrize("name", ["Config", "CONFIG", "conFig", "\uff43onfig"])
def test_a_name_that_differs_only_by_case_is_refused(name: str) -> None:
    """Go's encoding/json would take it for the real one; U+017F and its kin too."""
    with pytest.raises(MalformedError, match=r'only by case.*Write it "config"'):
        require_object({name: 1}, what="manifest", known=("config",))


def test_long_s_is_an_s_to_a_folding_reader() -> None:
    """With U+017F for its s, it is `HostConfig` to Go (seen with go1.27)."""
    with pytest.raises(MalformedError, match="only by case"):
        require_object({"Ho\u017ftConfig": 1}, what="it", known=("HostConfig",))


def test_unknown_names_may_be_there() -> None:
    """Specifications allow extension; what is unknown is not read."""
    found = require_object({"x": 1, "config": 2}, what="it", known=("config",))

    assert found == {"x": 1, "config": 2}
