"""What is known of the containers that run: their claims, and how they stand.

A claim holds as long as the process it was read for, so a change of the policy needs
no engine: what runs is weighed again as it was read.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.record import DecisionRecord
from enforcer.core.standing import Standing, standing_of
from enforcer.core.subject import Claim
from enforcer.ports import Clock, EngineError, LiveEngines, RunningContainer

# Of configurations and manifests, in all. A usual image has 10 KiB, and is kept once.
MAX_CLAIM_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0)  # for what an engine did not say


@dataclass(slots=True)
class Known:
    """One running container.

    Attributes:
        claim: What runs in it; None until its engine has said so.
        problem: Why there is no claim, or no newer one.
        draft: The last decision that was put on record, or was nothing to record.
        since: When it began to stand so.
        from_the_start: It was in the first roll, and never stood otherwise.
        stops: How often it was asked to end, and `stop_at` when it may be again.
        misses: How often in a row nobody was there to be asked.
    """

    container: RunningContainer
    claim: Claim | None = None
    problem: EnforcerError | None = None
    tries: int = 0
    try_at: float = 0.0
    draft: DecisionRecord | None = None
    since: datetime | None = None
    from_the_start: bool = False
    stops: int = 0
    misses: int = 0
    stop_at: float = 0.0
    stopping: str = ""

    @property
    def standing(self) -> Standing | None:
        """How it stands; None before it was judged."""
        return standing_of(self.draft.decision) if self.draft else None

    @property
    def is_denied(self) -> bool:
        """Whether it could not start again, for a reason that is certain."""
        return self.standing is Standing.DENIED


class Memory:
    """Remembers what runs, and forgets what does not."""

    def __init__(self, engines: LiveEngines) -> None:
        self._engines = engines
        self._known: dict[RunningContainer, Known] = {}
        self._first = True
        self._claims: dict[Claim, Claim] = {}

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """What ran when the roll was called last."""
        return tuple(self._known)

    def call(self, running: Iterable[RunningContainer]) -> list[Known]:
        """Return all that runs, with what is known of it."""
        old = self._known
        self._known = {
            one: old.get(one) or Known(one, from_the_start=self._first)
            for one in running
        }
        self._first = False
        kept = (k.claim for k in self._known.values() if k.claim is not None)
        self._claims = {claim: claim for claim in kept}
        return list(self._known.values())

    def learn(self, known: Collection[Known], now: float, *, anew: bool) -> list[Known]:
        """Ask the engines what runs in those of which that is not known; return these.

        With `anew`, ask about all. Where the answer fails, an earlier claim stays: it
        is of this very process. An engine that is down is asked once.
        """
        down: dict[str, EnforcerError] = {}
        asked = []
        for one in known:
            if not anew and (one.claim is not None or now < one.try_at):
                continue
            asked.append(one)
            root = one.container.root
            problem = down.get(root) or self._learn(one)
            if problem is not None and problem.code is Code.ENGINE_UNREACHABLE:
                down[root] = problem
            _note(one, problem, now)
        return asked

    def _learn(self, one: Known) -> EnforcerError | None:
        try:
            found = self._engines.resolve(one.container.ref)
            if not isinstance(found, Claim):
                raise EngineError("it is no container", remedy="Report it.")
            one.claim = self._kept(found)
        except EnforcerError as error:
            return error
        except Exception as error:  # noqa: BLE001 - one must not hide all the others
            why = f"enforcer failed with {type(error).__name__}"
            return EngineError(why, remedy="Report it.", code=Code.INTERNAL)
        return None

    def _kept(self, claim: Claim) -> Claim:
        """Return the one copy of a claim; containers of an image share it."""
        found = self._claims.get(claim)
        if found is None:
            size = sum(map(_size, (*self._claims, claim)))
            if size > MAX_CLAIM_BYTES:
                raise EngineError(
                    "the images that run here have more manifests and configurations "
                    "than are kept in mind",
                    remedy="What starts is judged all the same.",
                    code=Code.TOO_LARGE,
                )
            found = self._claims[claim] = claim
        return found


def record_of(one: Known, draft: DecisionRecord, clock: Clock) -> DecisionRecord:
    """Make of what was decided about a claim the record of one container."""
    container = clip(one.container.id)
    return replace(draft, id=clock.new_id(), at=clock.now(), container=container)


def retry_seconds(tries: int) -> float:
    """Return how long to wait after so many tries in vain before this one."""
    return RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]


def _note(one: Known, problem: EnforcerError | None, now: float) -> None:
    one.problem = problem
    if problem is None:
        one.tries = 0
        return
    one.try_at = now + retry_seconds(one.tries)
    one.tries += 1


def _size(claim: Claim) -> int:
    mounted = (image for mount in claim.mounts for image in mount.images)
    own = len(claim.config) + sum(len(content.raw) for content in claim.contents)
    return own + sum(map(_size, mounted))
