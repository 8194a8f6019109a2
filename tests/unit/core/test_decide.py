"""From reports to a decision: one door, and a sentence for whoever stands before it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, decide
from enforcer.core.digest import Digest
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.identity import parse_identity
from enforcer.core.policy import (
    Statement,
    StoreName,
    StoreType,
    VerificationLevel,
    VerifyTimestamp,
)

NAME, DIGEST = "hello-world:1", "sha256:637f1cc6c102"


def statement(level: str = "strict") -> Statement:
    skip = level == "skip"
    return Statement(
        "prod",
        ("*",),
        VerificationLevel.named(level),
        VerifyTimestamp.ALWAYS,
        () if skip else (StoreName(StoreType.CA, "acme"),),
        () if skip else (parse_identity("*"),),
    )


def report(
    level: str = "strict", problem: Check | None = None, code: Code = Code.WRONG_SIGNER
) -> SignatureReport:
    actions = VerificationLevel.named(level)
    findings = [
        Finding(
            check,
            Result.FAILED if check is problem else Result.PASSED,
            actions.action(check),
            code if check is problem else Code.ALLOWED,
            f"because of {check}",
        )
        for check in Check
    ]
    digest = Digest.of(b"envelope")
    return SignatureReport(digest, "jws", "CN=signer,O=acme", tuple(findings))


def judged(
    *reports: SignatureReport, level: str = "strict", more: bool = False
) -> Decision:
    return decide(NAME, DIGEST, statement(level), reports, more=more)


def test_one_good_signature_suffices() -> None:
    """D12: at least one; a bad one never vetoes."""
    decision = judged(report(problem=Check.INTEGRITY), report())

    assert decision.allowed
    assert (decision.code, decision.statement) == (Code.ALLOWED, "prod")
    assert decision.message == 'hello-world:1 is signed by "CN=signer,O=acme"'
    assert len(decision.signatures) == 2


def test_an_unsigned_image_is_refused_at_every_level_but_skip() -> None:
    """D15."""
    for level in ("strict", "permissive", "audit"):
        decision = judged(level=level)
        assert not decision.allowed
        assert decision.code is Code.UNSIGNED
        assert decision.message == (
            "hello-world:1 is not signed: no signature about sha256:637f1cc6c102 is "
            "known on this host"
        )


def test_skip_lets_through_and_says_so() -> None:
    """T5: allowed, with a code of its own."""
    decision = judged(level="skip")

    assert decision.allowed
    assert decision.code is Code.SKIPPED
    assert decision.message == (
        "hello-world:1 is let through: its statement skips verification"
    )


def test_a_name_no_statement_covers_is_refused() -> None:
    """Law 1: no match, no start; whatever the signatures say."""
    decision = decide(NAME, DIGEST, None, [report()], scope="local/hello-world")

    assert not decision.allowed
    assert (decision.code, decision.statement) == (Code.NO_STATEMENT, "")
    assert decision.message == (
        "no statement of the trust policy covers hello-world:1 (sha256:637f1cc6c102): "
        "none has the scope local/hello-world or *"
    )


def test_the_signature_that_got_furthest_explains() -> None:
    """The most helpful problem is the last thing that stands in the way."""
    decision = judged(
        report(problem=Check.INTEGRITY, code=Code.SIGNATURE_INVALID),
        report(problem=Check.EXPIRY, code=Code.SIGNATURE_EXPIRED),
        report(problem=Check.AUTHENTICITY),
    )

    assert not decision.allowed
    assert decision.code is Code.SIGNATURE_EXPIRED
    assert decision.message == (
        "hello-world:1 is refused: expiry check: because of expiry "
        "(2 more that do not count either)"
    )


def test_too_many_signatures_is_a_reason_only_if_none_is_good() -> None:
    """A stranger's hundred signatures must not hide that there were more."""
    bad = report(problem=Check.AUTHENTICITY)

    assert judged(bad, more=True).code is Code.TOO_MANY_SIGNATURES
    assert judged(bad, report(), more=True).code is Code.ALLOWED
    assert judged(bad).code is Code.WRONG_SIGNER


def test_what_was_only_noted_is_never_called_signed() -> None:
    """Facts 2.6: notation prints "verified" there."""
    decision = judged(report("audit", Check.AUTHENTICITY), level="audit")

    assert decision.allowed
    assert decision.message == (
        "hello-world:1 is accepted (not authenticated): the policy only notes who "
        "signed"
    )


@pytest.mark.parametrize("forgotten", list(Check))
def test_a_forgotten_check_denies(forgotten: Check) -> None:
    """What was not asked was not answered."""
    whole = report()
    rest = tuple(f for f in whole.findings if f.check is not forgotten)

    decision = judged(replace(whole, findings=rest))

    assert not decision.allowed
    assert decision.code is Code.INTERNAL


def test_a_report_without_findings_denies() -> None:
    """Nothing checked, nothing allowed."""
    assert not judged(replace(report(), findings=())).allowed


def test_a_check_asked_twice_denies() -> None:
    """Two answers to one question are no answer."""
    whole = report()

    assert not judged(replace(whole, findings=whole.findings * 2)).allowed


def test_a_report_made_under_a_laxer_level_denies() -> None:
    """The statement that decides is the one that must have been verified against."""
    lax = report("audit", Check.AUTHENTICITY)

    assert lax.accepted
    assert not judged(lax, level="strict").allowed


def test_a_message_is_bounded_and_one_line() -> None:
    """Callers add the full stop and the code."""
    bad = report(problem=Check.AUTHENTICITY)
    findings = tuple(replace(f, because="x\n" * 5000) for f in bad.findings)

    message = judged(replace(bad, findings=findings)).message

    assert len(message) < 4100
    assert "\n" not in message
    assert not message.endswith(".")


REPORTS = st.lists(
    st.builds(
        report,
        st.sampled_from(["strict", "permissive", "audit"]),
        st.none() | st.sampled_from(list(Check)),
    ),
    max_size=5,
)


@given(REPORTS, st.integers(0, 4), st.sampled_from(["strict", "permissive", "audit"]))
def test_taking_a_signature_away_never_allows_more(
    reports: list[SignatureReport], at: int, level: str
) -> None:
    """Law 4: losing never grants."""
    fewer = reports[:at] + reports[at + 1 :]

    assert (
        judged(*reports, level=level).allowed or not judged(*fewer, level=level).allowed
    )


@given(REPORTS, st.sampled_from(["strict", "permissive"]))
def test_allowed_means_integrity_and_authenticity_passed(
    reports: list[SignatureReport], level: str
) -> None:
    """The law behind every other one."""
    decision = judged(*reports, level=level)

    assert not decision.allowed or any(r.authenticated for r in reports)


@given(REPORTS)
def test_what_is_allowed_strictly_is_allowed_laxly(
    reports: list[SignatureReport],
) -> None:
    """Tightening a policy never allows more."""
    for loose, tight in (("audit", "permissive"), ("permissive", "strict")):
        assert (
            judged(*reports, level=loose).allowed
            or not judged(*reports, level=tight).allowed
        )


def test_actions_in_a_report_do_not_open_the_door() -> None:
    """A finding that says it was only logged is still held to the statement."""
    whole = report(problem=Check.EXPIRY)
    findings = tuple(replace(f, action=Action.LOG) for f in whole.findings)

    assert not judged(replace(whole, findings=findings)).allowed
