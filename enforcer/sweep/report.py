"""What the sweep goes by, and what it found, as values."""

from dataclasses import dataclass
from datetime import datetime

from enforcer.core.standing import Standing

MAX_SHOWN = 100  # in `status`; the audit log has all


@dataclass(frozen=True, slots=True)
class SweepRules:
    """How often, and what becomes of a container that is denied while it runs.

    Attributes:
        on_denied: report or stop; "" leaves it to the policy.
        grace_seconds: From being asked to end until being killed.
    """

    every_seconds: float = 900.0
    on_denied: str = ""
    grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Found:
    """A running container that could not start again now.

    Attributes:
        since: When this was found, aware, UTC.
        from_the_start: It ran when this daemon first looked, and was so then: it runs
            since before this host enforced anything, or that.
        stopping: What is done about it, for people; "" for nothing.
    """

    engine: str
    namespace: str
    container: str
    name: str
    reference: str
    standing: Standing
    code: str
    message: str
    since: datetime
    from_the_start: bool
    stopping: str = ""


@dataclass(frozen=True, slots=True)
class SweepView:
    """What the last look found. `found` is bounded, the numbers count all.

    Attributes:
        at: When everything was judged last; None before the first time.
        from_the_start: How many of the denied were so at the very first look.
        problems: What could not be looked at, or done.
        stopped: How many were asked to end, since this daemon runs.
        restarted: How many that Docker had given up were started again.
    """

    at: datetime | None = None
    running: int = 0
    denied: int = 0
    unjudged: int = 0
    from_the_start: int = 0
    stopped: int = 0
    restarted: int = 0
    found: tuple[Found, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for `systemctl status`; "" where there is nothing to say."""
        parts = []
        if self.denied:
            parts.append(f"{self.denied} of {self.running} running containers denied")
        if self.unjudged:
            parts.append(f"{self.unjudged} running not judged")
        return ", ".join(parts)
