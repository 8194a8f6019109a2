"""What happened at a door, and what it is worth: only our own refusal is one.

A start that failed proves nothing by itself: an engine fails for many reasons. So a
door counts as closed where the engine's words hold our code, and the audit log has
that very decision, about that very image. Where enforcerd was not asked or silent
there is no decision; then the code of the door itself is all there is, and is said.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import Json
from enforcer.ttrpc import ProtocolError

MAX_WORDS = 600  # characters of an engine's, as shown

Decisions = Callable[[str], Mapping[str, Json] | None]  # by id, from the audit log


class Result(StrEnum):
    """What is known about a door after it was tried."""

    REFUSED = "refused"
    OPEN = "open"
    UNPROVEN = "not proven"
    HUNG = "hung"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class DoorResult:
    """One door of one engine.

    Attributes:
        engine: Its kind and socket.
        door: The door's name, with what it was tried with behind a colon.
        code: Of the refusal; for what is no refusal, prove's own. "" where skipped.
        decision: The decision's id in the audit log, or "".
        what: What happened, one line, clipped.
    """

    engine: str
    door: str
    result: Result
    code: str
    decision: str
    what: str

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with this door."""
        return self.result in (Result.REFUSED, Result.SKIPPED)


def is_proven(results: Sequence[DoorResult]) -> bool:
    """Whether every live door refused; where none is live, nothing is proven."""
    refused = any(result.result is Result.REFUSED for result in results)
    return refused and all(result.is_good for result in results)


class NotLiveError(Exception):
    """This host has no such door; the text says why."""


class SaidNoError(Exception):
    """Something refused or failed; the text is what a user would be shown.

    `of_image` is off where another image than ours had to start first, and did not.
    """

    def __init__(self, words: str, *, of_image: bool = True) -> None:
        self.of_image = of_image
        super().__init__(words)


class HungError(Exception):
    """No answer within the time a door gets; the text says to what."""


# All that an attempt may fail with. An answer that makes no sense is a failure, too: it
# never ends the run, and never counts as a refusal.
FAILURES = (
    NotLiveError, SaidNoError, HungError, EnforcerError, ProtocolError,
    OSError, ValueError, LookupError, TypeError, AttributeError,
)  # fmt: skip

# Codes of doors that have no decision: they did not ask, or got no answer.
WITHOUT_DECISION: Collection[str] = frozenset(
    code for code in Code if code.startswith(("ENF-15", "ENF-16"))
)

_REFUSAL = re.compile(
    r"enforcer: (?P<why>.*?)\[(?P<code>ENF-\d{4})\]"
    r"(?:; next: enforcer explain (?:(?P=code)|(?P<decision>\w{1,64}))\b)?",
    re.DOTALL,
)


def tried(
    attempt: Callable[[], str], digests: Collection[str], decisions: Decisions
) -> tuple[Result, str, str, str]:
    """Try a door; return result, code, decision and what happened.

    `attempt` returns what happened where nothing refused; `digests` are the image's.
    """
    try:
        happened = attempt()
    except NotLiveError as error:
        return Result.SKIPPED, "", "", shown(error)
    except HungError as error:
        return Result.HUNG, Code.PROVE_HUNG, "", shown(error)
    except SaidNoError as error:
        return weigh(str(error), digests if error.of_image else None, decisions)
    except FAILURES as error:
        return _unproven("", told(error))
    return Result.OPEN, Code.PROVE_OPEN, "", clip(happened, limit=MAX_WORDS)


def weigh(
    words: str, digests: Collection[str] | None, decisions: Decisions
) -> tuple[Result, str, str, str]:
    """Say what an engine's words are worth; as `tried`, None for whatever image."""
    found = _REFUSAL.search(words)
    if not found:
        return _unproven("", f"failed without enforcer's word: {words}")
    code, decision = found["code"], found["decision"] or ""
    why = clip(found["why"].strip(), limit=MAX_WORDS)
    if not decision:
        if code in WITHOUT_DECISION:
            return Result.REFUSED, code, "", why
        return _unproven("", f"refused, but names no decision: {words}")
    record = decisions(decision)
    if record is None:
        return _unproven(decision, "refused, but the audit log has no such decision")
    if record.get("allowed") is not False or record.get("code") != code:
        return _unproven(decision, "the audit log has another decision by that name")
    if not _is_about(record, digests):
        return _unproven(decision, f"refused for another image's sake: {why}")
    return Result.REFUSED, code, decision, why


def _is_about(record: Mapping[str, Json], digests: Collection[str] | None) -> bool:
    """Whether a decision is about the image; one that got to no image is about none."""
    subject = record.get("subject")
    if not isinstance(subject, Mapping):
        return False
    if digests is None or not subject:
        return True
    return any(digest in digests for digest in subject.values())


def _unproven(decision: str, what: str) -> tuple[Result, str, str, str]:
    code = str(Code.PROVE_UNPROVEN)
    return Result.UNPROVEN, code, decision, clip(what, limit=MAX_WORDS)


def shown(error: Exception) -> str:
    """Return an error's words, clipped."""
    return clip(str(error), limit=MAX_WORDS)


def told(error: Exception) -> str:
    """Return an error's words, and its name where they may say little."""
    ours = isinstance(error, NotLiveError | SaidNoError | HungError | EnforcerError)
    return shown(error) if ours else f"{type(error).__name__}: {shown(error)}"


def left(until: float) -> float:
    """Return how many seconds are left until a time.monotonic(), or raise HungError."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise HungError("its time was over")
    return seconds
