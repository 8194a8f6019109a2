"""The table of image references, and what each engine makes of every one.

`references.json` has one row a line: a text, and per engine the repository it means
there, REFUSED, or one of the other answers below. A person writes texts; the answers
are written by observing the engines: `python -m tests.vectors.observe`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("references.json")

REFUSED = None
# Docker says that it has no image of this id. It says so of `library/sha256:…`, too,
# and cannot tag an image so: "refusing to create an ambiguous tag".
IMAGE_ID = "(an image's id)"
NO_IMAGE = "(no image)"  # Docker makes a container from nothing

# Those that complete a short name, as the distribution project's library does.
NORMALISING = ("docker-28", "docker-28-overlay2", "docker-20.10", "cri-2.1", "cri-1.6")
# containerd itself completes nothing: its answer is the place it would fetch from.
LITERAL = "containerd-2.1"
ENGINES = (*NORMALISING, LITERAL)

Answers = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A text, the group of the table it is in, and each engine's answer."""

    group: str
    text: str
    answers: Answers


def load() -> tuple[Row, ...]:
    """Return the table; rows that were never observed have no answers."""
    groups = json.loads(TABLE.read_text(encoding="ascii"))
    return tuple(
        Row(group, row["text"], {name: row[name] for name in ENGINES if name in row})
        for group, rows in groups.items()
        for row in rows
    )


def save(rows: Iterable[Row]) -> None:
    """Write the table, one row a line, in printable ASCII."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        answers = {name: row.answers[name] for name in ENGINES if name in row.answers}
        line = json.dumps({"text": row.text, **answers})
        groups.setdefault(row.group, []).append(line)
    parts = (
        f"{json.dumps(group)}: [\n" + ",\n".join(lines) + "\n]"
        for group, lines in groups.items()
    )
    TABLE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="ascii")
