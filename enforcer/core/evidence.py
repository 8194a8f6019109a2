"""Revocation evidence as values: what responders and lists said, and what was seen.

Nothing here vouches for anything: `core.revocation` asks whether an issuer signed it.
Memory may only ever deny.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from enforcer.core.digest import Digest

MAX_ITEMS = 1024  # pieces of evidence about one chain; a real chain has 2 to 6
MAX_CRL_BYTES = 32 * 1024 * 1024  # notation's limit; a list of that size is refused
MAX_OCSP_BYTES = 20 * 1024  # notation's limit; an answer of that size is refused


class EvidenceKind(StrEnum):
    """A responder's answer about one certificate, or a list of an issuer's."""

    OCSP = "ocsp"
    CRL = "crl"


@dataclass(frozen=True, slots=True, order=True)
class CertificateId:
    """A certificate, as its issuer knows it: the issuer's key and the serial number.

    Not the digest of its DER: whoever holds an ECDSA signature can write it in a
    second form, and would have a certificate that nobody remembers.
    """

    issuer: Digest
    serial: int

    def __str__(self) -> str:
        return f"{self.issuer.hex}:{self.serial:x}"


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """The place of one kind of evidence: a newer piece replaces an older one there.

    `about` is the serial number for an answer, and the URL for a list. `issuer` is
    the digest of the key that must vouch for it.
    """

    kind: EvidenceKind
    issuer: Digest
    about: str

    @classmethod
    def ocsp(cls, certificate: CertificateId) -> "Slot":
        """The answers about one certificate."""
        return cls(EvidenceKind.OCSP, certificate.issuer, f"{certificate.serial:x}")

    @classmethod
    def crl(cls, issuer: Digest, url: str) -> "Slot":
        """The lists, complete or delta, that one URL gives."""
        return cls(EvidenceKind.CRL, issuer, url)

    def __str__(self) -> str:
        return f"{self.kind} {self.issuer.hex} {self.about}"


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes that somebody gave: where from, and when we obtained them."""

    slot: Slot
    url: str
    obtained: datetime
    untrusted_der: bytes


@dataclass(frozen=True, slots=True)
class Floor:
    """How new the newest evidence seen in a slot was, as its issuer dates it.

    `number` is the CRL number, None for what has none. `doubt` is set by an answer
    that is not "good": at the same moment it counts, and a good one is a step back.
    """

    this_update: datetime
    number: int | None = None
    doubt: bool = False

    def is_above(self, other: "Floor") -> bool:
        """Whether `other` is a step back from here."""
        if self.number is not None and other.number is not None:
            mine, theirs = self.number, other.number
            if mine != theirs:
                return mine > theirs
        if self.this_update != other.this_update:
            return self.this_update > other.this_update
        return self.doubt and not other.doubt


@dataclass(frozen=True, slots=True)
class Revocation:
    """What an issuer said when it revoked a certificate for good.

    Attributes:
        at: When it was revoked.
        reason: In RFC 5280's words, or "unspecified".
        invalid_from: The invalidityDate; signatures proven older stay good.
        source: Who said so, for people.
    """

    at: datetime
    reason: str
    invalid_from: datetime | None
    source: str

    def spares(self, authentic_time: datetime | None) -> bool:
        """Whether a signature proven to be of that time is older than the trouble.

        TP580: "invalidityDate is later than the authentic signing time".
        """
        known = self.invalid_from is not None and authentic_time is not None
        return known and authentic_time < self.invalid_from  # type: ignore[operator]

    def is_harsher_than(self, other: "Revocation") -> bool:
        """Whether this one spares less than `other`."""
        if self.invalid_from is None or other.invalid_from is None:
            return self.invalid_from is None and other.invalid_from is not None
        return self.invalid_from < other.invalid_from


@dataclass(frozen=True, slots=True)
class Memory:
    """What was seen before: revocations, and how new the evidence was.

    `problem` says that memory itself was lost; then nothing counts as evidence.
    """

    revoked: Mapping[CertificateId, Revocation] = field(default_factory=dict)
    floors: Mapping[Slot, Floor] = field(default_factory=dict)
    problem: str = ""

    def __post_init__(self) -> None:
        for name in ("revoked", "floors"):
            frozen = MappingProxyType(dict(getattr(self, name)))
            object.__setattr__(self, name, frozen)

    def merged(self, other: "Memory") -> "Memory":
        """Return both; where they differ, whatever denies more."""
        revoked, floors = dict(self.revoked), dict(self.floors)
        for certificate, seen in other.revoked.items():
            known = revoked.get(certificate)
            if known is None or seen.is_harsher_than(known):
                revoked[certificate] = seen
        for slot, floor in other.floors.items():
            mine = floors.get(slot)
            if mine is None or floor.is_above(mine):
                floors[slot] = floor
        return Memory(revoked, floors, self.problem or other.problem)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is at hand about some chains. Empty is a valid answer: nothing is."""

    items: tuple[Item, ...] = ()
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        if len(self.items) > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} pieces of evidence")

    def at(self, slot: Slot) -> tuple[Item, ...]:
        """Return what is at hand in one slot, in no order of trust."""
        return tuple(item for item in self.items if item.slot == slot)

    def merged(self, other: "Evidence") -> "Evidence":
        """Return both, each piece once; what was obtained first comes first."""
        items = dict.fromkeys((*self.items, *other.items))
        return Evidence(tuple(items), self.memory.merged(other.memory))

    def with_items(self, items: Iterable[Item]) -> "Evidence":
        """Return this evidence and some more."""
        return self.merged(Evidence(tuple(items)))

    def remembering(self, memory: Memory) -> "Evidence":
        """Return this evidence, judged in the light of what was seen before."""
        return Evidence(self.items, self.memory.merged(memory))


NO_EVIDENCE = Evidence()
