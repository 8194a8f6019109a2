"""The tables of docs/questions.md, which are what its tests expect."""

from dataclasses import dataclass
from pathlib import Path

QUESTIONS = Path("docs/questions.md")
STATES = ("fresh", "stale", "missing", "lying")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: on whom a decision depends, how that is, and what comes of it.

    Attributes:
        policy: What the policy says that it does not say by default, as YAML.
        verdict: `allowed` or `denied`, and the code.
    """

    on: str
    state: str
    happened: str
    policy: str
    verdict: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.on, self.state, self.happened, self.policy)))


def rows() -> tuple[Row, ...]:
    """Return the long table, line by line."""
    return tuple(Row(*(cell.strip("`") for cell in line)) for line in _lines("On"))


def cells() -> dict[tuple[str, str], str]:
    """Return the short table: the verdict of each cell."""
    return {
        (on, state): verdict
        for on, *verdicts in _lines("")
        for state, verdict in zip(STATES, verdicts, strict=True)
    }


def places() -> tuple[str, ...]:
    """Return the places a signature may be in."""
    return tuple(place for place, *_ in _lines("Place"))


def _lines(first: str) -> list[list[str]]:
    """Return the cells below the head that begins with `first`."""
    found: list[list[str]] = []
    inside = False
    for line in QUESTIONS.read_text().splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        parts = [part.strip() for part in line.strip("|").split("|")]
        if inside and set(line) - set("|- "):
            found.append(parts)
        inside = inside or parts[0] == first
    assert found, f"no table in {QUESTIONS} begins with {first!r}"
    return found
