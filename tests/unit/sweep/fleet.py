"""Engines that do as a test says. The judgement behind them is the real one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from enforcer.core.errors import EnforcerError
from enforcer.core.record import DecisionRecord
from enforcer.core.subject import Claim
from enforcer.ports import (
    BuildStep,
    ContainerRef,
    Holdings,
    ImageRef,
    RefusedContainer,
    Roll,
    RunningContainer,
)
from enforcer.sweep import Sweep, SweepRules
from enforcer.weigher import HostRules
from tests.unit.test_admission import CLAIM, World

ROOT = "/var/lib/docker"


def container(number: int = 1, **members: object) -> RunningContainer:
    found = RunningContainer(
        engine="docker",
        root=ROOT,
        namespace="moby",
        id=f"c{number}",
        name=f"web-{number}",
        started="7-1",
        bundle=f"/run/b/c{number}",
        shim_pid=6,
    )
    return replace(found, **members)  # type: ignore[arg-type]  # a test knows them


def refused(**members: object) -> RefusedContainer:
    found = RefusedContainer(ROOT, "r1", "db", "ENF-1601", CLAIM)
    return replace(found, **members)  # type: ignore[arg-type]  # a test knows them


@dataclass
class Fleet:
    """The engines, their clock, and what they were told."""

    world: World
    running_now: list[RunningContainer] = field(default_factory=list)
    given_up: list[RefusedContainer] = field(default_factory=list)
    claims: dict[str, Claim | Exception] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    stopped: list[tuple[str, int]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    on_running: EnforcerError | None = None
    on_stop: Exception | None = None
    after_stop: Callable[[], None] = lambda: None
    on_start: Exception | None = None
    on_record: EnforcerError | None = None
    records: list[DecisionRecord] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    seconds: float = 1000.0
    mark: int = 0
    policy_stops: bool = False
    doubt: str = ""

    def running(self) -> Roll:
        self._may_say()
        return Roll(tuple(self.running_now), self.problems)

    def resolve(self, container: ContainerRef) -> Claim | BuildStep:
        self.asked.append(container.id)
        found = self.claims.get(container.id, CLAIM)
        if isinstance(found, Exception):
            raise found
        return found

    def resolve_image(self, image: ImageRef) -> NoReturn:
        raise AssertionError("the sweep has no business with images at rest")

    def held(self) -> Holdings:
        self._may_say()
        return Holdings((), self.problems)

    def refused(self) -> tuple[RefusedContainer, ...]:
        self._may_say()
        return tuple(self.given_up)

    def _may_say(self) -> None:
        if self.on_running:
            raise self.on_running

    def stop(self, container: RunningContainer, grace_seconds: int) -> None:
        self.order.append("stop")
        if self.on_stop:
            raise self.on_stop
        self.stopped.append((container.id, grace_seconds))
        self.after_stop()

    def start(self, container: RefusedContainer) -> None:
        self.started.append(container.id)
        if self.on_start:
            raise self.on_start

    def append_all(self, records: Sequence[DecisionRecord]) -> None:
        if self.on_record and records:
            raise self.on_record
        self.order += [str(record.decision.code) for record in records]
        self.records += records

    def told(self) -> list[tuple[str, str]]:
        """Every record so far: container and code."""
        return [(r.container, str(r.decision.code)) for r in self.records]

    def sweep(
        self, rules: SweepRules | None = None, host: HostRules | None = None
    ) -> Sweep:
        return Sweep(
            admission=self.world.admission(host),
            engines=self,
            audit=self,
            clock=self.world,
            rules=rules or SweepRules(),
            marks=lambda: self.mark,
            stops=lambda: self.policy_stops,
            doubt=lambda: self.doubt,
            now=lambda: self.seconds,
        )
