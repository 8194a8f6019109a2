"""What a campaign found."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.crash.kept import Problem

KINDS = ("corrupt", "lost", "orphan")
MOST_TOLD = 20  # problems of each kind written out; more are counted


@dataclass
class Tally:
    """How often what happened."""

    what: str
    number: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def look(self, problems: Iterable[Problem], where: str) -> None:
        """Count each of them."""
        for problem in problems:
            self.kinds[problem.kind] += 1
            if self.kinds[problem.kind] <= MOST_TOLD:
                self.told.append(f"{problem} ({where})")

    def __str__(self) -> str:
        counts = ", ".join(f"{self.kinds[k]} {_plural(k)}" for k in KINDS)
        return f"{self.number} {self.what}: {counts}"


def _plural(kind: str) -> str:
    return f"{kind}s" if kind == "orphan" else kind
