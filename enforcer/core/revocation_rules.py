"""How strictly evidence is read, and what one question to it can find."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from enforcer.core.codes import Code
from enforcer.core.rfc3339 import format_rfc3339

# Responders date an answer by their own clock, and a host's may be a little behind.
MAX_CLOCK_SKEW = timedelta(minutes=5)


class OnStale(StrEnum):
    """What evidence counts for once it is too old (design section 6)."""

    DENY = "deny"
    USE_STALE = "use-stale"  # old evidence still counts, missing denies
    ALLOW_AND_FLAG = "allow-and-flag"  # missing passes too, flagged


@dataclass(frozen=True, slots=True)
class RevocationRules:
    """What is too old, and what then.

    `max_age` counts from the issuer's own thisUpdate: when we obtained it proves
    nothing, for whoever is on the network can hand out an old answer today. Evidence
    is too old after its nextUpdate in any case.
    """

    max_age: timedelta | None = None
    on_stale: OnStale = OnStale.DENY

    def __post_init__(self) -> None:
        if self.max_age is not None and self.max_age <= timedelta(0):
            raise ValueError("an age is more than nothing")

    def stale_because(
        self, this_update: datetime, next_update: datetime | None, at: datetime
    ) -> str | None:
        """Say why evidence is too old at this time, or None if it is not."""
        if next_update is None:
            # RFC 6960 allows that; facts 2.3: fail closed, as notation does
            return "does not say until when it holds"
        if at > next_update:  # TP617: "the current time is later than nextUpdate"
            return f"held until {format_rfc3339(next_update)}"
        if self.max_age is not None and at - this_update > self.max_age:
            return f"is of {format_rfc3339(this_update)}, older than {self.max_age}"
        return None


# A Notation trust policy knows nothing but nextUpdate.
NOTATION_RULES = RevocationRules()


class Status(StrEnum):
    """What the evidence says of one certificate."""

    GOOD = "good"
    NOT_REVOKABLE = "not revokable"  # it names neither responder nor list
    STALE = "stale"  # the issuer's last word was "good", too long ago
    UNKNOWN = "unknown"  # nothing usable is at hand
    DISOWNED = "disowned"  # the issuer's last word was something else than "good"
    LOST = "lost"  # we had evidence, or newer evidence, and have it no more
    REVOKED = "revoked"

    @property
    def settles(self) -> bool:
        """Whether asking elsewhere cannot change it."""
        return self in (Status.GOOD, Status.REVOKED, Status.LOST)


CODES = {
    Status.REVOKED: Code.CERTIFICATE_REVOKED,
    Status.LOST: Code.EVIDENCE_LOST,
    Status.STALE: Code.EVIDENCE_STALE,
    Status.DISOWNED: Code.REVOCATION_UNKNOWN,
    Status.UNKNOWN: Code.REVOCATION_UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, why, by which evidence, and of when that is."""

    status: Status
    because: str
    url: str = ""
    this_update: datetime | None = None


def not_yet(this_update: datetime, at: datetime) -> bool:
    """Whether evidence is from the future (RFC 6960 3.2, RFC 5280 6.3.3)."""
    return this_update > at + MAX_CLOCK_SKEW
