"""Verify and decide: one subject, one policy, the signatures at hand, within a budget.

What of the story the command line shares with the daemon: it knows no engine and keeps
no record.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from enforcer.core.codes import Code
from enforcer.core.consultation import Consult
from enforcer.core.decide import Decision, decide
from enforcer.core.errors import clip
from enforcer.core.findings import Check, Result, SignatureReport
from enforcer.core.level import is_at_least
from enforcer.core.revocation_chain import authenticated_chains
from enforcer.core.statement import Statement
from enforcer.core.subject import ImageName, Subject
from enforcer.core.verify import StoredSignature, verify_signature
from enforcer.ports import Clock, EvidenceSource, PolicyInForce, SignatureCache

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


class Weigher:
    """Verify and decide: one subject, the policy in force, the signatures at hand."""

    def __init__(
        self,
        *,
        rules: HostRules,
        cache: SignatureCache,
        clock: Clock,
        evidence: EvidenceSource | None = None,
        consult: Consult | None = None,
    ) -> None:
        """Without `evidence` none is at hand, without `consult` no plug-in may run."""
        self.rules = rules
        self._cache = cache
        self._clock = clock
        self._evidence = evidence
        self._consult = consult

    def weigh(self, subject: Subject, force: PolicyInForce) -> Decision:
        """Judge under every name; the first that allows wins, else the last word."""
        names = subject.names or (ImageName(subject.shown, ""),)
        decision = self._weigh_as(names[0], subject, force)
        for name in names[1:]:
            if decision.allowed:
                break
            decision = self._weigh_as(name, subject, force)
        return decision

    def _weigh_as(
        self, name: ImageName, subject: Subject, force: PolicyInForce
    ) -> Decision:
        shown, digest = subject.shown, _digest_text(subject)
        statement = force.policy.statement_for(name.repository)
        if statement is None:
            return decide(shown, digest, None, (), scope=clip(name.repository))
        if not self._level_allowed(statement):
            return denial(
                Code.LEVEL_NOT_ALLOWED,
                f"{shown} falls under statement {statement.name}, whose level "
                f"{statement.level.name} is laxer than strict. Use strict, or name the "
                "level in `notation.allowLevels` in enforcer.yaml",
                statement.name,
            )
        reports, more = self._reports(subject, statement, force)
        return decide(shown, digest, statement, reports, more=more)

    def _level_allowed(self, statement: Statement) -> bool:
        allowed = ("strict", *sorted(self.rules.allowed_levels))
        return any(is_at_least(statement.level, name) for name in allowed)

    def _reports(
        self, subject: Subject, statement: Statement, force: PolicyInForce
    ) -> tuple[list[SignatureReport], bool]:
        """Verify until one signature is accepted, the likeliest first."""
        found, more = self._cache.signatures_about(
            subject.targets,
            trusted=force.stores.fingerprints(statement.trust_stores),
            limit=self.rules.max_signatures,
        )
        reports: list[SignatureReport] = []
        looked_at, until = 0, time.monotonic() + MAX_SECONDS
        for signature in found:
            looked_at += len(signature.envelope)
            if looked_at > MAX_BYTES or time.monotonic() > until:
                return reports, True
            report = self._verify(signature, subject, statement, force)
            reports.append(report)
            if report.accepted:
                break
        return reports, more

    def _verify(
        self,
        signature: StoredSignature,
        subject: Subject,
        statement: Statement,
        force: PolicyInForce,
    ) -> SignatureReport:
        """Verify one signature; look for revocation evidence only if it is missed.

        A chain that names no list or responder needs none, and only authenticated
        chains may cause a look (law 2).
        """
        at = self._clock.now()
        verify = partial(
            verify_signature,
            signature,
            subject.targets,
            statement,
            force.stores,
            at,
            self.rules.user_metadata,
            consult=self._consult,
        )
        report = verify()
        if self._evidence is None or not _misses_evidence(report):
            return report
        chains = authenticated_chains(
            signature, subject.targets, statement, force.stores, at
        )
        return verify(evidence=self._evidence.load(chains, at))


def _misses_evidence(report: SignatureReport) -> bool:
    """Whether a check could not be answered for want of evidence about revocation."""
    return any(
        finding.result is Result.INCONCLUSIVE
        for finding in report.findings
        if finding.check in (Check.REVOCATION, Check.TIMESTAMP)
    )


def denial(code: Code, message: str, statement: str = "") -> Decision:
    """Make a refusal; its message is made safe to show."""
    text = clip(message.removesuffix("."), limit=2000)
    return Decision(
        allowed=False, code=code, message=text, statement=statement, signatures=()
    )


def _digest_text(subject: Subject) -> str:
    """The digest a person would look for: what was asked for, else the image's."""
    digest = subject.index or subject.manifest or subject.config
    return digest.short if digest else "an unknown digest"
