"""Weigh under a Notation trust policy: one signature a statement accepts suffices."""

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, decide
from enforcer.core.errors import clip
from enforcer.core.findings import SignatureReport
from enforcer.core.level import is_at_least
from enforcer.core.statement import Statement, TrustPolicy
from enforcer.core.subject import ImageName
from enforcer.weigher.examiner import Examiner
from enforcer.weigher.refusal import denial, digest_text


def weigh_by_notation(policy: TrustPolicy, examiner: Examiner) -> Decision:
    """Judge under every name; the first that allows wins, else the last word."""
    subject = examiner.subject
    names = subject.names or (ImageName(subject.shown, ""),)
    decision = _weigh_as(names[0], policy, examiner)
    for name in names[1:]:
        if decision.allowed:
            break
        decision = _weigh_as(name, policy, examiner)
    return decision


def _weigh_as(name: ImageName, policy: TrustPolicy, examiner: Examiner) -> Decision:
    shown, digest = examiner.subject.shown, digest_text(examiner.subject)
    statement = policy.statement_for(name.repository)
    if statement is None:
        return decide(shown, digest, None, (), scope=clip(name.repository))
    if not _level_allowed(statement, examiner.rules.allowed_levels):
        return denial(
            Code.LEVEL_NOT_ALLOWED,
            f"{shown} falls under statement {statement.name}, whose level "
            f"{statement.level.name} is laxer than strict. Use strict, or name the "
            "level in `notation.allowLevels` in enforcer.yaml",
            statement.name,
        )
    reports = _reports(statement, examiner)
    return decide(shown, digest, statement, reports, more=examiner.more)


def _level_allowed(statement: Statement, allowed: frozenset[str]) -> bool:
    levels = ("strict", *sorted(allowed))
    return any(is_at_least(statement.level, name) for name in levels)


def _reports(statement: Statement, examiner: Examiner) -> list[SignatureReport]:
    """Verify until one signature is accepted, the likeliest first."""
    reports: list[SignatureReport] = []
    for signature in examiner.signatures((statement,)):
        report = examiner.verify(signature, statement)
        reports.append(report)
        if report.accepted:
            break
    return reports
