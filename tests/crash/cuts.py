"""Power cuts: what every state of a disk between two calls leaves of a host's state."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.disk import Committed, Operation, State, some, state, synced
from tests.crash.kept import Keeping, after_a_crash, steps_of
from tests.crash.recording import Recording
from tests.crash.tally import Tally
from tests.crash.trace import traced

ALL, SYNCED = -1, 0
AFTERMATH = 400  # operations: a step or two
LUCKY = 8  # states with some of what was not synced, for each operation


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut after so many operations, and what of them reached the disk."""

    after: int
    luck: int


def recorded(keeping: Keeping, folder: Path, *, fault: str = "") -> Recording:
    """Do all steps where they are watched.

    With a fault (strace's `inject=`) a first process may be killed at an fsync(2), and
    another goes on; or a step is refused, and done again at once. What such a one left
    need not last, whatever the next finds.
    """
    place = folder / "traced"
    place.mkdir()
    recording = Recording(place)
    kept, done = keeping(place), 0
    output = folder / "trace"
    for options in ([f"-einject={fault}"] if fault else []), []:
        if done < kept.steps:
            act = steps_of(kept, done, kept.steps, again=True)
            done += traced(act, output, *options).done
            recording.add(output)
    shutil.rmtree(place)
    return recording


def replay(
    keeping: Keeping, recording: Recording, folder: Path, *, states: int | None
) -> Tally:
    """Look at this many states, evenly taken from all; None: at each.

    Where there was a fault, all are those that follow it.
    """
    first, end = recording.fault_at, len(recording.operations) + 1
    cuts = [
        Cut(after, luck)
        for after in range(first, min(end, first + AFTERMATH) if first else end)
        for luck in range(ALL, LUCKY + 1)
    ]
    most = len(cuts) if states is None else states
    chosen = (cuts[number * len(cuts) // most] for number in range(most))
    tally = Tally("power cuts")
    for cut in chosen:
        place = folder / "state"
        _write_out(_state(recording, cut), place)
        done = _commits(recording, cut)
        tally.look(after_a_crash(keeping(place), done), f"{cut}, step {done}")
        shutil.rmtree(place)
        tally.number += 1
    return tally


def _state(recording: Recording, cut: Cut) -> State:
    seen = recording.operations[: cut.after]
    if cut.luck == ALL:
        kept: Sequence[Operation] = seen
    elif cut.luck == SYNCED:
        kept = synced(seen)
    else:
        kept = some(seen, random.Random(f"{cut.after}/{cut.luck}"))  # noqa: S311
    return state(kept, frozenset(recording.folders))


def _commits(recording: Recording, cut: Cut) -> int:
    seen = recording.operations[: cut.after]
    return sum(isinstance(one, Committed) for one in seen)


def _write_out(tree: State, place: Path) -> None:
    place.mkdir()
    for name, content in tree.items():
        if content is None:
            (place / name).mkdir(mode=0o700)
        elif not name.endswith("-shm"):  # SQLite's shared memory is no file's content
            (place / name).write_bytes(content)
            (place / name).chmod(0o600)
