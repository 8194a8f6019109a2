"""What an engine's words are worth: only our refusal, with its decision on record."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import Json
from enforcer.host.prove.decisions import find_decision
from enforcer.host.prove.outcome import (
    FAILURES,
    WITHOUT_DECISION,
    HungError,
    NotLiveError,
    Result,
    SaidNoError,
    tried,
    weigh,
)
from enforcer.settings import Settings

OURS = "sha256:" + "a" * 64
ANOTHERS = "sha256:" + "b" * 64
REFUSAL = (
    "OCI runtime create failed: enforcer: x:1 is not signed: no signature [ENF-1001]; "
    "next: enforcer explain 06H1"
)
RECORD: dict[str, Json] = {
    "id": "06H1",
    "allowed": False,
    "code": "ENF-1001",
    "subject": {"manifest": OURS},
}


def _weighed(
    words: str, record: Mapping[str, Json] | None = RECORD, *, of_image: bool = True
) -> tuple[Result, str, str, str]:
    return weigh(words, {OURS} if of_image else None, lambda _: record)


def test_our_refusal_with_its_decision_about_our_image_counts() -> None:
    found = _weighed(REFUSAL)

    assert found == (
        Result.REFUSED,
        "ENF-1001",
        "06H1",
        "x:1 is not signed: no signature",
    )


@pytest.mark.parametrize(
    "record",
    [
        None,
        RECORD | {"allowed": True},
        RECORD | {"allowed": None},
        RECORD | {"code": "ENF-1002"},
        RECORD | {"subject": {"manifest": ANOTHERS}},
        RECORD | {"subject": None},
        {},
    ],
)
def test_a_refusal_that_the_audit_log_has_otherwise_proves_nothing(
    record: Mapping[str, Json] | None,
) -> None:
    """Whoever forges our words, or has another image in the way."""
    result, code, *_ = _weighed(REFUSAL, record)

    assert (result, code) == (Result.UNPROVEN, "ENF-2202")


def test_a_decision_that_got_to_no_image_is_about_none() -> None:
    """As of a container without a record: it is refused for its own sake."""
    assert _weighed(REFUSAL, RECORD | {"subject": {}})[0] is Result.REFUSED


def test_where_another_image_has_to_start_first_its_refusal_counts() -> None:
    """A pod's own image is not ours; where that is refused, no pod starts."""
    record = RECORD | {"subject": {"manifest": ANOTHERS}}

    assert _weighed(REFUSAL, record, of_image=False)[0] is Result.REFUSED


@pytest.mark.parametrize("code", list(Code))
def test_only_doors_that_asked_nobody_need_no_decision(code: Code) -> None:
    words = f"enforcer: something happened [{code}]"

    result, *_ = _weighed(words, None)

    expected = Result.REFUSED if code in WITHOUT_DECISION else Result.UNPROVEN
    assert result is expected
    assert (code[:6] in ("ENF-15", "ENF-16")) is (expected is Result.REFUSED)


@given(st.text())
def test_no_other_words_are_a_refusal(words: str) -> None:
    """A start fails for many reasons, and none of those is enforcer."""
    assert _weighed(words, None)[0] is Result.UNPROVEN
    shown = _weighed(words)[3]
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("error", "result", "code"),
    [
        (NotLiveError("not here"), Result.SKIPPED, ""),
        (HungError("no answer"), Result.HUNG, "ENF-2203"),
        (SaidNoError("no space left"), Result.UNPROVEN, "ENF-2202"),
        (KeyError("Id"), Result.UNPROVEN, "ENF-2202"),
        (OSError(28, "No space left on device"), Result.UNPROVEN, "ENF-2202"),
        (EnforcerError("x", remedy="y"), Result.UNPROVEN, "ENF-2202"),
    ],
)
def test_whatever_fails_at_a_door_is_no_refusal(
    error: Exception, result: Result, code: str
) -> None:
    assert isinstance(error, FAILURES)

    def attempt() -> str:
        raise error

    found = tried(attempt, {OURS}, lambda _: RECORD)

    assert found[:2] == (result, code)


def test_what_nothing_refused_is_open() -> None:
    assert tried(lambda: "its process ran", {OURS}, lambda _: RECORD) == (
        Result.OPEN,
        "ENF-2201",
        "",
        "its process ran",
    )


def test_a_decision_is_found_in_whichever_file_has_it(tmp_path: Path) -> None:
    """The log may be rotated between the refusal and the question."""
    folder = tmp_path / "log" / "audit"
    folder.mkdir(parents=True)
    (folder / "audit.jsonl").write_text('{"id": "B", "code": "2"}\n')
    (folder / "audit.jsonl.1").write_text(
        'no JSON, but "id": "A"\n{"x": "\\"id\\": \\"A\\""}\n{"id": "A", "code": "1"}\n'
    )
    settings = Settings(tmp_path, tmp_path, tmp_path, tmp_path / "log")

    found = {name: find_decision(settings, name) for name in "ABC"}

    assert found == {
        "A": {"id": "A", "code": "1"},
        "B": {"id": "B", "code": "2"},
        "C": None,
    }


def test_an_audit_log_that_is_no_file_has_no_decision(tmp_path: Path) -> None:
    """A pipe does not hold us up, and a link leads nowhere."""
    settings = Settings(tmp_path, tmp_path, tmp_path, tmp_path)
    (tmp_path / "other").write_text('{"id": "A"}\n')
    settings.audit_dir.mkdir()
    (settings.audit_dir / "audit.jsonl").symlink_to(tmp_path / "other")

    assert find_decision(settings, "A") is None
