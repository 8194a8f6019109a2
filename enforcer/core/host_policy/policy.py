"""The host policy as a value: who is who, and who must have signed what."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from enforcer.core.conditions import Denial, DenyList
from enforcer.core.digest import Digest
from enforcer.core.host_policy.requirement import Requirement, both
from enforcer.core.host_policy.scope import Scope
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.statement import Statement

ALWAYS = "always"  # what the demand is called that no name escapes
WARN_BEFORE = timedelta(days=28)  # time to have something signed


@dataclass(frozen=True, slots=True)
class Demand:
    """Who must have signed, by which statement. `where` is its `file:line`."""

    name: str
    requirement: Requirement
    where: str
    scopes: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """One digest that starts without being judged, for a while.

    Attributes:
        digest: Of an index, a manifest or a configuration.
        role: What the image is for, such as sandbox.
        until: The first moment it does not count any more.
    """

    digest: Digest
    role: str
    reason: str
    until: datetime

    def __str__(self) -> str:
        return f"{self.digest} ({self.role}: {self.reason})"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Repositories under `prefix` are those under `of`, fetched from elsewhere."""

    prefix: Scope
    of: Scope

    def original(self, repository: str) -> str | None:
        """Return the repository a mirrored one stands for, or None."""
        if not self.prefix.covers(repository):
            return None
        return self.of.text[:-1] + repository[len(self.prefix.text) - 1 :]


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """A checked policy of one or more files. `digest` is of all of them.

    `signers` maps each name to what its signatures are judged by. With `at_floor` the
    time to judge by is the newest that this host has proof of. With `stops`, what it
    denies while it runs is to end; a host may say otherwise.
    """

    signers: Mapping[str, Statement]
    always: Demand
    statements: tuple[Demand, ...]
    digest: Digest
    denied: DenyList = field(default_factory=DenyList)
    exemptions: tuple[Exemption, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    at_floor: bool = False
    stops: bool = False
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "signers", MappingProxyType(dict(self.signers)))

    @property
    def trusts(self) -> tuple[Statement, ...]:
        """All that a signature may be judged by."""
        return tuple(self.signers.values())

    def demands_on(self, repository: str) -> tuple[Demand, ...]:
        """Return all that a name must meet: `always` and its statements.

        () where no statement covers it, or the one that it mirrors: nothing to meet
        is nothing to pass (design section 6).
        """
        names = [repository]
        originals = (mirror.original(repository) for mirror in self.mirrors)
        names += [name for name in originals if name is not None]
        found = [self.statement_for(name) for name in names]
        covering = dict.fromkeys(statement for statement in found if statement)
        return (self.always, *covering) if all(found) else ()

    def statement_for(self, repository: str) -> Demand | None:
        """Return the statement with the most specific scope for a name, or None."""
        covering = [
            (scope.specificity, statement)
            for statement in self.statements
            for scope in statement.scopes
            if scope.covers(repository)
        ]
        return max(covering, key=lambda pair: pair[0])[1] if covering else None

    def denial_of(self, digests: Collection[Digest]) -> tuple[Digest, Denial] | None:
        """Return why one of an image's digests is denied, or None."""
        found = (d for d in sorted(digests) if d in self.denied.images)
        digest = next(found, None)
        return None if digest is None else (digest, self.denied.images[digest])

    def exemption_of(self, digests: Collection[Digest]) -> Exemption | None:
        """Return the longest exemption of one of an image's digests, ended or not."""
        found = [e for e in self.exemptions if e.digest in digests]
        return max(found, key=lambda exemption: exemption.until, default=None)

    def notices(self, at: datetime) -> Iterator[str]:
        """Say what makes this policy laxer than its statements, and what ends soon."""
        for exemption in self.exemptions:
            ends = format_rfc3339(exemption.until)
            if at >= exemption.until:
                yield f"the exemption of {exemption} ended {ends} and does not count"
            elif at >= exemption.until - WARN_BEFORE:
                days = (exemption.until - at).days
                yield f"exempt for {days} more days, until {ends}: {exemption}"
            else:
                yield f"exempt until {ends}: {exemption}"

    def weakest(self) -> tuple[Demand, ...]:
        """Return the demands that renaming can reach and that none undercuts.

        Whoever starts a container chooses its name, and so the statement. Each demand
        is `always` together with one statement. Where two ask for the same, the
        first counts.
        """
        reachable = [
            Demand(s.name, both(self.always.requirement, s.requirement), s.where)
            for s in self.statements
        ]
        return tuple(
            demand
            for index, demand in enumerate(reachable)
            if not any(
                demand.requirement.is_at_least(other.requirement)
                and (place < index or not _same(demand, other))
                for place, other in enumerate(reachable)
                if place != index
            )
        )


def _same(one: Demand, other: Demand) -> bool:
    """Whether each asks for at least the other; `one` is known to."""
    return other.requirement.is_at_least(one.requirement)
