"""Decisions read back from the audit log: the same as they were, or not at all."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.past import parse_record
from enforcer.core.record import DecisionRecord, audit_json
from enforcer.core.strictjson import Json
from enforcer.core.subject import Subject

_WORDS = st.text("abc: /-_.", max_size=20)
_DIGESTS = st.binary(max_size=2).map(Digest.of)
_FINDINGS = st.builds(
    Finding,
    check=st.sampled_from(Check),
    result=st.sampled_from(Result),
    action=st.sampled_from(Action),
    code=st.sampled_from(Code),
    because=_WORDS,
)
_REPORTS = st.builds(
    SignatureReport,
    digest=_DIGESTS,
    format=_WORDS,
    signer=_WORDS,
    findings=st.lists(_FINDINGS, max_size=6).map(tuple),
    key=st.none() | _DIGESTS,
    signed=st.none() | _DIGESTS,
    vouches_for=st.lists(_WORDS, max_size=2).map(tuple),
)
_MAYBE = st.none() | _DIGESTS


def _record(decision: Decision, subject: Subject | None, word: str) -> DecisionRecord:
    return DecisionRecord(
        id=word,
        decision=decision,
        asked_by=word,
        reference=subject.shown if subject else word,
        container=word,
        subject=subject,
        mode="enforce",
        policy=Digest.of(b"policy"),
        at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        duration_ms=1.25,
    )


_RECORDS = st.builds(
    _record,
    st.builds(
        Decision,
        allowed=st.booleans(),
        code=st.sampled_from(Code),
        message=_WORDS,
        statement=_WORDS,
        signatures=st.lists(_REPORTS, max_size=3).map(tuple),
    ),
    st.none()
    | st.builds(
        Subject, _WORDS, st.just(()), st.just(()), _DIGESTS, _MAYBE, _MAYBE, _MAYBE
    ),
    _WORDS,
)


@given(_RECORDS)
def test_what_was_recorded_is_what_is_read(record: DecisionRecord) -> None:
    assert parse_record(audit_json(record)) == record


_SPOILT: st.SearchStrategy[Json] = (
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none())
)


@given(_RECORDS, st.data())
def test_a_line_that_was_made_up_is_an_error_and_nothing_else(
    record: DecisionRecord, data: st.DataObject
) -> None:
    members = audit_json(record)
    name = data.draw(st.sampled_from(sorted(members)))
    members = {**members, name: data.draw(_SPOILT)}

    try:
        found = parse_record(members)
    except EnforcerError:
        return
    assert isinstance(found, DecisionRecord)
    assert found.decision.message.isprintable()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.update(code="ENF-9999"), 'code "ENF-9999", which this version'),
        (lambda m: m.update(signatures=[{}]), "a signature without a digest"),
        (lambda m: m.update(signatures={}), "signatures that are no list"),
        (lambda m: m.update(duration_ms=True), "duration_ms that is no number"),
        (lambda m: m.update(time="yesterday"), "is not a date and time"),
        (lambda m: m.pop("message"), 'no text member "message"'),
    ],
)
def test_what_is_wrong_with_a_line_is_said(
    change: Callable[[Any], object], expected: str
) -> None:
    decision = Decision(
        allowed=False, code=Code.UNSIGNED, message="no", statement="", signatures=()
    )
    members = audit_json(_record(decision, None, "x"))
    change(members)

    with pytest.raises(EnforcerError) as caught:
        parse_record(members)
    assert expected in caught.value.what


def test_an_allow_is_only_a_plain_true() -> None:
    decision = Decision(
        allowed=True, code=Code.ALLOWED, message="yes", statement="", signatures=()
    )
    members = audit_json(_record(decision, None, "x"))

    assert parse_record(members).decision.allowed
    assert not parse_record(members | {"allowed": "true"}).decision.allowed


def test_escapes_reach_no_terminal() -> None:
    decision = Decision(
        allowed=False, code=Code.UNSIGNED, message="\x1b[2J", statement="\n",
        signatures=(),
    )  # fmt: skip
    found = parse_record(audit_json(_record(decision, None, "\x1b")))

    for text in (found.decision.message, found.decision.statement, found.asked_by):
        assert text.isprintable()
