"""One certificate's question, and the newest evidence its issuer stands behind."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from cryptography import x509

from enforcer.core.certificate import key_digest
from enforcer.core.evidence import CertificateId, Evidence, Floor, Item, Slot
from enforcer.core.revocation_rules import Answer, RevocationRules, Status
from enforcer.core.revocation_signed import EvidenceError
from enforcer.core.rfc3339 import format_rfc3339


class Vouched(Protocol):
    """Evidence that its issuer stands behind."""

    @property
    def this_update(self) -> datetime:
        """When it was true."""

    @property
    def next_update(self) -> datetime | None:
        """Until when it holds, if it says so."""

    @property
    def floor(self) -> Floor:
        """How new it is."""

    @property
    def shown(self) -> str:
        """What it is, for people."""


_Vouched = TypeVar("_Vouched", bound=Vouched)


def certificate_id(
    certificate: x509.Certificate, issuer: x509.Certificate
) -> CertificateId:
    """Name a certificate by who issued it."""
    return CertificateId(key_digest(issuer), certificate.serial_number)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Is this certificate revoked? With all that may enter into the answer.

    Attributes:
        issuer: The next certificate of the same chain.
        chain: All of it, leaf first: none of these but the issuer may answer.
        authentic_time: When the signature is proven to have existed, or None.
    """

    certificate: x509.Certificate
    issuer: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    evidence: Evidence
    at: datetime
    authentic_time: datetime | None
    rules: RevocationRules

    @property
    def id(self) -> CertificateId:
        """The certificate's name among its issuer's."""
        return certificate_id(self.certificate, self.issuer)


@dataclass(frozen=True, slots=True)
class Found(Generic[_Vouched]):
    """What stands in a slot, newest first.

    `lost` says what was there and is there no more; `problem` why something at hand
    is of no use.
    """

    vouched: tuple[_Vouched, ...]
    lost: str
    problem: str

    @property
    def newest(self) -> tuple[_Vouched, ...]:
        """Those than which none is newer; an issuer may say two things at a time."""
        first = self.vouched[:1]
        return tuple(
            one for one in self.vouched for best in first if not _below(one, best)
        )

    def shortfall(self, missing: str) -> Answer | None:
        """Return why nothing here can be relied on, or None if the newest one can."""
        if self.lost:
            return Answer(Status.LOST, self.lost)
        if not self.vouched:
            return Answer(Status.UNKNOWN, self.problem or missing)
        return None


def look(
    inquiry: Inquiry, slot: Slot, read: Callable[[Item], _Vouched]
) -> Found[_Vouched]:
    """Read everything in a slot, and compare it with what was seen there before."""
    vouched: list[_Vouched] = []
    problem = ""
    for item in inquiry.evidence.at(slot):
        try:
            vouched.append(read(item))
        except EvidenceError as error:
            problem = problem or error.what
    vouched.sort(key=functools.cmp_to_key(_newer_first))
    return Found(tuple(vouched), _lost(inquiry, slot, vouched), problem)


def _below(one: Vouched, other: Vouched) -> bool:
    return other.floor.is_above(one.floor)


def _lost(inquiry: Inquiry, slot: Slot, vouched: list[_Vouched]) -> str:
    memory = inquiry.evidence.memory
    if memory.problem:
        return memory.problem
    floor = memory.floors.get(slot)
    if floor is None:
        return ""
    what = "an answer" if slot.kind == "ocsp" else f"a list from {slot.about}"
    numbered = "" if floor.number is None else f", number {floor.number},"
    seen = f"{what} of {format_rfc3339(floor.this_update)}{numbered}"
    if not vouched:
        return f"{seen} was seen on this host and is there no more"
    if floor.is_above(vouched[0].floor):
        return f"{seen} was seen on this host, and {vouched[0].shown} is older"
    return ""


def is_newer(one: Vouched, other: Vouched) -> bool:
    """Say whether one piece of evidence replaces another.

    Of two of the same moment, the one that holds longer.
    """
    if one.floor.is_above(other.floor) or other.floor.is_above(one.floor):
        return one.floor.is_above(other.floor)
    if one.next_update is None or other.next_update is None:
        return one.next_update is not None
    return one.next_update > other.next_update


def _newer_first(one: Vouched, other: Vouched) -> int:
    if is_newer(one, other):
        return -1
    return 1 if is_newer(other, one) else 0
