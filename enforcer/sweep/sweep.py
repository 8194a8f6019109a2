"""The sweep: call the roll, judge, put on record what changed, stop what is to stop."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from enforcer.admission import Admission
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.record import DecisionRecord
from enforcer.core.standing import Standing, standing_of
from enforcer.core.subject import Claim
from enforcer.ports import AdmissionRequest, Clock, LiveEngines, Roll, SweepLog
from enforcer.sweep.memory import Known, Memory, record_of
from enforcer.sweep.report import MAX_SHOWN, Found, SweepRules, SweepView
from enforcer.sweep.restarts import Restarts
from enforcer.sweep.stops import Stops

LOOK_SECONDS = 0.25  # at what judging depends on; a change is reported within a second
ROLL_SECONDS = 5.0  # to know what runs by the time that a change comes
FAILED_SECONDS = 10.0  # until a sweep that failed is tried again
MAX_PROBLEMS = 20  # told; an engine that is down is one
SURE_TRIES = 2  # to find out what runs, before it is told that nobody can say
ASKED_BY = "sweep"

log = structlog.get_logger("sweep")


class Sweep:
    """Judges what runs, in a thread of its own; `view` may be read from any."""

    def __init__(
        self,
        *,
        admission: Admission,
        engines: LiveEngines,
        audit: SweepLog,
        clock: Clock,
        rules: SweepRules,
        marks: Callable[[], object],
        stops: Callable[[], bool],
        doubt: Callable[[], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it judges with.

        `marks` returns another value when a decision may have changed; `stops` whether
        the policy says to stop, where the rules do not; `doubt` why no denial is to
        be trusted as far as stopping goes, or "".
        """
        self._admission = admission
        self._engines = engines
        self._audit = audit
        self._clock = clock
        self._marks = marks
        self._now = now
        self._memory = Memory(engines)
        self._stops = Stops(engines, audit, clock, rules, by_policy=stops, doubt=doubt)
        self._restarts = Restarts(admission, engines)
        self._changed, self._ending = threading.Event(), threading.Event()
        self._wake = threading.Event()
        self._seen: object = None
        self._sweep_at = self._roll_at = self._rest_until = 0.0
        self._rules = rules
        self.view = SweepView()

    def changed(self, rules: SweepRules) -> None:
        """Judge again at once: another policy is in force, or other rules."""
        self._rules = self._stops.rules = rules
        self._sweep_at = min(self._sweep_at, self._now() + rules.every_seconds)
        self._changed.set()
        self._wake.set()

    def end(self) -> None:
        """Have `run` return as soon as it can."""
        self._ending.set()
        self._wake.set()

    def run(self) -> None:
        """Sweep until `end` is called. A failure is told, and tried again later."""
        while not self._ending.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001 - or nothing is swept again
                why = f"the sweep failed with {type(error).__name__}"
                self._show(self.view, [f"{why} [{Code.SWEEP_FAILED}]"])
                self._ending.wait(FAILED_SECONDS)
                self._changed.set()
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def turn(self) -> None:
        """Look once; sweep if there is a reason to."""
        began = self._now()
        marks = self._marks()
        changed = self._changed.is_set() or marks != self._seen
        changed = changed and began >= self._rest_until
        due = began >= self._sweep_at
        if changed or due or began >= self._roll_at:
            self._roll_at = began + ROLL_SECONDS
            if changed:
                self._changed.clear()
                self._seen = marks
            self._sweep(began, changed=changed, due=due)
        if changed:  # whoever changes things all the time gets half of our time
            self._rest_until = 2 * self._now() - began
        self._restarts.look(began)
        self.view = replace(self.view, restarted=self._restarts.restarted)

    def _sweep(self, now: float, *, changed: bool, due: bool) -> None:
        roll = self._roll()
        known = self._memory.call(roll.running)
        if due:
            self._sweep_at = now + self._rules.every_seconds
        if changed:  # first what needs no engine
            self._judge([one for one in known if one.claim is not None])
        learnt = self._memory.learn(known, now, anew=due)
        self._judge(known if due else learnt)
        denied = [one for one in known if one.is_denied]
        problems = self._stops.stop(denied, now, self._changed.is_set)
        view = self._seen_now(known, judged=changed or due)
        self._show(view, [*roll.problems, *problems])

    def _roll(self) -> Roll:
        """Ask what runs; where nobody can say, what ran before is all there is."""
        try:
            return self._engines.running()
        except EnforcerError as error:
            return Roll(self._memory.running, (f"{error.what} [{error.code}]",))

    def _judge(self, known: Sequence[Known]) -> None:
        """Weigh each claim once, and put on record where that changed something."""
        drafts: dict[Claim, DecisionRecord] = {}
        news: list[tuple[Known, DecisionRecord]] = []
        for one in known:
            if one.claim is None and one.tries < SURE_TRIES:
                continue  # it is just being made, or its engine started again
            if one.claim is None:
                draft = self._unjudged(one)
            elif one.claim in drafts:
                draft = drafts[one.claim]
            else:
                draft = self._admission.assess(one.claim, ASKED_BY)
                drafts[one.claim] = draft
            if one.draft is None or _differ(one.draft, draft):
                news.append((one, record_of(one, draft, self._clock)))
            else:
                one.draft = replace(one.draft, decision=draft.decision, mode=draft.mode)
        told = [record for one, record in news if not _is_no_news(one, record)]
        try:
            self._audit.append_all(told)
        except EnforcerError as error:
            self._changed.set()  # what is not on record was not reported
            self._rest_until = self._now() + FAILED_SECONDS
            log.error("what runs cannot be put on record", reason=str(error))
            return
        for one, record in news:
            self._take(one, record)

    def _take(self, one: Known, record: DecisionRecord) -> None:
        quiet = _is_no_news(one, record)
        new = one.standing in (None, Standing.UNJUDGED)
        one.from_the_start = one.from_the_start and new
        one.draft, one.since = record, record.at
        one.stops, one.misses, one.stop_at, one.stopping = 0, 0, 0.0, ""
        if quiet:
            return
        decision = record.decision
        told = log.info if decision.allowed else log.warning
        told(
            "a running container is " + standing_of(decision),
            container=one.container.id,
            name=one.container.name,
            reference=record.reference,
            code=str(decision.code),
            reason=decision.message,
        )

    def _unjudged(self, one: Known) -> DecisionRecord:
        request = AdmissionRequest(ASKED_BY, container=one.container.ref)
        error = one.problem
        code = error.code if error else Code.NO_RECORD
        why = f"{error.what}. {error.remedy}" if error else "its engine was not asked"
        return self._admission.unrecorded(request, code, why)

    def _show(self, view: SweepView, problems: Sequence[str]) -> None:
        """Put a view and its problems in place at once; log the problems once."""
        told = tuple(clip(problem, limit=500) for problem in problems[:MAX_PROBLEMS])
        for problem in sorted(set(told) - set(self.view.problems)):
            log.warning("sweep", problem=problem)
        self.view = replace(view, problems=told)

    def _seen_now(self, known: Sequence[Known], *, judged: bool) -> SweepView:
        bad = [one for one in known if one.draft and not one.draft.decision.allowed]
        bad.sort(key=lambda one: (not one.is_denied, one.container.name))
        denied = [one for one in bad if one.is_denied]
        found = (_found(one) for one in bad[:MAX_SHOWN])
        return replace(
            self.view,
            at=self._clock.now() if judged else self.view.at,
            running=len(known),
            denied=len(denied),
            unjudged=len(bad) - len(denied),
            from_the_start=sum(one.from_the_start for one in denied),
            stopped=self._stops.stopped,
            found=tuple(one for one in found if one is not None),
        )


def _differ(old: DecisionRecord, new: DecisionRecord) -> bool:
    """Whether a container stands otherwise now: one record for each such change."""
    return (old.decision.allowed, old.decision.code) != (
        new.decision.allowed,
        new.decision.code,
    )


def _is_no_news(one: Known, record: DecisionRecord) -> bool:
    """Whether all is well, as the gate has put on record, or was before."""
    fine = record.decision.allowed
    return fine and (one.draft is None or one.draft.decision.allowed)


def _found(one: Known) -> Found | None:
    if one.draft is None or one.since is None:
        return None
    container, decision = one.container, one.draft.decision
    return Found(
        engine=container.engine,
        namespace=container.namespace,
        container=container.id,
        name=container.name,
        reference=one.draft.reference,
        standing=one.standing or Standing.UNJUDGED,
        code=str(decision.code),
        message=decision.message,
        since=one.since,
        from_the_start=one.from_the_start,
        stopping=one.stopping,
    )
