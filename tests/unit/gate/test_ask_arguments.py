"""How the question reads runc's arguments: as runc does, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.gate.ask import RefusalError, ask, parse_runc


def test_reads_the_shims_call() -> None:
    """What containerd's shim and dockerd really pass (tests/real sees them)."""
    before = ["--root", "/r", "--log", "/b/log.json", "--log-format", "json"]
    after = ["--bundle", "/b", "--pid-file", "/b/init.pid", "--console-socket", "/c"]

    options, words = parse_runc([*before, "create", *after, "i"])

    assert words == ["create", "i"]
    assert (options["root"], options["bundle"]) == ("/r", "/b")
    assert options["log"] == "/b/log.json"


def test_reads_buildkits_call() -> None:
    """`--keep` has no value, and the name that follows is the container's."""
    _, words = parse_runc(["--log", "/l", "run", "--bundle", "/b", "--keep", "id"])

    assert words == ["run", "id"]


def test_equal_signs_and_single_dashes_are_the_same_options() -> None:
    """Go's flag package takes all four spellings."""
    for spelling in (["--bundle", "/x"], ["-bundle", "/x"], ["--bundle=/x"], ["-b=/x"]):
        options, words = parse_runc(["create", *spelling, "id"])

        assert words == ["create", "id"]
        assert options.get("bundle") or options["b"] == "/x"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["create"],
        ["create", "id", "--bundle=/other"],
        ["create", "id", "more"],
        ["exec", "id"],
        ["CREATE", "id"],
    ],
)
def test_a_call_that_is_not_plain_is_refused_unasked(argv: list[str]) -> None:
    """Two readers of one command line must never see two containers."""
    options, words = parse_runc(argv)

    with pytest.raises(RefusalError, match="ENF-1605"):
        ask("/nowhere.sock", options, words)


@given(st.lists(st.text(max_size=10), max_size=8))
def test_any_arguments_are_read_without_an_exception(argv: list[str]) -> None:
    """Hostile words have one outcome at the most: a refusal."""
    parse_runc(argv)
