"""Fold what signatures vouch for into one decision, and name who is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, counts, progress, sentence, unsigned
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.core.findings import Check, Finding, Result, SignatureReport
from enforcer.core.host_policy.policy import ALWAYS, Demand
from enforcer.core.statement import Statement

_LATER = frozenset(Check) - {Check.INTEGRITY, Check.AUTHENTICITY}

Reports = Mapping[str, SignatureReport]  # signer -> what it made of one signature


@dataclass(slots=True)
class Ledger:
    """What each key vouches for, by what was found about the signatures so far."""

    signers: Mapping[str, Statement]
    vouched: dict[Digest, set[str]] = field(default_factory=dict)
    examined: list[dict[str, SignatureReport]] = field(default_factory=list)

    def note(self, reports: Reports, place: int | None = None) -> None:
        """Note what signers made of a signature; `place` is that of an earlier one."""
        if place is None:
            self.examined.append(dict(reports))
        else:
            self.examined[place] |= reports
        for name, report in reports.items():
            if report.key is not None and counts(report, self.signers[name]):
                self.vouched.setdefault(report.key, set()).add(name)

    def meets(self, demands: Sequence[Demand]) -> bool:
        """Whether there are demands, and every one of them is met."""
        met = [demand.requirement.is_met_by(self.vouched) for demand in demands]
        return bool(met) and all(met)

    def reports(self) -> tuple[SignatureReport, ...]:
        """Return a report a signature: that of the signer for whom it got furthest."""
        found = []
        for reports in self.examined:
            best = max(reports.values(), key=_interest)
            names = tuple(
                name
                for name, report in reports.items()
                if counts(report, self.signers[name])
            )
            found.append(replace(best, vouches_for=names))
        return tuple(found)


def accepted(name: str, demands: Sequence[Demand], ledger: Ledger) -> Decision:
    """Allow what meets all demands; asks again, so that nothing else is let through."""
    statement = demands[-1]
    who = ", ".join(sorted(set().union(*ledger.vouched.values())))
    allowed = ledger.meets(demands)  # the door
    message = f"{name} is signed by {who}, as {_called(statement)} wants"
    return Decision(
        allowed=allowed,
        code=Code.ALLOWED if allowed else Code.INTERNAL,
        message=clip(message, limit=2000),
        statement=statement.name,
        signatures=ledger.reports(),
    )


def refused(
    name: str,
    digest_text: str,
    demands: Sequence[Demand],
    ledger: Ledger,
    *,
    more: bool,
) -> Decision:
    """Refuse, naming the first demand that is not met and who is missing."""
    unmet = [d for d in demands if not d.requirement.is_met_by(ledger.vouched)]
    demand = unmet[-1]  # a statement says more about this image than `always`
    reports = ledger.reports()
    if more:
        code, message = Code.TOO_MANY_SIGNATURES, _too_many(name, len(reports))
    elif not reports:
        code = Code.UNSIGNED
        wants = f"{_called(demand)} wants {demand.requirement.text}"
        message = f"{unsigned(name, digest_text)}; {wants}"
    else:
        code, message = _unmet(name, demand, ledger, reports)
    return Decision(
        allowed=False,
        code=code,
        message=clip(message, limit=2000).rstrip("."),
        statement=demand.name,
        signatures=reports,
    )


def _unmet(
    name: str, demand: Demand, ledger: Ledger, reports: Sequence[SignatureReport]
) -> tuple[Code, str]:
    wants = f"{_called(demand)} wants {demand.requirement.text}"
    missing = demand.requirement.missing_from(ledger.vouched)
    problem = _nearly(missing, ledger)
    if problem is not None:
        because = sentence(problem.check, problem.because)
        return problem.code, (
            f"{name} is refused: {wants}, and a signature that is meant does not "
            f"count: {because}"
        )
    valid = sorted({n for names in ledger.vouched.values() for n in names})
    if valid:
        return Code.REQUIREMENT_UNMET, (
            f"{name} is validly signed by {', '.join(valid)}, but {wants}; "
            f"{_missing(missing, valid)}"
        )
    return _by_nobody(name, demand, wants, reports)


def _nearly(missing: Iterable[str], ledger: Ledger) -> Finding | None:
    """Return what is wrong with a signature of somebody missing, or with a denied one.

    Whose it is, is known where authenticity passed, or only a condition failed it.
    """
    problems = [
        finding
        for who in missing
        for reports in ledger.examined
        if (report := reports.get(who)) and (finding := report.first_problem)
    ]
    meant = (f for f in problems if f.check in _LATER or f.code is Code.CONDITION_UNMET)
    denied = (f for f in problems if f.code is Code.DENY_LISTED)
    return next(meant, None) or next(denied, None)


def _by_nobody(
    name: str, demand: Demand, wants: str, reports: Sequence[SignatureReport]
) -> tuple[Code, str]:
    """Say what is wrong with the signature that got furthest; nobody known made it."""
    best = max(reports, key=_interest)
    problem = best.first_problem
    if problem is None:
        return Code.INTERNAL, f"{name} has a signature that was not checked fully"
    others = f" ({len(reports) - 1} more do not count either)" * (len(reports) > 1)
    because = sentence(problem.check, problem.because)
    if problem.code is Code.WRONG_SIGNER:  # so integrity holds: the name is real
        only = len(demand.requirement.names) == 1
        nobody = f'signed by "{best.signer}", whom the policy does not know'
        because = because if only else nobody
    return problem.code, f"{name} is refused: {because}{others}; {wants}"


def _interest(report: SignatureReport) -> tuple[int, bool]:
    """How far it got; a store that cannot be used is worth more words than a no."""
    problem = report.first_problem
    unknown = problem is not None and problem.result is Result.INCONCLUSIVE
    return progress(report), unknown


def _missing(missing: Sequence[str], valid: Sequence[str]) -> str:
    """Name who is missing; a name that did sign lacks a key that is not counted yet."""
    if set(missing) <= set(valid):
        return "no key counts twice, and there are too few"
    return f"missing: {', '.join(dict.fromkeys(missing))}"


def _too_many(name: str, looked_at: int) -> str:
    return (
        f"{name} has more signatures than one decision looks at, and the {looked_at} "
        "that were looked at are not enough"
    )


def _called(demand: Demand) -> str:
    return "the policy always" if demand.name == ALWAYS else f"statement {demand.name}"
