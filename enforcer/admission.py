"""The story: ask, resolve, look up, verify, decide, record.

Every hook and every API call ends here. Nothing below this line knows which engine
asked; nothing above it knows how a signature is checked. This is the one place that
catches broadly: whatever goes wrong is a denial with a code, and is recorded too.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from enforcer.core.codes import Code
from enforcer.core.consultation import Consult
from enforcer.core.decide import Decision, decide
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.findings import Check, Result, SignatureReport
from enforcer.core.level import is_at_least
from enforcer.core.record import DecisionRecord
from enforcer.core.reference import parse_reference
from enforcer.core.revocation_chain import authenticated_chains
from enforcer.core.statement import Statement
from enforcer.core.subject import (
    ImageName,
    Subject,
    artifact_subject,
    bind_subject,
)
from enforcer.core.verify import StoredSignature, verify_signature
from enforcer.ports import (
    AdmissionRequest,
    AuditLog,
    BuildStep,
    Clock,
    Engines,
    EvidenceSource,
    PolicyInForce,
    PolicySource,
    SignatureCache,
)

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


class Admission:
    """Judges one request after the other; safe to call from several threads."""

    def __init__(
        self,
        *,
        rules: HostRules,
        engines: Engines,
        cache: SignatureCache,
        policy: PolicySource,
        audit: AuditLog,
        clock: Clock,
        evidence: EvidenceSource | None = None,
        consult: Consult | None = None,
    ) -> None:
        self._weigher = Weigher(
            rules=rules, cache=cache, clock=clock, evidence=evidence, consult=consult
        )
        self._engines = engines
        self._cache = cache
        self._policy = policy
        self._audit = audit
        self._clock = clock

    def replace_rules(self, rules: HostRules) -> None:
        """Judge by other rules from the next request on."""
        self._weigher.rules = rules

    def judge(self, request: AdmissionRequest, *, until: float) -> DecisionRecord:
        """Return a recorded decision, whatever happens.

        `until` is a time.monotonic(): an allow that comes later is a denial, because
        whoever asked has been refused by then.
        """
        started = time.perf_counter()
        seen = _Seen(shown=_shown(request))
        try:
            decision = self._judge(request, seen)
        except EnforcerError as error:
            decision = denial(error.code, f"{error.what}. {error.remedy}")
        except BaseException as error:  # noqa: BLE001 - also pyo3's PanicException
            decision = denial(
                Code.INTERNAL, f"enforcer failed with {type(error).__name__}"
            )
        if decision.allowed and time.monotonic() > until:
            decision = denial(Code.DEADLINE, "the decision came too late")
        return self._record(request, seen, decision, started)

    def refuse(self, request: AdmissionRequest, code: Code, why: str) -> DecisionRecord:
        """Record a denial that was decided before judging: too late, too many."""
        seen = _Seen(shown=_shown(request))
        return self._record(request, seen, denial(code, why), time.perf_counter())

    def unrecorded(
        self, request: AdmissionRequest, code: Code, why: str
    ) -> DecisionRecord:
        """Make a denial without writing it down, for when that takes too long."""
        seen = _Seen(shown=_shown(request))
        return self._draft(request, seen, denial(code, why), time.perf_counter())

    def _judge(self, request: AdmissionRequest, seen: "_Seen") -> Decision:
        if request.container is None:
            subject = self._artifact(request)
        else:
            claim = self._engines.resolve(request.container)
            seen.shown = claim.shown
            if isinstance(claim, BuildStep):
                return self._build(claim)
            listed = [content.descriptor.digest for content in claim.contents]
            cached = self._cache.manifests_about(claim.config_digest, listed)
            subject = bind_subject(claim, cached)
        seen.subject = subject
        seen.policy = self._policy.current()
        return self._weigher.weigh(subject, seen.policy)

    def _artifact(self, request: AdmissionRequest) -> Subject:
        reference = parse_reference(request.reference)
        digest = Digest.parse(request.untrusted_digest)
        content = self._cache.manifest(digest)
        name = ImageName(reference.text, reference.repository(local=True))
        if content is None:
            return Subject(reference.text, (name,), (), manifest=digest)
        return artifact_subject(reference.text, (name,), content)

    def _build(self, step: BuildStep) -> Decision:
        if self._weigher.rules.builds_allowed:
            message = f"{step.shown} was let through by `builds: allow`"
            return Decision(
                allowed=True,
                code=Code.BUILD_ALLOWED,
                message=message,
                statement="",
                signatures=(),
            )
        return denial(
            Code.BUILD_REFUSED,
            f"{step.shown} is refused: this host denies builds. Build elsewhere, or "
            "set `builds: allow` in enforcer.yaml",
        )

    def _record(
        self,
        request: AdmissionRequest,
        seen: "_Seen",
        decision: Decision,
        started: float,
    ) -> DecisionRecord:
        """Write it down; what cannot be recorded is not allowed (law 7)."""
        record = self._draft(request, seen, decision, started)
        try:
            self._audit.append(record)
        except EnforcerError as error:
            refused = denial(error.code, f"{error.what}. {error.remedy}")
        except BaseException as error:  # noqa: BLE001 - as in `judge`
            failed = f"the audit log failed with {type(error).__name__}"
            refused = denial(Code.AUDIT_UNAVAILABLE, failed)
        else:
            return record
        return replace(record, decision=refused) if decision.allowed else record

    def _draft(
        self,
        request: AdmissionRequest,
        seen: "_Seen",
        decision: Decision,
        started: float,
    ) -> DecisionRecord:
        return DecisionRecord(
            id=self._clock.new_id(),
            decision=decision,
            asked_by=clip(request.asked_by, limit=40),
            reference=seen.shown,
            container=clip(request.container.id) if request.container else "",
            subject=seen.subject,
            mode=self._weigher.rules.mode,
            policy=seen.policy.policy.digest if seen.policy else None,
            at=self._clock.now(),
            duration_ms=(time.perf_counter() - started) * 1000,
        )


@dataclass(slots=True)
class _Seen:
    """What is known so far, so that a failure half-way is recorded with it."""

    shown: str
    subject: Subject | None = None
    policy: PolicyInForce | None = None


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


def _shown(request: AdmissionRequest) -> str:
    if request.container is not None:
        return f"container {clip(request.container.id, limit=64)}"
    return clip(request.reference)


def _digest_text(subject: Subject) -> str:
    """The digest a person would look for: what was asked for, else the image's."""
    digest = subject.index or subject.manifest or subject.config
    return digest.short if digest else "an unknown digest"
