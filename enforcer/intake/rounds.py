"""Asks registry after registry about many images: what one cannot, another can."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.collected import Refused
from enforcer.core.errors import EnforcerError
from enforcer.intake.questions import Question
from enforcer.intake.registry import bring
from enforcer.settings import Settings
from enforcer.sources.fetcher import FetcherClient

IMAGE_SECONDS = 120.0  # an index of twenty platforms takes a hundred requests

# A registry that answers so is not asked about the next image, nor one over which the
# fetcher forgot its time: that was two minutes, and each image would cost them.
_ENOUGH = frozenset(
    {Code.REGISTRY_UNREACHABLE, Code.REGISTRY_RATE_LIMITED, Code.FETCHER_SILENT}
)
# Without these nothing can be fetched from anywhere.
_NOWHERE = frozenset(
    {Code.FETCHER_UNREACHABLE, Code.FETCHER_UNTRUSTED, Code.CACHE_UNAVAILABLE}
)


@dataclass(slots=True)
class Round:
    """What became of the questions to one registry.

    Attributes:
        asked: How many images it was asked about.
        absent: How many of those it does not have, and nobody named.
        skipped: How many it was not asked about, after what `problems` ends with.
        problems: The reference that was asked about, and what went wrong.
    """

    registry: str
    asked: int = 0
    signatures: int = 0
    evidence: int = 0
    absent: int = 0
    skipped: int = 0
    refused: list[Refused] = field(default_factory=list)
    problems: list[tuple[str, EnforcerError]] = field(default_factory=list)


def ask_all(
    questions: Iterable[Question],
    settings: Settings,
    client: FetcherClient,
    at: datetime,
) -> list[Round]:
    """Ask each registry about its images, and store what it has.

    Raises:
        EnforcerError: Nothing can be fetched or stored at all.
    """
    by_registry: dict[str, list[Question]] = {}
    for question in questions:
        host = question.reference.repository(local=False).partition("/")[0].lower()
        by_registry.setdefault(host, []).append(question)
    return [
        _ask(Round(registry), asked, settings, client, at)
        for registry, asked in sorted(by_registry.items())
    ]


def _ask(
    done: Round,
    questions: list[Question],
    settings: Settings,
    client: FetcherClient,
    at: datetime,
) -> Round:
    for number, question in enumerate(questions, 1):
        done.asked += 1
        problem = _ask_one(done, question, settings, client, at)
        if problem is not None and problem.code in _ENOUGH:
            done.skipped = len(questions) - number
            break
    return done


def _ask_one(
    done: Round,
    question: Question,
    settings: Settings,
    client: FetcherClient,
    at: datetime,
) -> EnforcerError | None:
    """Ask about one image; return what went wrong, noted already."""
    try:
        brought = bring(question.reference, settings, client, at, seconds=IMAGE_SECONDS)
        problem = brought.problem
        done.signatures += brought.signatures
        done.evidence += brought.evidence
        done.refused += brought.refused
    except EnforcerError as error:
        if error.code in _NOWHERE:
            raise
        problem = error
    if problem is None:
        return None
    if problem.code is Code.REGISTRY_MISSING and not question.named:
        done.absent += 1  # built here, or gone from there
        return None
    done.problems.append((question.reference.text, problem))
    return problem
