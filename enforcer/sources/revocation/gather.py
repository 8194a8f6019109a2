"""Asks responders and fetches lists, for chains that are already authenticated.

Law 2 by construction: the only way in takes an `AuthenticatedChain`, which cannot be
made without verifying every link to a certificate of a trust store. What is fetched
is followed further (a list's deltas, a responder's own list) only once its issuer is
known to stand behind it.
"""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import quote

from enforcer.core.evidence import (
    MAX_CRL_BYTES,
    MAX_OCSP_BYTES,
    NO_EVIDENCE,
    Evidence,
    Item,
    Slot,
)
from enforcer.core.fetching import FetchError, Request
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.revocation_places import Place, places
from enforcer.core.revocation_rules import NOTATION_RULES
from enforcer.core.revocation_signed import EvidenceError

MAX_REQUESTS = 64  # in one run; three certificates with three URLs each make 9
MAX_GET = 255  # RFC 6960 A.1: a longer question is posted


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait: for one answer, for one list (D14), and for all of it."""

    ocsp_seconds: float = 2.0
    crl_seconds: float = 5.0
    total_seconds: float = 30.0


class Fetcher(Protocol):
    """Who does the asking."""

    def fetch(self, request: Request) -> bytes:
        """Return the body of a 200, or raise FetchError."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A URL that gave nothing of use, and why."""

    url: str
    because: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was obtained in one run, and what was not."""

    evidence: Evidence
    problems: tuple[Unanswered, ...]


def gather(
    chains: Sequence[AuthenticatedChain],
    at: datetime,
    *,
    fetcher: Fetcher,
    known: Evidence = NO_EVIDENCE,
    thorough: bool = False,
    limits: Limits | None = None,
) -> Gathered:
    """Ask every responder and list that these chains name, once, one after the other.

    Without `thorough`, lists are left alone where an OCSP answer settles it, as in
    notation; with it both are had, so that the one serves when the other is too old.
    `known` only tells where to look for more; none of it is in what is returned.
    Whatever goes wrong is a line in `problems`, never an exception.
    """
    run = _Run(
        at=at,
        fetcher=fetcher,
        limits=limits or Limits(),
        until=time.monotonic() + (limits or Limits()).total_seconds,
        evidence=known,
    )
    for chain in chains:
        while (place := run.next_place(chain, thorough=thorough)) is not None:
            run.ask(place)
    return Gathered(Evidence(tuple(run.items)), tuple(run.problems))


@dataclass(slots=True)
class _Run:
    at: datetime
    fetcher: Fetcher
    limits: Limits
    until: float
    evidence: Evidence
    items: list[Item] = field(default_factory=list)
    problems: list[Unanswered] = field(default_factory=list)
    asked: set[tuple[tuple[Slot, ...], tuple[str, ...]]] = field(default_factory=set)
    requests: int = 0

    def next_place(self, chain: AuthenticatedChain, *, thorough: bool) -> Place | None:
        """Return the next place not asked yet, in the light of what was found."""
        if self.requests >= MAX_REQUESTS or self._left() <= 0:
            return None
        found = places(
            chain.chain.certificates,
            self.evidence,
            self.at,
            settled_by_ocsp=not thorough,
        )
        for place in found:
            key = (place.slots, place.urls)
            if place.urls and key not in self.asked:
                self.asked.add(key)
                return place
        return None

    def ask(self, place: Place) -> None:
        """Try a place's URLs until one gives something of use (TP567, TP604)."""
        for url, slot in zip(place.urls, place.slots, strict=True):
            if self.requests >= MAX_REQUESTS or self._left() <= 0:
                self.problems.append(Unanswered(url, "was not asked: no time left"))
                return
            self.requests += 1
            try:
                raw = self.fetcher.fetch(self._request(place, url))
            except FetchError as error:
                self.problems.append(Unanswered(url, error.because))
                continue
            if self._take(place, Item(slot, url, self.at, raw)):
                return

    def _take(self, place: Place, item: Item) -> bool:
        """Keep what is of use; say whether no alternate need be asked any more."""
        try:
            found = place.read(item)
        except EvidenceError as error:
            self.problems.append(Unanswered(item.url, error.what))
            # An answer may still count, once its responder's own list is here.
            if place.request is not None:
                self._keep(item)
            return False
        self._keep(item)
        stale = NOTATION_RULES.stale_because(
            found.this_update, found.next_update, self.at
        )
        if stale is not None:
            self.problems.append(Unanswered(item.url, f"gives evidence that {stale}"))
        return stale is None

    def _keep(self, item: Item) -> None:
        self.items.append(item)
        self.evidence = self.evidence.with_items([item])

    def _left(self) -> float:
        return self.until - time.monotonic()

    def _request(self, place: Place, url: str) -> Request:
        if place.request is None:
            seconds = min(self.limits.crl_seconds, self._left())
            return Request(url, "application/pkix-crl, */*", MAX_CRL_BYTES, seconds)
        seconds = min(self.limits.ocsp_seconds, self._left())
        accept = "application/ocsp-response"
        question = base64.b64encode(place.request).decode()
        if len(question) < MAX_GET:
            asked = f"{url.removesuffix('/')}/{quote(question, safe='')}"
            return Request(asked, accept, MAX_OCSP_BYTES, seconds)
        return Request(
            url,
            accept,
            MAX_OCSP_BYTES,
            seconds,
            body=place.request,
            content_type="application/ocsp-request",
        )
