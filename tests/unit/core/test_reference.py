"""References and scopes: which policy statement a name falls under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.reference import InvalidReferenceError, parse_reference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "local", "hub"),
    [
        ("hello-world:1", "local/hello-world", "docker.io/library/hello-world"),
        ("acme/app", "local/acme/app", "docker.io/acme/app"),
        ("docker.io/acme/app:2", "docker.io/acme/app", "docker.io/acme/app"),
        ("docker.io/app", "docker.io/library/app", "docker.io/library/app"),
        ("index.docker.io/app", "docker.io/library/app", "docker.io/library/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app", "localhost:5000/app"),
        ("reg.io/a/b/c@sha256:" + HEX, "reg.io/a/b/c", "reg.io/a/b/c"),
        ("reg:5000/app:tag", "reg:5000/app", "reg:5000/app"),
        ("REG.io/app", "REG.io/app", "REG.io/app"),
        ("Reg/app", "Reg/app", "Reg/app"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("a__b/c-d.e", "local/a__b/c-d.e", "docker.io/a__b/c-d.e"),
    ],
)
def test_a_name_becomes_a_scope(text: str, local: str, hub: str) -> None:
    """A bare name is ours unless a registry is recorded as its origin."""
    reference = parse_reference(text)

    assert reference.repository(local=True) == local
    assert reference.repository(local=False) == hub


def test_a_scope_that_is_written_out_stays_as_it_is() -> None:
    """`--scope local/app` names the scope of a bare `app`, not an image `local/app`."""
    assert parse_reference("local/app").scope == "local/app"
    assert parse_reference("local/app").repository(local=True) == "local/local/app"
    assert parse_reference("app:1").scope == "local/app"
    assert parse_reference("reg.io/app:1").scope == "reg.io/app"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " app",
        "app\n",
        "app:",
        "App",
        "acme/App",
        "app@",
        "app@sha256:123",
        "app@md5:" + "a" * 32,
        "/app",
        "app/",
        "a//b",
        "a/../b",
        "reg.io/",
        "http://reg.io/app",
        "reg.io:port/app",
        "-reg.io/app",
        "app:\x1b[31m",
        "\u0430pp",  # a Cyrillic letter
        "app\u200b",
        "reg.io\\@evil.io/app",
        "a" * 600,
        "app:" + "t" * 129,
        "app@sha256:" + HEX + "@sha256:" + HEX,
    ],
)
def test_anything_else_is_refused_and_shown_escaped(text: str) -> None:
    """A name that one reader sees otherwise than another is no name."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_reference(text)

    assert caught.value.code is Code.REFERENCE_INVALID
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    """And what is accepted is plain ASCII, so that scopes compare byte for byte."""
    try:
        reference = parse_reference(text)
    except InvalidReferenceError:
        return

    assert reference.repository(local=True).isascii()
    assert reference.repository(local=True).count("//") == 0
