"""What Docker gave up at a refusal is started again once it would be allowed.

Only what would be: the gate judges it once more, and has the last word. Tries are few,
for a start that is refused over and over helps nobody.
"""

from dataclasses import dataclass

import structlog

from enforcer.admission import Admission
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.subject import Claim
from enforcer.ports import LiveEngines, RefusedContainer

LOOK_SECONDS = 10.0  # reading the records of a thousand ended containers takes 50 ms
TRY_AFTER_SECONDS = (0.0, 30.0, 300.0)  # the tries there are, each so long after

log = structlog.get_logger("sweep")


@dataclass(slots=True)
class _Tried:
    tries: int = 0
    at: float = 0.0


class Restarts:
    """Looks for what Docker gave up, and has it started."""

    def __init__(self, admission: Admission, engines: LiveEngines) -> None:
        self._admission = admission
        self._engines = engines
        self._tried: dict[str, _Tried] = {}
        self._look_at = 0.0
        self.restarted = 0

    def look(self, now: float) -> None:
        """Start what may be, if it is time to look."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            refused = self._engines.refused()
        except EnforcerError:  # the sweep has told of it
            return
        # What is up again, or gone, begins anew when it is refused again.
        self._tried = {one.id: self._tried.get(one.id) or _Tried() for one in refused}
        for one in refused:
            self._consider(one, self._tried[one.id], now)

    def _consider(self, one: RefusedContainer, tried: _Tried, now: float) -> None:
        if tried.tries >= len(TRY_AFTER_SECONDS) or now < tried.at:
            return
        if not isinstance(one.claim, Claim):
            return
        if not self._admission.assess(one.claim, "sweep").decision.allowed:
            return
        tried.tries += 1
        last = tried.tries == len(TRY_AFTER_SECONDS)
        tried.at = now if last else now + TRY_AFTER_SECONDS[tried.tries]
        told = {"container": one.id, "name": one.name, "refused": one.code}
        try:
            self._engines.start(one)
        except EnforcerError as error:
            code, why = str(Code.SWEEP_RESTART_FAILED), str(error)
            log.warning("not started again", code=code, reason=why, **told)
            return
        self.restarted += 1
        code = str(Code.SWEEP_RESTARTED)
        log.info("started again what Docker gave up", code=code, **told)
