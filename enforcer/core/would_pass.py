"""The one thing that would make a refused image pass, in words.

From the decision and, where it is at hand, the policy it was made by. Never says how to
get around a policy: what lacks is a signature, evidence, or something whole.
"""

from collections.abc import Mapping, Sequence

from enforcer.core.codes import PAGES, Code
from enforcer.core.conditions import Conditions
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.core.findings import SignatureReport
from enforcer.core.host_policy import ALWAYS, Demand, HostPolicy
from enforcer.core.host_policy.requirement import Alternative, lacking
from enforcer.core.identity import IdentityKind
from enforcer.core.statement import Statement, TrustPolicy

# What has to be signed, and how, for codes that a new signature is the answer to.
_SIGNED: Mapping[Code, str] = {
    Code.UNSIGNED: "signed by",
    Code.SIGNATURE_INVALID: "signed again, by",
    Code.WRONG_SIGNER: "signed by",
    Code.SIGNATURE_EXPIRED: "signed again, to last longer, by",
    Code.CERTIFICATE_NOT_VALID: (
        "signed again with a certificate that is valid now (if this host's clock is "
        "right), by"
    ),
    Code.NOT_SUPPORTED: "signed without what is not supported, by",
    Code.WRONG_CONTENT: "signed as it is now, by",
    Code.METADATA_MISSING: "signed again with that user metadata, by",
    Code.PLUGIN_FAILED: "signed in a way that its plug-in accepts, by",
    Code.TIMESTAMP_INVALID: "signed again with a countersignature that counts, by",
    Code.CERTIFICATE_REVOKED: "signed with another certificate, not revoked, by",
    Code.REQUIREMENT_UNMET: "also signed by",
    Code.CONDITION_UNMET: "signed again as the policy asks, by",
    Code.TOO_MANY_SIGNATURES: "rid of signatures that do not count, and signed by",
}
_EVIDENCE = frozenset(
    {Code.REVOCATION_UNKNOWN, Code.EVIDENCE_STALE, Code.EVIDENCE_LOST}
)
_FRESH = (
    "would pass if this host had fresh evidence that the signer's certificate is not "
    "revoked: enforcer cache sync"
)


def would_pass(
    decision: Decision,
    policy: HostPolicy | TrustPolicy | None,
    repositories: Sequence[str] = (),
) -> str:
    """Say what would make it pass, as one clause; "" for what is allowed.

    `policy` is the one it was decided by; without it nobody can be named. Of an image
    with `repositories` to judge under, one that is satisfied suffices.
    """
    code = decision.code
    if decision.allowed:
        return ""
    if code is Code.DENY_LISTED:
        return "nothing lets it pass while the policy's deny list names it"
    if code is Code.NO_STATEMENT:
        return "would be judged if a statement of the policy were about this name"
    if code is Code.BUILD_REFUSED:
        return "this host builds no images: build it elsewhere, and sign it"
    if code is Code.LEVEL_NOT_ALLOWED:
        return f"would be judged if statement {decision.statement} had level strict"
    missing = _missing(decision, policy, repositories)
    if code in _EVIDENCE:
        return _FRESH + _beyond_evidence(decision, missing)
    if code in _SIGNED:
        who = _who(decision, policy, missing)
        return f"would pass if {_SIGNED[code]}: {who}"
    return f"would be judged after this: {PAGES[code][1]}"


def _who(
    decision: Decision, policy: HostPolicy | TrustPolicy | None, missing: Alternative
) -> str:
    if isinstance(policy, HostPolicy) and missing:
        named = (_named(n, policy.signers[n]) for n in dict.fromkeys(missing))
        return "; ".join(named) + _distinct(decision, missing)
    if isinstance(policy, TrustPolicy):
        for statement in policy.statements:
            if clip(statement.name) == decision.statement:
                return f"somebody whom it trusts ({_trusts(statement)})"
    return f"whom statement {decision.statement} wants"


def _missing(
    decision: Decision,
    policy: HostPolicy | TrustPolicy | None,
    repositories: Sequence[str],
) -> Alternative:
    """Return who lacks, where least is lacking: one name that is satisfied suffices."""
    if not isinstance(policy, HostPolicy):
        return ()
    vouched = _vouched(decision.signatures)
    found = [policy.demands_on(repository) for repository in repositories]
    demands = [d for d in found if d] or [_demands_named(decision, policy)]
    return min(
        (lacking([d.requirement for d in one], vouched) for one in demands), key=len
    )


def _demands_named(decision: Decision, policy: HostPolicy) -> tuple[Demand, ...]:
    """Return the demands that a decision of the past names, and what always holds."""
    if decision.statement == ALWAYS:
        return (policy.always,)
    found = [d for d in policy.statements if d.name == decision.statement]
    return (policy.always, *found) if found else ()


def _vouched(reports: Sequence[SignatureReport]) -> dict[Digest, set[str]]:
    vouched: dict[Digest, set[str]] = {}
    for report in reports:
        if report.key is not None and report.vouches_for:
            vouched.setdefault(report.key, set()).update(report.vouches_for)
    return vouched


def _distinct(decision: Decision, missing: Alternative) -> str:
    """Add that keys are counted, where somebody who did sign is missing."""
    signed = {name for report in decision.signatures for name in report.vouches_for}
    again = len(missing) > len(set(missing)) or signed & set(missing)
    return " (each with a key of its own, that does not count yet)" if again else ""


def _beyond_evidence(decision: Decision, missing: Alternative) -> str:
    """Add who has to sign besides, if fresh evidence alone is not enough."""
    waiting = [
        report
        for report in decision.signatures
        if (problem := report.first_problem) and problem.code in _EVIDENCE
    ]
    more = len(missing) - len(waiting)
    return f"; and {more} more of {', '.join(missing)} signed it" if more > 0 else ""


def _named(name: str, signer: Statement) -> str:
    return f"{name} ({_trusts(signer)})"


def _trusts(one: Statement) -> str:
    """Say how a signer is recognised: stores, identities, and what else is asked."""
    stores = ", ".join(str(store) for store in one.trust_stores)
    parts = [f"x509 {stores}" if stores else "nobody"]
    for identity in one.identities:
        anybody = identity.kind is IdentityKind.ANY
        parts.append("any certificate of it" if anybody else clip(identity.text))
    return ", ".join([*parts, *_conditions(one.conditions)])


def _conditions(asked: Conditions) -> list[str]:
    found = [clip(f"{key}={value}") for key, value in asked.user_metadata.items()]
    pins = (*sorted(asked.certificates), *sorted(asked.keys))
    found += [f"pinned {digest.short}" for digest in pins]
    if asked.signed_within is not None:
        found.append(f"signed within {asked.signed_within}")
    return found
