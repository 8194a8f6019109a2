"""Every place where evidence about a chain may stand, and what counts there.

The one list of what may be fetched, kept and remembered. A URL gets here only from an
authenticated certificate, or from evidence that its issuer stands behind (law 2).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from enforcer.core.evidence import Evidence, Item, Memory, Revocation, Slot
from enforcer.core.revocation_crl import RevocationList
from enforcer.core.revocation_inquiry import Inquiry, Vouched, look
from enforcer.core.revocation_lists import read_base, read_delta
from enforcer.core.revocation_ocsp import Said, ocsp_request, read_answer
from enforcer.core.revocation_pointers import (
    MAX_URLS,
    DistributionPoint,
    Pointers,
    pointers_of,
)
from enforcer.core.revocation_responder import ask_responders, vouched_answer
from enforcer.core.revocation_rules import NOTATION_RULES
from enforcer.core.revocation_signed import EvidenceError

_TEMPORARY = (
    x509.ReasonFlags.certificate_hold.value,
    x509.ReasonFlags.remove_from_crl.value,
)


@dataclass(frozen=True, slots=True)
class Place:
    """One answer or list that is wanted. Its URLs are alternates, in order.

    Attributes:
        slots: Where what each URL gives is kept.
        request: What to ask a responder; None for a list, which is only fetched.
        read: Returns evidence that counts here, or raises EvidenceError.
    """

    inquiry: Inquiry
    urls: tuple[str, ...]
    slots: tuple[Slot, ...]
    request: bytes | None
    read: Callable[[Item], Vouched]

    def vouched(self, item: Item) -> Vouched | None:
        """Return a piece of evidence as read; None where it does not count."""
        try:
            return self.read(item)
        except EvidenceError:
            return None


def places(
    certificates: Sequence[x509.Certificate],
    evidence: Evidence,
    at: datetime,
    *,
    settled_by_ocsp: bool = False,
) -> Iterator[Place]:
    """Yield every place for a chain, leaf first; more once more evidence is at hand.

    What comes later depends on what is at hand: deltas on their base, a responder's
    own lists on its answer. So ask again with what was found; three times is enough.
    With `settled_by_ocsp`, lists are left out where an answer at hand settles it.
    """
    chain = tuple(certificates)
    for one, issuer in itertools.pairwise(chain):
        inquiry = Inquiry(one, issuer, chain, evidence, at, None, NOTATION_RULES)
        pointers = pointers_of(one)
        yield from _answers(inquiry, pointers)
        settled = pointers.responders and ask_responders(inquiry, pointers)
        if not (settled_by_ocsp and settled and settled.status.settles):
            yield from _lists(inquiry, pointers)


def learn(
    certificates: Sequence[x509.Certificate], evidence: Evidence, at: datetime
) -> Memory:
    """Return what to remember of this evidence about an authenticated chain.

    Only what counts in its place is learnt, so that nobody but an issuer can make
    this host remember a revocation, or take good evidence for old.
    """
    memory = Memory()
    for place in places(certificates, evidence, at):
        for slot in place.slots:
            for item in evidence.at(slot):
                memory = memory.merged(_lesson(place, item))
    return memory


def _lesson(place: Place, item: Item) -> Memory:
    try:
        found = place.read(item)
        said = _for_good(found, place.inquiry)
    except EvidenceError:
        return Memory()
    revoked = {} if said is None else {place.inquiry.id: said}
    return Memory(revoked, {item.slot: found.floor})


def _for_good(found: Vouched, inquiry: Inquiry) -> Revocation | None:
    """The revocation that evidence tells of; a hold ends, and is not remembered."""
    said: list[Revocation] = []
    if isinstance(found, RevocationList):
        serial = inquiry.certificate.serial_number
        said = [entry.revocation(found.shown) for entry in found.entries(serial)]
    elif isinstance(found, Said) and found.revocation is not None:
        said = [found.revocation]
    return next((one for one in said if one.reason not in _TEMPORARY), None)


def _answers(inquiry: Inquiry, pointers: Pointers) -> Iterator[Place]:
    if not pointers.responders:
        return
    slot = Slot.ocsp(inquiry.id)
    yield Place(
        inquiry=inquiry,
        urls=pointers.responders,
        slots=(slot,) * len(pointers.responders),
        request=ocsp_request(inquiry.certificate, inquiry.issuer),
        read=lambda item: vouched_answer(item, inquiry),
    )
    for item in inquiry.evidence.at(slot):
        try:
            delegate = read_answer(item, inquiry).delegate
        except EvidenceError:
            continue
        if delegate is not None:  # issued by the same issuer, else it were an error
            yield from _lists(replace(inquiry, certificate=delegate), None)


def _lists(inquiry: Inquiry, known: Pointers | None) -> Iterator[Place]:
    pointers = known or pointers_of(inquiry.certificate)
    for point in pointers.points:
        yield from _list(inquiry, point)


def _list(inquiry: Inquiry, point: DistributionPoint) -> Iterator[Place]:
    def read(item: Item) -> RevocationList:
        return read_base(item, inquiry, point)

    yield _place(inquiry, point.urls, read)
    for url in point.urls:
        slot = Slot.crl(inquiry.id.issuer, url)
        for base in look(inquiry, slot, read).vouched[:1]:
            yield from _deltas(inquiry, base)


def _deltas(inquiry: Inquiry, base: RevocationList) -> Iterator[Place]:
    urls = tuple(url for point in base.freshest or () for url in point.urls)
    if urls:
        yield _place(
            inquiry,
            tuple(dict.fromkeys(urls))[:MAX_URLS],
            lambda item: read_delta(item, inquiry, base),
        )


def _place(
    inquiry: Inquiry, urls: tuple[str, ...], read: Callable[[Item], Vouched]
) -> Place:
    slots = tuple(Slot.crl(inquiry.id.issuer, url) for url in urls)
    return Place(inquiry, urls, slots, None, read)
