"""Fold what was found out about an image's signatures into one decision."""

from collections.abc import Sequence
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.findings import Action, Check, Result, SignatureReport
from enforcer.core.statement import Statement


@dataclass(frozen=True, slots=True)
class Decision:
    """May it start? `message` is one sentence, without its full stop and code."""

    allowed: bool
    code: Code
    message: str
    statement: str
    signatures: tuple[SignatureReport, ...]


def decide(
    name: str,
    digest_text: str,
    statement: Statement | None,
    reports: Sequence[SignatureReport],
    *,
    more: bool = False,
    scope: str = "",
) -> Decision:
    """Allow if the statement is satisfied by at least one of the signatures.

    `name` is the image's, and `digest_text` its digest, as shown to people; `more`
    says that there were more signatures than were looked at; `scope` is what the
    name is called in a policy.
    """
    skipped = statement is not None and statement.level.is_skip
    accepted = next((report for report in reports if counts(report, statement)), None)
    allowed = statement is not None and (skipped or accepted is not None)  # the door
    if skipped:
        code = Code.SKIPPED
        message = f"{name} is let through: its statement skips verification"
    elif accepted is not None and allowed:
        code, message = Code.ALLOWED, _accepted(name, accepted)
    else:
        code, message = (
            (Code.NO_STATEMENT, uncovered(name, digest_text, scope))
            if statement is None
            else _denied(name, digest_text, reports, more=more)
        )
    return Decision(
        allowed=allowed,
        code=code,
        message=clip(message, limit=2000).rstrip("."),
        statement=clip(statement.name) if statement else "",
        signatures=tuple(reports),
    )


def counts(report: SignatureReport, statement: Statement | None) -> bool:
    """Whether a report is of a signature that satisfies the statement.

    Asks again what the verifier should have made sure of: a check nobody ran, or ran
    under a laxer action than the statement's, denies; it does not disappear.
    """
    if statement is None or not report.accepted:
        return False
    found = {finding.check: finding for finding in report.findings}
    if set(found) != set(Check) or len(report.findings) != len(found):
        return False
    return all(
        finding.result is Result.PASSED
        or statement.level.action(check) is not Action.ENFORCE
        for check, finding in found.items()
    )


def _accepted(name: str, report: SignatureReport) -> str:
    if not report.authenticated:
        return (
            f"{name} is accepted (not authenticated): the policy only notes who signed"
        )
    return f'{name} is signed by "{report.signer}"'


def uncovered(name: str, digest_text: str, scope: str) -> str:
    """Say that no statement is about an image; `scope` is what a policy calls it."""
    called = f"{scope} or *" if scope else "*"
    return (
        f"no statement of the trust policy covers {name} ({digest_text}): none has the "
        f"scope {called}"
    )


def _denied(
    name: str,
    digest_text: str,
    reports: Sequence[SignatureReport],
    *,
    more: bool,
) -> tuple[Code, str]:
    if more:
        return Code.TOO_MANY_SIGNATURES, (
            f"{name} has more signatures than one decision looks at, and none of the "
            f"{len(reports)} that were looked at is good enough"
        )
    if not reports:
        return Code.UNSIGNED, unsigned(name, digest_text)
    return _best_problem(name, reports)


def _best_problem(name: str, reports: Sequence[SignatureReport]) -> tuple[Code, str]:
    """Say what is wrong with the signature that got furthest; the first of several."""
    best = max(reports, key=progress)
    problem = best.first_problem
    others = len(reports) - 1
    tail = f" ({others} more that do not count either)" if others else ""
    if problem is None:
        return Code.INTERNAL, f"{name} has a signature that was not checked fully{tail}"
    return (
        problem.code,
        f"{name} is refused: {sentence(problem.check, problem.because)}{tail}",
    )


def unsigned(name: str, digest_text: str) -> str:
    """Say that there is no signature at all."""
    return (
        f"{name} is not signed: no signature about {digest_text} is known on this host"
    )


def sentence(check: Check, because: str) -> str:
    """Put a finding into a sentence about its signature."""
    return because if because.startswith("signed by") else f"{check} check: {because}"


def progress(report: SignatureReport) -> int:
    """How many checks did not block, counted up to the first that does."""
    blocking = [finding.blocks for finding in report.findings]
    return blocking.index(True) if True in blocking else len(blocking)
