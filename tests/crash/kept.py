"""What a campaign needs from something that keeps state on disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enforcer.core.errors import EnforcerError
from tests.crash.stepping import Act, Told


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be: `kind` is corrupt, lost or orphan."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class Kept(Protocol):
    """State in a folder that is changed in steps, each whole or not at all."""

    steps: int

    def do(self, number: int) -> None:
        """Do a step; when this returns, it is committed."""
        ...

    def problems(self, done: int, *, midway: bool) -> Iterator[Problem]:
        """Yield what a reader finds amiss after `done` steps.

        `midway`: the next step may have been begun, once or more often.
        """
        ...

    def start(self) -> None:
        """Do what any writer does first."""
        ...

    def leftovers(self) -> Iterator[Problem]:
        """Yield what is amiss once a writer has started: damage, and orphans."""
        ...


Keeping = Callable[[Path], Kept]


def after_a_crash(kept: Kept, done: int) -> Iterator[Problem]:
    """Yield what is amiss for a reader, for the next writer, and when it goes on."""
    yield from kept.problems(done, midway=True)
    try:
        kept.start()
        yield from kept.problems(done, midway=True)
        yield from kept.leftovers()
        if done < kept.steps:
            kept.do(done)
            yield from kept.problems(done + 1, midway=False)
    except EnforcerError as error:
        yield Problem("corrupt", f"the next writer: {error}")


def steps_of(kept: Kept, first: int, end: int, *, again: bool = False) -> Act:
    """Return what a writer does: it starts, and does these steps, telling of each.

    With `again` it does a step that was refused once more; else it ends there.
    """

    def act(told: Told) -> None:
        last = min(end, kept.steps)
        for number in range(first, last):
            try:
                kept.start()
                kept.do(number)
            except EnforcerError:
                if not again:
                    return
                kept.do(number)
            told()
        if first >= last:
            kept.start()

    return act
