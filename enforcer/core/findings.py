"""What was asked of a signature, what was found, and what the policy does about it."""

from dataclasses import dataclass
from enum import StrEnum

from enforcer.core.codes import Code
from enforcer.core.digest import Digest


class Check(StrEnum):
    """One question asked of a signature.

    The first five are the Notary Project's verification types
    (trust-store-trust-policy.md, "Signature Verification details").
    """

    INTEGRITY = "integrity"
    AUTHENTICITY = "authenticity"
    TIMESTAMP = "authenticTimestamp"
    EXPIRY = "expiry"
    REVOCATION = "revocation"
    METADATA = "userMetadata"


class Action(StrEnum):
    """What the policy does when a check does not pass."""

    ENFORCE = "enforce"
    LOG = "log"
    SKIP = "skip"


class Result(StrEnum):
    """What a check found. Only `PASSED` opens a door.

    `INCONCLUSIVE` means we could not find out; `NOT_RUN` that an earlier
    enforced check already failed, or that the policy skips this one.
    """

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result, and why, in words an operator can use."""

    check: Check
    result: Result
    action: Action
    code: Code
    because: str

    @property
    def blocks(self) -> bool:
        """Whether this finding alone keeps its signature from counting."""
        return self.action is Action.ENFORCE and self.result is not Result.PASSED


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """Everything found about one signature.

    `signer` is the leaf certificate's subject as RFC 4514 text, escaped for
    display, or "" where no certificate could be read. It is only a claim
    unless the authenticity finding passed.

    Attributes:
        key: The sha256 of the leaf's SubjectPublicKeyInfo, where integrity holds.
        signed: The sha256 of what is signed: the same for every wrapper around it.
        vouches_for: The signers of the host policy that it counts for.
    """

    digest: Digest
    format: str
    signer: str
    findings: tuple[Finding, ...]
    key: Digest | None = None
    signed: Digest | None = None
    vouches_for: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Counts as a signature: it was checked, and nothing blocks."""
        return bool(self.findings) and not any(f.blocks for f in self.findings)

    @property
    def authenticated(self) -> bool:
        """Integrity and authenticity both passed, not merely logged."""
        passed = {f.check for f in self.findings if f.result is Result.PASSED}
        return {Check.INTEGRITY, Check.AUTHENTICITY} <= passed

    @property
    def first_problem(self) -> Finding | None:
        """The finding that blocked it, in the order the checks were made."""
        return next((f for f in self.findings if f.blocks), None)
