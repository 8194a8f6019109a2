"""What would be denied of what runs now, judged in this process, recorded nowhere."""

import time
from dataclasses import dataclass

from enforcer.admission import Admission
from enforcer.assembly import (
    break_glass,
    engines,
    evidence_store,
    host_rules,
    load_policy,
    plugin_runner,
)
from enforcer.audit.clock import HostClock
from enforcer.core.errors import EnforcerError
from enforcer.core.record import DecisionRecord
from enforcer.ports import AdmissionRequest, PolicyInForce
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache

DECISION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Preview:
    """How many images run, which of them would be denied and why.

    `problem` is what is wrong with the policy, if it cannot be used at all.
    """

    images: int
    denied: tuple[tuple[str, str], ...]
    problem: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{len(self.denied)} of {self.images} running images would be denied"

    @property
    def objection(self) -> str:
        """Why not to enforce now; empty if nothing is lost by it."""
        return self.text if self.denied else self.problem


def preview(settings: Settings) -> Preview:
    """Judge every container that runs, as the gate would have it judged."""
    judge = Admission(
        rules=host_rules(settings),
        engines=engines(settings),
        cache=DiskCache(settings.cache_dir),
        policy=_Policy(settings),
        audit=_Nowhere(),
        clock=HostClock(),
        evidence=evidence_store(settings),
        consult=plugin_runner(settings).ask,
        glass=break_glass(settings),
    )
    found: dict[str, str] = {}
    for container in engines(settings).running().running:
        request = AdmissionRequest(asked_by="install", container=container.ref)
        record = judge.judge(request, until=time.monotonic() + DECISION_SECONDS)
        why = "" if record.decision.allowed else _why(record)
        found[record.reference] = found.get(record.reference) or why
    denied = tuple(sorted((name, why) for name, why in found.items() if why))
    return Preview(len(found), denied, _problem(settings))


def _problem(settings: Settings) -> str:
    try:
        load_policy(settings)
    except EnforcerError as error:
        return error.what
    return ""


def _why(record: DecisionRecord) -> str:
    return f"{record.decision.message} [{record.decision.code}]"


class _Policy:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def current(self) -> PolicyInForce:
        return load_policy(self._settings)


class _Nowhere:
    def append(self, record: DecisionRecord) -> None:
        """Keep nothing: nobody is let through by this."""
