"""Timing: probes take turns within one run, so that noise falls on all of them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

SOAK_FACTOR = 5

Probe = Callable[[], float]  # does its thing once and returns the milliseconds
Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One measure; `against` is what its ratio is made with."""

    name: str
    values: Sequence[float]
    against: "Row | None" = None
    unit: str = "ms"

    @property
    def middle(self) -> float:
        """The median, which noise moves least."""
        return median(self.values)

    @property
    def lowest(self) -> float:
        """The best one: what it costs when nobody else is on the machine."""
        return min(self.values)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that were measured in turns, below one heading."""

    title: str
    rows: Sequence[Row]


def rounds(count: int) -> int:
    """How often to measure: `count`, or more where ENFORCER_SOAK is set."""
    return count * SOAK_FACTOR if os.environ.get("ENFORCER_SOAK") else count


def interleave(probes: Mapping[str, Probe], count: int) -> Samples:
    """Run every probe once a round, `count` rounds, and one round before that counts.

    Every other round goes backwards, so that nobody always follows the same one.
    """
    samples: Samples = {name: [] for name in probes}
    for number in range(count + 1):
        order = list(probes) if number % 2 else list(probes)[::-1]
        for name in order:
            spent = probes[name]()
            if number:
                samples[name].append(spent)
    return samples


def timed(action: Callable[[], object]) -> Probe:
    """A probe that measures the whole of an action."""

    def probe() -> float:
        started = time.perf_counter()
        action()
        return milliseconds_since(started)

    return probe


def milliseconds_since(started: float) -> float:
    """Milliseconds since an earlier time.perf_counter()."""
    return (time.perf_counter() - started) * 1000


def rows(samples: Samples, baselines: Mapping[str, str]) -> list[Row]:
    """Make rows of samples, in their order; a baseline must come before its users."""
    made: dict[str, Row] = {}
    for name, values in samples.items():
        against = made[baselines[name]] if name in baselines else None
        made[name] = Row(name, values, against)
    return list(made.values())


def spawn(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end, its output thrown away, and return its exit status.

    posix_spawn costs the same however large this process is; fork does not.
    """
    return os.waitstatus_to_exitcode(os.waitpid(start(command, environment), 0)[1])


def start(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a program, its output thrown away, and return its process id."""
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)
    copies = [(os.POSIX_SPAWN_DUP2, 0, number) for number in (1, 2)]
    return os.posix_spawn(
        command[0], list(command), dict(environment), file_actions=[null, *copies]
    )
