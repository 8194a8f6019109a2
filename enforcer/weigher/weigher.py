"""One subject, the policy in force: which rules apply, and what overrides them."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.consultation import Consult
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.host_policy import HostPolicy
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.subject import Subject
from enforcer.ports import (
    BreakGlass,
    Clock,
    EvidenceSource,
    PolicyInForce,
    SignatureCache,
)
from enforcer.weigher.examiner import Examiner, HostRules
from enforcer.weigher.host import counts_still, exempt, weigh_by_host_policy
from enforcer.weigher.notation import weigh_by_notation
from enforcer.weigher.refusal import denial


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
        glass: BreakGlass | None = None,
    ) -> None:
        """Without `evidence` none is at hand, without `consult` no plug-in may run.

        `glass` says for which digests root broke the glass; without it none is broken.
        """
        self.rules = rules
        self._cache = cache
        self._clock = clock
        self._evidence = evidence
        self._consult = consult
        self._glass = glass

    def weigh(self, subject: Subject, force: PolicyInForce) -> Decision:
        """Judge by the policy in force."""
        now = self._clock.now()
        policy = force.policy
        if isinstance(policy, HostPolicy):
            denied = _denied(subject, policy)
            if denied is not None:
                return denied
        try:
            if isinstance(policy, HostPolicy):
                decision = self._by_host_policy(subject, policy, force, now)
            else:
                examiner = self._examiner(subject, force, now)
                decision = weigh_by_notation(policy, examiner)
        except EnforcerError as error:  # a damaged cache is when glass is broken
            decision = denial(error.code, f"{error.what}. {error.remedy}")
        return decision if decision.allowed else self._unless_broken(subject, decision)

    def _by_host_policy(
        self, subject: Subject, policy: HostPolicy, force: PolicyInForce, now: datetime
    ) -> Decision:
        exemption = policy.exemption_of(subject.content_digests)
        floor = self._floor() if exemption or policy.at_floor else None
        # A floor may only deny: a clock that stands in the past ends no exemption.
        if exemption is not None and counts_still(exemption, now, floor):
            return exempt(subject, exemption)
        at = floor if policy.at_floor else now
        if at is None:
            return denial(
                Code.TIME_UNKNOWN,
                "the policy says `expiry: floor`, and this host has no proof of any "
                "time yet. Run `enforcer cache sync`",
            )
        decision = weigh_by_host_policy(policy, self._examiner(subject, force, at))
        if exemption is None or decision.allowed:
            return decision
        ended = f"its exemption ended {format_rfc3339(exemption.until)}"
        return replace(decision, message=f"{decision.message}; {ended}")

    def _examiner(
        self, subject: Subject, force: PolicyInForce, at: datetime
    ) -> Examiner:
        return Examiner(
            self.rules,
            self._cache,
            self._evidence,
            self._consult,
            subject,
            force.stores,
            at,
        )

    def _floor(self) -> datetime | None:
        return None if self._evidence is None else self._evidence.time_floor()

    def _unless_broken(self, subject: Subject, decision: Decision) -> Decision:
        """Let a denied image through if root broke the glass for this very content."""
        digests: Collection[Digest] = subject.content_digests
        reason = self._glass.broken_for(digests) if self._glass else None
        if reason is None:
            return decision
        message = (
            f"{subject.shown} starts because root broke the glass ({reason}); "
            f"otherwise: {decision.message} [{decision.code}]"
        )
        return replace(
            decision,
            allowed=True,
            code=Code.BREAK_GLASS,
            message=clip(message, limit=2000),
        )


def _denied(subject: Subject, policy: HostPolicy) -> Decision | None:
    found = policy.denial_of(subject.all_digests)
    if found is None:
        return None
    digest, why = found
    return denial(Code.DENY_LISTED, f"{subject.shown} ({digest.short}) is {why}")
