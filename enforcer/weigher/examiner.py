"""Signatures one after another, within the budget of one decision."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from enforcer.core.consultation import Consult
from enforcer.core.findings import Check, Result, SignatureReport
from enforcer.core.revocation_chain import authenticated_chains
from enforcer.core.revocation_rules import OnStale
from enforcer.core.statement import Statement
from enforcer.core.subject import Subject
from enforcer.core.truststore import TrustStores
from enforcer.core.verify import ReadSignature, read_signature, verify_read
from enforcer.ports import EvidenceSource, SignatureCache

MAX_SIGNATURES = 100  # per decision: notation's default for --max-signatures
MAX_BYTES = 64 * 1024 * 1024  # of envelopes, per decision; usual ones have 5 KiB
MAX_SECONDS = 2.0  # per decision for verifying, of the three it has in all


@dataclass(frozen=True, slots=True)
class HostRules:
    """What is judged by, apart from whom to trust."""

    mode: str = "enforce"
    builds_allowed: bool = False
    allowed_levels: frozenset[str] = frozenset()
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    max_signatures: int = MAX_SIGNATURES


@dataclass(slots=True)
class Examiner:
    """Reads and verifies the signatures about one subject, for one decision.

    Attributes:
        at: The time to judge by.
        more: Whether there were more signatures than it looked at.
    """

    rules: HostRules
    cache: SignatureCache
    evidence: EvidenceSource | None
    consult: Consult | None
    subject: Subject
    stores: TrustStores
    at: datetime
    more: bool = False
    _until: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def signatures(self, statements: Iterable[Statement]) -> Iterator[ReadSignature]:
        """Yield signatures, the likeliest to please these statements first."""
        wanted = [name for one in statements for name in one.trust_stores]
        found, more = self.cache.signatures_about(
            self.subject.targets,
            trusted=self.stores.fingerprints(wanted),
            limit=self.rules.max_signatures,
        )
        looked_at = 0
        for signature in found:
            looked_at += len(signature.envelope)
            if looked_at > MAX_BYTES or self.is_late:
                self.more = True
                return
            yield read_signature(signature, self.subject.targets)
        self.more = more

    @property
    def is_late(self) -> bool:
        """Whether the time for verifying is over."""
        return time.monotonic() > self._until

    def verify(self, read: ReadSignature, statement: Statement) -> SignatureReport:
        """Verify one signature; look for revocation evidence only if it is missed.

        A chain that names no list or responder needs none, and only authenticated
        chains may cause a look (law 2).
        """
        told = (statement, self.stores, self.at, self.rules.user_metadata)
        report = verify_read(read, *told, consult=self.consult)
        # Where missing evidence may pass, it is missing only after a look for it.
        forgiving = statement.conditions.revocation.on_stale is not OnStale.DENY
        if self.evidence is None or not (forgiving or _misses_evidence(report)):
            return report
        chains = authenticated_chains(
            read.stored, self.subject.targets, statement, self.stores, self.at
        )
        evidence = self.evidence.load(chains, self.at)
        return verify_read(read, *told, evidence=evidence, consult=self.consult)


def _misses_evidence(report: SignatureReport) -> bool:
    """Whether a check could not be answered for want of evidence about revocation."""
    return any(
        finding.result is Result.INCONCLUSIVE
        for finding in report.findings
        if finding.check in (Check.REVOCATION, Check.TIMESTAMP, Check.EXPIRY)
    )
