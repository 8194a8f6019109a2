"""Asks the responders' answers about one certificate."""

from dataclasses import replace

from cryptography import x509
from cryptography.x509 import ocsp

from enforcer.core.evidence import Item, Slot
from enforcer.core.revocation_inquiry import Inquiry, look
from enforcer.core.revocation_lists import ask_lists, revoked_because
from enforcer.core.revocation_ocsp import Said, read_answer
from enforcer.core.revocation_pointers import Pointers, pointers_of
from enforcer.core.revocation_rules import Answer, Status
from enforcer.core.revocation_signed import EvidenceError
from enforcer.core.rfc3339 import format_rfc3339

_HOLD = x509.ReasonFlags.certificate_hold.value


def ask_responders(inquiry: Inquiry, pointers: Pointers) -> Answer:
    """Return what the answers at hand say about a certificate that names responders."""
    if not pointers.responders:
        return Answer(Status.UNKNOWN, "it names no responder that is asked by HTTP")
    slot = Slot.ocsp(inquiry.id)
    found = look(inquiry, slot, lambda item: vouched_answer(item, inquiry))
    for said in found.vouched:
        if said.revocation is not None and _is_for_good(said, inquiry):
            return _answer(Status.REVOKED, revoked_because(said.revocation), said)
    short = found.shortfall(f"no answer from {pointers.responders[0]} is at hand")
    if short is not None:
        return short
    return _newest(found.vouched[0], inquiry)


def vouched_answer(item: Item, inquiry: Inquiry) -> Said:
    """Read an answer, and check its responder's own certificate too, if it must be.

    TP624: "If id-pkix-ocsp-nocheck is not present, revocation of the responder must
    be checked with CRLs".

    Raises:
        EvidenceError: It does not count.
    """
    said = read_answer(item, inquiry)
    if said.delegate is not None:
        pointers = pointers_of(said.delegate)
        asked = replace(inquiry, certificate=said.delegate, authentic_time=None)
        if asked.id in inquiry.evidence.memory.revoked:
            raise EvidenceError(f"{said.shown} is signed by a revoked delegate")
        answer = ask_lists(asked, pointers)
        if answer.status is not Status.GOOD:
            raise EvidenceError(
                f"{said.shown} is signed by a delegate whose own certificate is "
                f"{answer.status}: {answer.because}"
            )
    return said


def _newest(said: Said, inquiry: Inquiry) -> Answer:
    stale = inquiry.rules.stale_because(said.this_update, said.next_update, inquiry.at)
    if said.status is ocsp.OCSPCertStatus.GOOD:
        if stale is not None:
            return _answer(Status.STALE, f"{said.shown} {stale}", said)
        return _answer(Status.GOOD, f"not revoked, says {said.shown}", said)
    if said.revocation is None:
        because = f"{said.shown} does not know the certificate"
        return _answer(Status.DISOWNED, because, said)
    if stale is not None:  # a hold that may have ended since, or one that spares
        because = f"{revoked_because(said.revocation)}, which {stale}"
        return _answer(Status.DISOWNED, because, said)
    if said.revocation.spares(inquiry.authentic_time):
        begins = said.revocation.invalid_from
        shown = format_rfc3339(begins) if begins else ""
        because = (
            f"what was signed before {shown} stays good although it is revoked, says "
            f"{said.shown}"
        )
        return _answer(Status.GOOD, because, said)
    return _answer(Status.REVOKED, revoked_because(said.revocation), said)


def _is_for_good(said: Said, inquiry: Inquiry) -> bool:
    """A revocation that no later answer takes back; a hold may be, in time."""
    revocation = said.revocation
    return (
        revocation is not None
        and revocation.reason != _HOLD
        and not revocation.spares(inquiry.authentic_time)
    )


def _answer(status: Status, because: str, said: Said) -> Answer:
    return Answer(status, because, said.url, said.this_update)
