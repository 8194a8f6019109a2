"""What a decision means for a container that runs already.

At a start every doubt is a no. What runs was allowed once, or was there before; taking
it down for a doubt would let a broken disk or a wrong clock take down a host.
"""

from enum import StrEnum

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.findings import Result

# What somebody decided: signed or did not, revoked, listed, wrote into the policy.
_DECIDED = frozenset(
    {
        Code.UNSIGNED,
        Code.NO_STATEMENT,
        Code.WRONG_SIGNER,
        Code.METADATA_MISSING,
        Code.CERTIFICATE_REVOKED,
        Code.REQUIREMENT_UNMET,
        Code.DENY_LISTED,
        Code.LEVEL_NOT_ALLOWED,
        Code.NO_IMAGE,
    }
)
# Certain, too, but time alone brings it about, or a damaged byte.
_PASSED_BY = frozenset(
    {
        Code.SIGNATURE_INVALID,
        Code.SIGNATURE_EXPIRED,
        Code.CERTIFICATE_NOT_VALID,
        Code.WRONG_CONTENT,
        Code.TIMESTAMP_INVALID,
        Code.CONDITION_UNMET,
    }
)


class Standing(StrEnum):
    """How a running container stands. Only the first could start again now."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNJUDGED = "not judged"


def standing_of(decision: Decision) -> Standing:
    """Say how a container stands whose start would be decided so."""
    if decision.allowed:
        return Standing.ALLOWED
    known = decision.code in _DECIDED | _PASSED_BY
    return Standing.DENIED if known else Standing.UNJUDGED


def may_stop(decision: Decision) -> bool:
    """Whether a container may be stopped for this: somebody decided it, no doubt."""
    doubts = (
        finding
        for report in decision.signatures
        for finding in report.findings
        if finding.blocks and finding.result is Result.INCONCLUSIVE
    )
    decided = not decision.allowed and decision.code in _DECIDED
    return decided and next(doubts, None) is None
