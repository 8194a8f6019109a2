"""A decision as a tree: what was judged, by what, what each check found, what lacks."""

from enforcer.cli.output import coloured
from enforcer.core.errors import clip
from enforcer.core.findings import Result, SignatureReport
from enforcer.core.host_policy import ALWAYS, HostPolicy
from enforcer.core.record import DecisionRecord, named_digests
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.statement import TrustPolicy
from enforcer.core.would_pass import would_pass

Policy = HostPolicy | TrustPolicy

_MARKS = {
    Result.PASSED: ("ok", "green"),
    Result.FAILED: ("FAILED", "red"),
    Result.INCONCLUSIVE: ("unknown", "red"),
    Result.NOT_RUN: ("not run", "dim"),
}


def print_tree(record: DecisionRecord, policy: Policy | None) -> None:
    """Print a decision; `policy` is the one it was made by, where that is at hand."""
    decision = record.decision
    code = decision.code.name.lower().replace("_", " ")
    print(f"{clip(record.reference)}   {verdict(record)}  {decision.code} {code}")
    print(f"  why        {decision.message}")
    print(f"  decided    {_decided(record)}")
    if record.container:
        print(f"  container  {clip(record.container)}")
    for name, digest in named_digests(record.subject).items():
        print(f"  {name.replace('_', ' '):10} {digest}")
    for line in rule_lines(record, policy):
        print(f"  {line}")
    for report in decision.signatures:
        print_signature(report)
    if not decision.signatures:
        print("  signature  none was looked at")
    wanting = what_lacks(record, policy)
    if wanting:
        print(f"  {coloured(wanting, 'green')}")


def what_lacks(record: DecisionRecord, policy: Policy | None) -> str:
    """Return the one thing that would let it pass, "" where nothing lacks."""
    names = record.subject.names if record.subject else ()
    repositories = [name.repository for name in names]
    return would_pass(record.decision, policy, repositories)


def verdict(record: DecisionRecord) -> str:
    """Return the word for it, coloured."""
    if record.decision.allowed:
        return coloured("ALLOWED", "green")
    monitored = record.mode == "monitor"
    return coloured("DENIED (monitor: it started)" if monitored else "DENIED", "red")


def print_signature(report: SignatureReport) -> None:
    """Print one signature with each of its checks."""
    print(f"  signature  {report.digest.short}  {report.format}  {report.signer}")
    if report.vouches_for:
        print(f"    counts for {', '.join(report.vouches_for)}")
    for finding in report.findings:
        mark, colour = _MARKS[finding.result]
        noted = "" if finding.action == "enforce" else f" ({finding.action})"
        shown = coloured(f"{mark:8}", colour)
        print(f"    {shown} {finding.check}{noted}: {finding.because}")


def rule_lines(record: DecisionRecord, policy: Policy | None) -> list[str]:
    """Say by which statement it was decided, and what that asks for."""
    name = record.decision.statement
    if not name:
        return []
    if isinstance(policy, HostPolicy):
        demands = [d for d in policy.statements if d.name == name]
        shown = [*demands, policy.always]
        return [
            f"{'rule' if not index else 'and':10} {clip(demand.name)}   "
            f"{clip(demand.where)}   wants {clip(demand.requirement.text, limit=500)}"
            + (
                "   scopes " + ", ".join(scope.text for scope in demand.scopes)
                if demand.scopes
                else ""
            )
            for index, demand in enumerate(shown)
            if demand.name in (name, ALWAYS)
        ]
    return [f"{'rule':10} {clip(name)}"]


def _decided(record: DecisionRecord) -> str:
    policy = f"   policy {record.policy.short}" if record.policy else "   no policy"
    return (
        f"{format_rfc3339(record.at)}   asked by {clip(record.asked_by)}   "
        f"{record.duration_ms:.1f} ms   mode {clip(record.mode)}{policy}   {record.id}"
    )
