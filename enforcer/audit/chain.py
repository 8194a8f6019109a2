"""Whether the audit log is as it was written: each line has the hash of the last one.

The chain shows what was changed, taken out, put in or moved between two lines that are
there. Two ends need a word from elsewhere: what was rotated away at the beginning, and
the last line, which nothing follows. For that, name a hash that was the last one once.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enforcer.audit.log import FIRST, KEPT_FILES
from enforcer.audit.reader import KeptFile, Line, open_log
from enforcer.core.errors import EnforcerError

WRITING_SECONDS = 0.2  # a line and the wait for the disk take some milliseconds
MAX_BREAKS = 20  # named; what is broken that often is not this log any more

_CHAIN = "prev"  # the hash is another line's: a second pass finds out whose
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold, and how. `what` is for people."""

    path: Path
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was found.

    Attributes:
        files: How many are kept.
        lines: How many they have.
        breaks: At most MAX_BREAKS; with `more` there are others.
        begins: The `prev` of the oldest line: FIRST, or what was rotated away.
        head: The hash of the newest line, "" without any.
    """

    files: int
    lines: int
    breaks: tuple[Break, ...]
    more: bool
    begins: str
    head: str


@dataclass(slots=True)
class _Walk:
    """One pass over all lines."""

    known: dict[str, str]  # hashes to find -> what to say if they are not there
    lines: int = 0
    begins: str = ""
    last: Line | None = None
    head: str = ""
    broken: list[tuple[Line, str, str]] = field(default_factory=list)
    more: bool = False

    def add(self, line: Line, *, oldest: int) -> None:
        prev, problem = _prev(line)
        if not problem and self.last is None:
            self.begins = prev
            problem = _beginning(prev, oldest)
        elif not problem and prev != self.head:
            problem = _CHAIN
        if problem and len(self.broken) == MAX_BREAKS:
            self.more = True
        elif problem:
            self.broken.append((line, prev, problem))
        self.last, self.head = line, line.hash
        self.lines += 1
        self.known.pop(self.head, None)


def check_chain(folder: Path, known: dict[str, str] | None = None) -> ChainReport:
    """Check every line that is kept.

    `known` has hashes of lines that must be there, and who said so.

    Raises:
        EnforcerError: There is no log, or it cannot be read.
    """
    report, torn = _check(folder, known or {})
    if torn:  # half of a line that is being written, or what a crash left of one
        time.sleep(WRITING_SECONDS)
        report, _ = _check(folder, known or {})
    return report


def _check(folder: Path, known: dict[str, str]) -> tuple[ChainReport, bool]:
    walk = _Walk(dict(known))
    with open_log(folder) as files:
        for line in _lines(files):
            walk.add(line, oldest=files[0].number)
        breaks = _named(walk, files)
    end = walk.last or Line(files[-1].path, 0, b"")
    for hash_, who in walk.known.items():
        breaks.append(
            Break(
                end.path,
                end.number,
                f"the line that {who} ({hash_[:12]}) is not there: it was changed, or "
                "the log was cut off before it",
            )
        )
    report = ChainReport(
        len(files), walk.lines, tuple(breaks), walk.more, walk.begins, walk.head
    )
    return report, walk.last is not None and not walk.last.is_whole


def _lines(files: Sequence[KeptFile]) -> Iterator[Line]:
    for kept in files:
        yield from kept.lines()


def _prev(line: Line) -> tuple[str, str]:
    """Return the hash a line carries, or what is wrong with the line."""
    try:
        prev = line.members().get("prev")
    except EnforcerError as error:
        return "", f"it is no line of the audit log: {error.what}"
    if not isinstance(prev, str) or not _HASH.fullmatch(prev):
        return "", "it carries no hash of the line before it"
    return prev, ""


def _beginning(prev: str, oldest: int) -> str:
    """Say what is wrong with where the log begins; rotation alone drops lines there."""
    if prev == FIRST or oldest >= KEPT_FILES:
        return ""
    return (
        f"lines before it were taken away: rotation keeps {KEPT_FILES} full files "
        f"before it drops any, and there are {oldest}"
    )


def _named(walk: _Walk, files: Sequence[KeptFile]) -> list[Break]:
    """Say of each break what was done, as far as the other lines tell."""
    unclear = [(line, prev) for line, prev, problem in walk.broken if problem == _CHAIN]
    wanted = {hash_ for line, prev in unclear for hash_ in (line.hash, prev)}
    places: dict[str, list[Line]] = {}
    for line in _lines(files) if wanted else ():
        if line.hash in wanted and len(places.setdefault(line.hash, [])) < 2:
            places[line.hash].append(line)  # itself, and one more
    return [
        Break(
            line.path,
            line.number,
            problem if problem != _CHAIN else _what(line, prev, places),
        )
        for line, prev, problem in walk.broken
    ]


def _what(line: Line, prev: str, places: dict[str, list[Line]]) -> str:
    here = (line.path, line.number)
    copies = [o for o in places.get(line.hash, ()) if (o.path, o.number) != here]
    before = places.get(prev, ())
    if copies:
        return f"it is there twice: {copies[0].place} is the same"
    if before:
        return (
            f"it was written after {before[0].place}, which is not the line before "
            "it: lines were moved or put in"
        )
    if prev == FIRST:
        return "a new log begins here: what was before it had been taken away"
    return (
        "the line it was written after is not there: the one before it was changed, "
        "or lines or whole files between them were taken away"
    )
