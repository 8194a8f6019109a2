"""Asks an issuer's lists about one certificate: complete ones and their deltas.

Lists of several distribution points add up until every reason is covered (RFC 5280
6.3.3). Whatever lists a certificate for good counts, be it old.
"""

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from enforcer.core.evidence import Item, Revocation, Slot
from enforcer.core.revocation_crl import (
    RevocationList,
    coverage,
    read_list,
    require_delta_of,
)
from enforcer.core.revocation_inquiry import Found, Inquiry, look
from enforcer.core.revocation_pointers import (
    ALL_REASONS,
    DistributionPoint,
    Pointers,
)
from enforcer.core.revocation_rules import Answer, Status
from enforcer.core.revocation_signed import EvidenceError
from enforcer.core.rfc3339 import format_rfc3339

_HOLD, _UNHOLD = (
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.remove_from_crl,
)
_Reasons = frozenset[x509.ReasonFlags]
_NONE: _Reasons = frozenset()


def ask_lists(inquiry: Inquiry, pointers: Pointers) -> Answer:
    """Return what the lists that a certificate points to say about it."""
    found = [
        answer
        for point in pointers.points
        for answer in _ask_point(inquiry, point, pointers)
    ]
    worst = _first(found, Status.REVOKED) or _first(found, Status.LOST)
    return worst or _covered(found)


def read_base(item: Item, inquiry: Inquiry, point: DistributionPoint) -> RevocationList:
    """Read a complete list that covers the certificate, or raise EvidenceError.

    A list of something else must not even be remembered: whoever is on the network
    could pass off another part's list, with a higher number, as the newest.
    """
    found = read_list(item, inquiry.issuer, inquiry.at)
    if found.base_number is not None:
        raise EvidenceError(f"{found.shown} is not a complete list")
    coverage(found, point, inquiry.certificate)
    return found


def read_delta(item: Item, inquiry: Inquiry, base: RevocationList) -> RevocationList:
    """Read a delta of the same scope as `base`, or raise EvidenceError."""
    found = read_list(item, inquiry.issuer, inquiry.at)
    if found.base_number is None:
        raise EvidenceError(f"{found.shown} is not a delta CRL")
    if found.scope != base.scope:
        raise EvidenceError(f"{found.shown} has another scope than its base")
    return found


def _first(found: list[tuple[Answer, _Reasons]], status: Status) -> Answer | None:
    return next((answer for answer, _ in found if answer.status is status), None)


def _covered(found: list[tuple[Answer, _Reasons]]) -> Answer:
    """Add up what good lists tell of, then what old ones do, until nothing is left."""
    covered = _NONE
    for status in (Status.GOOD, Status.STALE):
        for answer, reasons in found:
            covered |= reasons if answer.status is status else _NONE
            if answer.status is status and covered >= ALL_REASONS:
                return answer
    if covered:
        return Answer(Status.UNKNOWN, "the lists at hand tell of some reasons only")
    return _shortfall(answer for answer, _ in found)


def _ask_point(
    inquiry: Inquiry, point: DistributionPoint, pointers: Pointers
) -> Iterable[tuple[Answer, _Reasons]]:
    for url in point.urls:  # alternates: any one will do
        slot = Slot.crl(inquiry.id.issuer, url)
        found = look(inquiry, slot, lambda item: read_base(item, inquiry, point))
        yield _ask_slot(inquiry, found, point, pointers, url)


def _ask_slot(
    inquiry: Inquiry,
    found: Found[RevocationList],
    point: DistributionPoint,
    pointers: Pointers,
    url: str,
) -> tuple[Answer, _Reasons]:
    for old in found.vouched[1:]:
        revoked = _listed_for_good(inquiry, old)
        if revoked is not None:
            return revoked, _NONE
    short = found.shortfall(f"no list from {url} is at hand")
    if not found.vouched:
        return short or Answer(Status.UNKNOWN, "nothing is at hand", url), _NONE
    try:
        asked = [_ask_newest(inquiry, one, point, pointers) for one in found.newest]
    except EvidenceError as error:
        return short or Answer(Status.UNKNOWN, error.what, url), _NONE
    revoked_first = sorted(asked, key=lambda a: a[0].status is not Status.REVOKED)
    answer, reasons = revoked_first[0]
    if short is not None and answer.status is not Status.REVOKED:
        return short, _NONE
    return answer, reasons


def _ask_newest(
    inquiry: Inquiry,
    base: RevocationList,
    point: DistributionPoint,
    pointers: Pointers,
) -> tuple[Answer, _Reasons]:
    """Ask a complete list with its deltas. Raises EvidenceError where it is no use."""
    reasons = coverage(base, point, inquiry.certificate)
    deltas, problem = _deltas(inquiry, base, pointers)
    said = _said(inquiry, (base, *deltas))
    if said.status is Status.REVOKED:  # TP579: be the list expired or not
        return said, reasons
    if problem is not None:
        return problem, reasons
    stale = inquiry.rules.stale_because(base.this_update, base.next_update, inquiry.at)
    if stale is not None:
        return _answer(Status.STALE, f"{base.shown} {stale}", base), reasons
    return said, reasons


def _deltas(
    inquiry: Inquiry, base: RevocationList, pointers: Pointers
) -> tuple[tuple[RevocationList, ...], Answer | None]:
    """Return the deltas that continue `base`, and why they do not do, or None.

    The URLs are alternates; a list that announces deltas counts with one only.
    """
    if base.freshest is None:
        if not pointers.has_freshest:
            return (), None
        what = f"the certificate announces deltas, and {base.shown} does not"
        return (), Answer(Status.UNKNOWN, f"{what}; that is not supported")
    usable: list[RevocationList] = []
    problems: list[Answer] = []
    one_is_fine = False
    for url in dict.fromkeys(url for point in base.freshest for url in point.urls):
        slot = Slot.crl(inquiry.id.issuer, url)
        found = look(inquiry, slot, lambda item: read_delta(item, inquiry, base))
        delta, problem = _newest_delta(inquiry, found, base, url)
        one_is_fine |= problem is None
        usable += [delta] if delta is not None else []
        problems += [problem] if problem is not None else []
    lost = next((p for p in problems if p.status is Status.LOST), None)
    if one_is_fine:
        return tuple(usable), lost
    return tuple(usable), _shortfall(problems)


def _newest_delta(
    inquiry: Inquiry, found: Found[RevocationList], base: RevocationList, url: str
) -> tuple[RevocationList | None, Answer | None]:
    """Return the delta to read, if any, and why it is not good enough, if so."""
    short = found.shortfall(f"no delta list from {url} is at hand")
    if not found.vouched:
        return None, short
    delta = found.vouched[0]
    try:
        require_delta_of(delta, base)
    except EvidenceError as error:
        return None, short or Answer(Status.UNKNOWN, error.what, url)
    stale = inquiry.rules.stale_because(
        delta.this_update, delta.next_update, inquiry.at
    )
    if short is None and stale is not None:
        short = _answer(Status.STALE, f"{delta.shown} {stale}", delta)
    return delta, short


def _said(inquiry: Inquiry, lists: tuple[RevocationList, ...]) -> Answer:
    """Fold what a list and its deltas say, as notation does (TP579-587).

    A hold ends by a later removal; whatever else is listed is revoked.
    """
    held: tuple[Revocation, RevocationList] | None = None
    latest: datetime | None = None
    spared = ""
    for number, one in enumerate(lists):
        for entry in one.entries(inquiry.certificate.serial_number):
            said = entry.revocation(one.shown)
            if entry.reason is _UNHOLD and number == 0:
                raise EvidenceError(f"{one.shown} removes what only a delta can")
            if said.spares(inquiry.authentic_time):
                spared = f", and {_sparing(said)}"
            elif entry.reason not in (_HOLD, _UNHOLD):
                return _answer(Status.REVOKED, revoked_because(said), one)
            elif latest is None or latest < entry.at:
                latest = entry.at
                held = (said, one) if entry.reason is _HOLD else None
    if held is not None:
        return _answer(Status.REVOKED, revoked_because(held[0]), held[1])
    names = " and ".join(one.shown for one in lists)
    return _answer(Status.GOOD, f"not revoked, says {names}{spared}", lists[0])


def _listed_for_good(inquiry: Inquiry, old: RevocationList) -> Answer | None:
    """A revocation that only an older list tells of; a hold may have ended since."""
    try:
        entries = old.entries(inquiry.certificate.serial_number)
    except EvidenceError:
        return None
    for entry in entries:
        said = entry.revocation(old.shown)
        if entry.reason in (_HOLD, _UNHOLD) or said.spares(inquiry.authentic_time):
            continue
        return _answer(Status.REVOKED, revoked_because(said), old)
    return None


def _answer(status: Status, because: str, one: RevocationList) -> Answer:
    return Answer(status, because, one.url, one.this_update)


def revoked_because(said: Revocation) -> str:
    """Say when and why something was revoked, and who says so."""
    when = format_rfc3339(said.at)
    return f"revoked at {when} ({said.reason}), says {said.source}"


def _sparing(said: Revocation) -> str:
    begins = format_rfc3339(said.invalid_from) if said.invalid_from else ""
    return f"what was signed before {begins} stays good although it is revoked"


def _shortfall(answers: Iterable[Answer]) -> Answer:
    """The most telling of several answers that do not do."""
    order = (Status.LOST, Status.STALE, Status.UNKNOWN)
    listed = [answer for answer in answers if answer.status in order]
    if not listed:
        return Answer(Status.UNKNOWN, "no list that can be fetched tells of it")
    return min(listed, key=lambda answer: order.index(answer.status))
