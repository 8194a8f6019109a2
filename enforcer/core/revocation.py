"""Revocation by evidence: what is at hand decides; nothing is fetched here.

Follows trust-store-trust-policy.md, "Certificate Revocation Evaluation", and the RFCs
it builds on. For every certificate but the root:

1. What memory holds against it counts, whatever newer evidence says.
2. It names neither responder nor list: it cannot be revoked, and passes.
3. An OCSP answer settles it, if one is good enough.
4. Otherwise its lists do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.evidence import Evidence
from enforcer.core.findings import Result
from enforcer.core.identity import subject_text
from enforcer.core.notary import Outcome, failed, inconclusive
from enforcer.core.revocation_inquiry import Inquiry
from enforcer.core.revocation_lists import ask_lists, revoked_because
from enforcer.core.revocation_pointers import Pointers, pointers_of
from enforcer.core.revocation_responder import ask_responders
from enforcer.core.revocation_rules import (
    CODES,
    NOTATION_RULES,
    Answer,
    OnStale,
    RevocationRules,
    Status,
)
from enforcer.core.revocation_signed import EvidenceError, as_evidence_error

_SETTLED_BADLY = (Status.REVOKED, Status.LOST, Status.DISOWNED)


@dataclass(frozen=True, slots=True)
class CertificateFinding:
    """What was found about one certificate.

    Attributes:
        number: Its place in the chain, 1 for the leaf.
        subject: For people.
        passes: Whether it may count, by the rules it was judged by.
        url: Where the evidence is from that decided, or "".
        age: Of that evidence, by its issuer's own date; None without any.
    """

    number: int
    subject: str
    status: Status
    passes: bool
    because: str
    url: str = ""
    age: timedelta | None = None

    @property
    def text(self) -> str:
        """The finding as a clause: which certificate, and why."""
        return f'certificate #{self.number} "{self.subject}": {self.because}'


@dataclass(frozen=True, slots=True)
class ChainRevocation:
    """A finding for every certificate but the root, and the answer they add up to."""

    findings: tuple[CertificateFinding, ...]
    outcome: Outcome


def judge_revocation(
    certificates: Sequence[x509.Certificate],
    evidence: Evidence,
    at: datetime,
    *,
    authentic_time: datetime | None = None,
    rules: RevocationRules = NOTATION_RULES,
) -> ChainRevocation:
    """Say of every certificate below the root what the evidence says of it.

    `certificates` are leaf first, each issued by the next (checked before), root
    last: who would revoke a root is the trust store. `authentic_time` is when the
    signature is proven to have existed, by a signing authority or an RFC 3161
    countersignature that was verified.
    """
    chain = tuple(certificates)
    findings = tuple(
        _judge(number, chain, evidence, at, authentic_time, rules)
        for number in range(1, len(chain))
    )
    return ChainRevocation(findings, _fold(findings))


def judge_chain_revocation(
    certificates: Sequence[x509.Certificate],
    evidence: Evidence,
    at: datetime,
    *,
    authentic_time: datetime | None = None,
    rules: RevocationRules = NOTATION_RULES,
) -> Outcome:
    """Return the answer alone; for a signer's chain and a TSA's (H11) alike."""
    return judge_revocation(
        certificates, evidence, at, authentic_time=authentic_time, rules=rules
    ).outcome


def ask_certificate(inquiry: Inquiry) -> Answer:
    """Return what the evidence says of one certificate; steps 1 to 4 above."""
    remembered = inquiry.evidence.memory.revoked.get(inquiry.id)
    if remembered is not None and not remembered.spares(inquiry.authentic_time):
        because = f"{revoked_because(remembered)} (remembered)"
        return Answer(Status.REVOKED, because)
    pointers = pointers_of(inquiry.certificate)
    if not pointers.any:
        because = "non-revokable: it names no list or responder"
        return Answer(Status.NOT_REVOKABLE, because)
    return _ask_both(inquiry, pointers)


def _ask_both(inquiry: Inquiry, pointers: Pointers) -> Answer:
    # R1: OCSP first; whatever keeps it from settling, the lists are asked.
    said = ask_responders(inquiry, pointers) if pointers.asks_responder else None
    if said is not None and (said.status.settles or not pointers.points):
        return said
    listed = ask_lists(inquiry, pointers)
    if said is None or listed.status.settles:
        return listed
    if said.status is Status.UNKNOWN and listed.status is Status.UNKNOWN:
        return Answer(Status.UNKNOWN, f"{said.because}; {listed.because}")
    # Neither says "good" and is young enough. An issuer's last word weighs most.
    return listed if said.status is Status.UNKNOWN else said


def _judge(
    number: int,
    chain: tuple[x509.Certificate, ...],
    evidence: Evidence,
    at: datetime,
    authentic_time: datetime | None,
    rules: RevocationRules,
) -> CertificateFinding:
    certificate, issuer = chain[number - 1], chain[number]
    inquiry = Inquiry(certificate, issuer, chain, evidence, at, authentic_time, rules)
    try:
        with as_evidence_error(f"certificate #{number}"):
            answer = ask_certificate(inquiry)
    except EvidenceError as error:
        answer = Answer(Status.DISOWNED, error.what)
    return CertificateFinding(
        number=number,
        subject=subject_text(certificate.subject),
        status=answer.status,
        passes=_passes(answer.status, rules),
        because=clip(answer.because, limit=1000),
        url=clip(answer.url),
        age=None if answer.this_update is None else at - answer.this_update,
    )


def _passes(status: Status, rules: RevocationRules) -> bool:
    if status in (Status.GOOD, Status.NOT_REVOKABLE):
        return True
    if status is Status.STALE:
        return rules.on_stale is not OnStale.DENY
    # A revocation, and what was lost, pass nowhere (design section 6).
    return status is Status.UNKNOWN and rules.on_stale is OnStale.ALLOW_AND_FLAG


def _fold(findings: tuple[CertificateFinding, ...]) -> Outcome:
    """TP539: one that is revoked or unknown is enough; the worst is named."""
    for status in (*_SETTLED_BADLY, Status.UNKNOWN, Status.STALE):
        for finding in findings:
            if finding.status is status and not finding.passes:
                answer = failed if status is Status.REVOKED else inconclusive
                return answer(CODES[status], finding.text)
    flagged = [f for f in findings if f.status in CODES]
    if flagged:
        because = "flagged: " + "; ".join(f.text for f in flagged)
        return Outcome(Result.PASSED, CODES[flagged[0].status], because)
    told = [f.text for f in findings if f.status is not Status.NOT_REVOKABLE]
    because = (
        "; ".join(told) or "non-revokable: no certificate names a list or responder"
    )
    return Outcome(Result.PASSED, Code.ALLOWED, because)
