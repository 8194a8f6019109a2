"""A call that fails: no room, no quota, a broken disk, one that is read-only."""

import random
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kept import Keeping, Problem, after_a_crash, steps_of
from tests.crash.tally import Tally
from tests.crash.trace import traced

FAULTS = {
    "openat": ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE"),
    "mkdir": ("ENOSPC", "EDQUOT", "EROFS"),
    "write": ("ENOSPC", "EDQUOT", "EIO"),
    "pwrite64": ("ENOSPC", "EDQUOT", "EIO"),
    "ftruncate": ("EIO",),
    "fsync": ("EIO", "ENOSPC", "EDQUOT"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT"),
    "syncfs": ("EIO", "ENOSPC"),
    "rename": ("ENOSPC", "EROFS", "EIO"),
    "unlink": ("EROFS", "EIO"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "flock": ("ENOLCK",),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The N-th call of this name in a step fails, or each from there on."""

    step: int
    call: str
    number: int
    error: str
    for_good: bool

    def __str__(self) -> str:
        more = "+" if self.for_good else ""
        return f"{self.call}:error={self.error}:when={self.number}{more}"


class Failing:
    """Every step, with each of its calls failing in each way."""

    def __init__(self, keeping: Keeping, folder: Path) -> None:
        self._keeping = keeping
        self._folder = folder
        self._faults: list[Fault] = []
        self.tally = Tally("faults")
        before = self._before(0)
        before.mkdir()
        for number in range(keeping(before).steps):
            after = self._before(number + 1)
            shutil.copytree(self._before(number), after)
            output = folder / "trace"
            traced(steps_of(keeping(after), number, number + 1), output)
            self._faults += _faults_of(number, output)

    def some(self, most: int, seed: int) -> Tally:
        """Try so many, by chance; 0: all."""
        chosen = self._faults
        if 0 < most < len(chosen):
            chosen = random.Random(seed).sample(chosen, most)  # noqa: S311
        for fault in chosen:
            self._try(fault)
        return self.tally

    def _before(self, step: int) -> Path:
        return self._folder / f"before-{step}"

    def _try(self, fault: Fault) -> None:
        place = self._folder / "fault"
        shutil.copytree(self._before(fault.step), place)
        act = steps_of(self._keeping(place), fault.step, fault.step + 1)
        where = f"step {fault.step}, {fault}"
        done = fault.step
        try:
            done += traced(act, self._folder / "trace", f"-einject={fault}").done
        except AssertionError as error:
            self.tally.look([Problem("corrupt", f"no refusal: {error}")], where)
        self.tally.look(after_a_crash(self._keeping(place), done), where)
        self.tally.number += 1
        shutil.rmtree(place)


def _faults_of(step: int, output: Path) -> list[Fault]:
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", output.read_text(), re.MULTILINE))
    return [
        Fault(step, call, number, error, for_good)
        for call, errors in FAULTS.items()
        for number in range(1, calls[call] + 1)
        for error in errors
        for for_good in (False, True)
    ]
