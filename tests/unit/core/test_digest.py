"""Digests: what is not one has one outcome, and what is one is safe in a path."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError


@given(st.binary())
def test_round_trip(content: bytes) -> None:
    """What we print, we can read, and it still matches."""
    digest = Digest.of(content)

    assert Digest.parse(str(digest)) == digest
    assert digest.matches(content)
    assert not digest.matches(content + b"x")


@given(st.text())
@example("sha256:../../etc/passwd")
@example("sha256:" + "A" * 64)
@example("sha256:" + "a" * 64 + "\n")
@example("sha256:" + "a" * 63)
@example("md5:" + "a" * 32)
@example("sha256:" + "\u0660" * 64)
def test_anything_else_is_malformed_and_nothing_but(text: str) -> None:
    """Hostile text has one outcome, never another exception."""
    with pytest.raises(MalformedError):
        Digest.parse(text)
