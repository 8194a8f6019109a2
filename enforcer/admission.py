"""The story: ask, resolve, look up, verify, decide, record.

Every hook and every API call ends here. Nothing below this line knows which engine
asked; nothing above it knows how a signature is checked. This is the one place that
catches broadly: whatever goes wrong is a denial with a code, and is recorded too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from enforcer.core.codes import Code
from enforcer.core.consultation import Consult
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.record import DecisionRecord
from enforcer.core.reference import parse_reference
from enforcer.core.subject import (
    Claim,
    ImageMount,
    ImageName,
    Subject,
    artifact_subject,
    bind_subject,
)
from enforcer.ports import (
    Act,
    AdmissionRequest,
    AuditLog,
    BreakGlass,
    BuildStep,
    Clock,
    Engines,
    EvidenceSource,
    PolicyInForce,
    PolicySource,
    SignatureCache,
)
from enforcer.weigher import HostRules, Weigher, denial


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
        glass: BreakGlass | None = None,
    ) -> None:
        self._weigher = Weigher(
            rules=rules,
            cache=cache,
            clock=clock,
            evidence=evidence,
            consult=consult,
            glass=glass,
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
        decision = _safely(lambda: self._judge(request, seen))
        if decision.allowed and time.monotonic() > until:
            decision = denial(Code.DEADLINE, "the decision came too late")
        return self._record(request, seen, decision, started)

    def assess(self, claim: Claim, asked_by: str) -> DecisionRecord:
        """Judge what an engine said before, without writing it down.

        It releases nothing; whoever asks has to record what comes of it.
        """
        started, seen = time.perf_counter(), _Seen(shown=claim.shown)
        decision = _safely(lambda: self._claimed(claim, seen))
        return self._draft(AdmissionRequest(asked_by), seen, decision, started)

    def refuse(self, request: AdmissionRequest, code: Code, why: str) -> DecisionRecord:
        """Record a denial that was decided before judging: too late, too many."""
        seen = _Seen(shown=_shown(request))
        return self._record(request, seen, denial(code, why), time.perf_counter())

    def unrecorded(
        self, request: AdmissionRequest, code: Code, why: str
    ) -> DecisionRecord:
        """Make a denial without writing it down, for when that takes too long."""
        seen = _Seen(shown=_shown(request))
        draft = self._draft(request, seen, denial(code, why), time.perf_counter())
        return replace(draft, id="")

    def _judge(self, request: AdmissionRequest, seen: "_Seen") -> Decision:
        claim = self._claim(request)
        if isinstance(claim, Act):
            if claim.code is not Code.BUILD_REFUSED:
                return denial(claim.code, claim.message)
            claim = BuildStep(claim.shown)
        if isinstance(claim, BuildStep):
            seen.shown = claim.shown
            return self._build(claim)
        if claim is None:
            seen.subject = self._artifact(request)
            seen.policy = self._policy.current()
            return self._weigher.weigh(seen.subject, seen.policy)
        return self._claimed(claim, seen)

    def _claimed(self, claim: Claim, seen: "_Seen") -> Decision:
        decision = self._image(claim, seen)
        for mount in claim.mounts:
            if decision.allowed:
                decision = self._mounted(mount, decision, seen)
        return decision

    def _image(self, claim: Claim, seen: "_Seen") -> Decision:
        seen.shown = claim.shown
        listed = [content.descriptor.digest for content in claim.contents]
        cached = self._cache.manifests_about(claim.config_digest, listed)
        seen.subject = bind_subject(claim, cached)
        seen.policy = seen.policy or self._policy.current()
        return self._weigher.weigh(seen.subject, seen.policy)

    def _mounted(self, mount: ImageMount, allowed: Decision, seen: "_Seen") -> Decision:
        """Add a mount to what is allowed so far; a denial is about the mount alone."""
        refusals = []
        for image in mount.images:
            aside = _Seen(image.shown, policy=seen.policy)
            decision = self._image(image, aside)
            if decision.allowed:
                also = f"{allowed.message}; {decision.message}"
                return replace(allowed, message=clip(also, limit=2000))
            refusals.append((aside, decision))
        aside, decision = refusals[0]
        seen.shown, seen.subject = aside.shown, aside.subject
        return decision

    def _claim(self, request: AdmissionRequest) -> Claim | BuildStep | Act | None:
        """Ask the engines; None where a name and digest need none."""
        named = bool(request.reference or request.untrusted_digest)
        asked = (request.container, request.image, request.act, named or None)
        if asked.count(None) != 3:
            raise MalformedError(
                "the question is not about exactly one thing",
                remedy="Name a container, an image, an act, or a reference and digest.",
            )
        if request.container is not None:
            return self._engines.resolve(request.container)
        if request.image is not None:
            return self._engines.resolve_image(request.image)
        return request.act

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
        # Without a name: whoever is refused must not be told to look it up.
        unknown = replace(record, id="")
        return replace(unknown, decision=refused) if decision.allowed else unknown

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


def _safely(judge: Callable[[], Decision]) -> Decision:
    """Judge, and make a denial of whatever goes wrong."""
    try:
        return judge()
    except EnforcerError as error:
        return denial(error.code, f"{error.what}. {error.remedy}")
    except BaseException as error:  # noqa: BLE001 - also pyo3's PanicException
        return denial(Code.INTERNAL, f"enforcer failed with {type(error).__name__}")


def _shown(request: AdmissionRequest) -> str:
    if request.container is not None:
        return f"container {clip(request.container.id, limit=64)}"
    if request.act is not None:
        return clip(request.act.shown)
    return clip(request.image.name if request.image else request.reference)
