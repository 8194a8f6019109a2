"""Weigh under a host policy: do the keys behind the signatures meet every demand?"""

from collections.abc import Collection, Sequence
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, uncovered
from enforcer.core.errors import clip
from enforcer.core.findings import SignatureReport
from enforcer.core.host_policy import Demand, Exemption, HostPolicy
from enforcer.core.host_policy.verdict import Ledger, accepted, refused
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.subject import ImageName, Subject
from enforcer.core.verify import ReadSignature
from enforcer.weigher.examiner import Examiner
from enforcer.weigher.refusal import denial, digest_text


def weigh_by_host_policy(policy: HostPolicy, examiner: Examiner) -> Decision:
    """Judge under every name; one that allows suffices (design section 6)."""
    subject = examiner.subject
    names = subject.names or (ImageName(subject.shown, ""),)
    found = (policy.demands_on(name.repository) for name in names)
    judged = [demands for demands in found if demands]
    if not judged:
        scope = clip(names[0].repository)
        message = uncovered(subject.shown, digest_text(subject), scope)
        return denial(Code.NO_STATEMENT, message)
    wanted = {n for demands in judged for d in demands for n in d.requirement.names}
    ledger, read = Ledger(policy.signers), list[ReadSignature]()
    for signature in examiner.signatures(policy.signers[name] for name in wanted):
        read.append(signature)
        ledger.note(_ask(wanted, signature, policy, examiner))
        met = next((demands for demands in judged if ledger.meets(demands)), None)
        if met is not None:
            return accepted(subject.shown, met, ledger)
    nearest = min(judged, key=lambda demands: _distance(demands, ledger))
    _ask_the_others(policy.signers.keys() - wanted, read, ledger, policy, examiner)
    return refused(
        subject.shown, digest_text(subject), nearest, ledger, more=examiner.more
    )


def _ask(
    names: Collection[str],
    signature: ReadSignature,
    policy: HostPolicy,
    examiner: Examiner,
) -> dict[str, SignatureReport]:
    return {n: examiner.verify(signature, policy.signers[n]) for n in sorted(names)}


def _ask_the_others(
    names: Collection[str],
    read: Sequence[ReadSignature],
    ledger: Ledger,
    policy: HostPolicy,
    examiner: Examiner,
) -> None:
    """Find out whose the signatures are that do not help here, to be able to say so."""
    for place, signature in enumerate(read):
        if examiner.is_late:
            return
        if signature.opened is not None:
            ledger.note(_ask(names, signature, policy, examiner), place)


def _distance(demands: Sequence[Demand], ledger: Ledger) -> int:
    """How many signers are missing."""
    return sum(len(d.requirement.missing_from(ledger.vouched)) for d in demands)


def exempt(subject: Subject, exemption: Exemption) -> Decision:
    """Allow what the policy exempts."""
    ends = format_rfc3339(exemption.until)
    message = (
        f"{subject.shown} is exempt until {ends} ({exemption.role}: {exemption.reason})"
    )
    return Decision(
        allowed=True,
        code=Code.EXEMPT,
        message=clip(message, limit=2000),
        statement="",
        signatures=(),
    )


def counts_still(exemption: Exemption, *times: datetime | None) -> bool:
    """Whether an exemption has not ended at any of these times."""
    return all(at < exemption.until for at in times if at is not None)
