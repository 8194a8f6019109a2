"""Stop what is denied while it runs, where this host wants that.

Only in enforce mode, only for what somebody decided (`core.standing`), never while what
judging depends on is in doubt, and never before it is on record.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.record import DecisionRecord
from enforcer.core.standing import may_stop
from enforcer.ports import Clock, LiveEngines, SweepLog
from enforcer.sweep.memory import Known, record_of, retry_seconds
from enforcer.sweep.report import SweepRules

AGAIN_SECONDS = 5.0  # after an engine that could not be asked
MARGIN_SECONDS = 15.0  # on top of the grace, for the engine to kill it
MAX_TRIES = 5  # to stop one container; then somebody has to look
_UNASKED = (  # nobody was there to be asked, so that was no try
    Code.AUDIT_UNAVAILABLE,
    Code.DOCKER_UNREACHABLE,
    Code.ENGINE_UNREACHABLE,
    Code.RESOLVER_SILENT,
    Code.RESOLVER_UNREACHABLE,
)

log = structlog.get_logger("sweep")


class Stops:
    """Asks containers to end."""

    def __init__(
        self,
        engines: LiveEngines,
        audit: SweepLog,
        clock: Clock,
        rules: SweepRules,
        *,
        by_policy: Callable[[], bool],
        doubt: Callable[[], str],
    ) -> None:
        self._engines = engines
        self._audit = audit
        self._clock = clock
        self._by_policy = by_policy
        self._doubt = doubt
        self.rules = rules
        self.stopped = 0

    def stop(
        self, denied: Sequence[Known], now: float, is_over: Callable[[], bool]
    ) -> list[str]:
        """Stop these, where that is wanted; return what went wrong.

        `is_over` says that they have to be judged again first.
        """
        rules = self.rules
        wanted = rules.on_denied == "stop" if rules.on_denied else self._by_policy()
        for one in denied if not wanted else ():
            one.stopping = ""
        candidates = [one for one in denied if wanted and _is_enforced(one)]
        doubt = self._doubt() if candidates else ""
        problems = [f"nothing is stopped: {doubt}"] if doubt else []
        for one in candidates:
            if is_over():
                break
            error = self._consider(one, now, doubt)
            if error is not None:
                problems.append(f"{one.container.name} is not stopped: {error}")
                if error.code is Code.BUSY:
                    break
        return problems

    def _consider(self, one: Known, now: float, doubt: str) -> EnforcerError | None:
        draft = one.draft
        if draft is None or now < one.stop_at:
            return None
        if doubt or not may_stop(draft.decision):
            one.stopping = f"not stopped for this [{Code.SWEEP_NOT_STOPPED}]"
            return None
        if one.stops >= MAX_TRIES:
            one.stopping = f"does not end [{Code.SWEEP_STOP_FAILED}]"
            return None
        return self._ask_to_end(one, draft, now)

    def _ask_to_end(
        self, one: Known, draft: DecisionRecord, now: float
    ) -> EnforcerError | None:
        """Put it on record, then do it."""
        grace = self.rules.grace_seconds
        decision = draft.decision
        why = f"{decision.message} [{decision.code}]"
        what = f"{one.container.name} is stopped, with {grace} s to end: {why}"
        stopping = replace(
            decision, code=Code.SWEEP_STOPPED, message=clip(what, limit=2000)
        )
        told = {"container": one.container.id, "name": one.container.name}
        record = record_of(one, replace(draft, decision=stopping), self._clock)
        try:
            self._audit.append_all([record])
            self._engines.stop(one.container, grace)
        except EnforcerError as error:
            _put_off(one, error.code, now)
            code = str(Code.SWEEP_STOP_FAILED)
            log.warning("not stopped", code=code, reason=str(error), **told)
            return error
        one.stops, one.misses = one.stops + 1, 0
        one.stop_at = now + grace + MARGIN_SECONDS
        one.stopping = f"asked to end, killed after {grace} s [{Code.SWEEP_STOPPED}]"
        self.stopped += 1
        log.warning("stopped", code=str(Code.SWEEP_STOPPED), reason=why, **told)
        return None


def _put_off(one: Known, code: Code, now: float) -> None:
    """Say when to ask again: later each time, for each is on record."""
    one.stop_at = now + AGAIN_SECONDS
    if code in _UNASKED:
        one.stop_at = now + retry_seconds(one.misses)
        one.misses += 1
    elif code is not Code.BUSY:
        one.stops += 1


def _is_enforced(one: Known) -> bool:
    return one.draft is not None and one.draft.mode == "enforce"
