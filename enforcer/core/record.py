"""A decision with everything that led to it, and its form in the audit log."""

from dataclasses import dataclass
from datetime import datetime

from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.findings import SignatureReport
from enforcer.core.strictjson import Json
from enforcer.core.subject import Subject


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision. `subject` is None where nothing could be resolved.

    Attributes:
        id: Unique, sortable by time.
        asked_by: The door that asked.
        reference: The name judged, printable, bounded.
        container: The container's id, or "".
        mode: enforce or monitor. In monitor mode a denial did not keep it from
            starting.
        policy: Digest of the trust policy document, or None without one.
        at: Aware, UTC.
        what_if: Judged for somebody who only asks; it released nothing.
    """

    id: str
    decision: Decision
    asked_by: str
    reference: str
    container: str
    subject: Subject | None
    mode: str
    policy: Digest | None
    at: datetime
    duration_ms: float
    what_if: bool = False


def decision_json(record: DecisionRecord) -> dict[str, Json]:
    """Return the members of a decision's JSON (design section 7)."""
    decision = record.decision
    return {
        "allowed": decision.allowed,
        "code": str(decision.code),
        "message": decision.message,
        "reference": record.reference,
        "subject": named_digests(record.subject),
        "statement": decision.statement,
        "signatures": [_signature(report) for report in decision.signatures],
        "whatif": record.what_if,
        "id": record.id,
        "duration_ms": round(record.duration_ms, 2),
    }


def audit_json(record: DecisionRecord) -> dict[str, Json]:
    """Return the members of a decision's line in the audit log."""
    return {
        "time": record.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "asked_by": record.asked_by,
        "container": record.container,
        "mode": record.mode,
        "policy": str(record.policy) if record.policy else "",
        **decision_json(record),
    }


def named_digests(subject: Subject | None) -> dict[str, Json]:
    """Return the digests of what would run that are known, by what each is of."""
    if subject is None:
        return {}
    named = {
        "index": subject.index,
        "manifest": subject.manifest,
        "config": subject.config,
        "chain_id": subject.chain_id,
    }
    return {name: str(digest) for name, digest in named.items() if digest}


def _signature(report: SignatureReport) -> dict[str, Json]:
    return {
        "digest": str(report.digest),
        "format": report.format,
        "signer": report.signer,
        "key": str(report.key or ""),
        "signed": str(report.signed or ""),
        "vouchesFor": list(report.vouches_for),
        "checks": [
            {
                "name": str(finding.check),
                "result": str(finding.result),
                "action": str(finding.action),
                "message": finding.because,
                "code": str(finding.code),
            }
            for finding in report.findings
        ],
    }
