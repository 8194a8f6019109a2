"""kill -9 at random calls and at random times, again and again, and what is left."""

import random
import shutil
import time
from pathlib import Path

from tests.crash.kept import Keeping, after_a_crash, steps_of
from tests.crash.stepping import Life, killed_after, killed_at
from tests.crash.tally import Tally

MOST_LIVES = 3  # a writer that is killed, the next one while it clears up, another


class Killing:
    """Rounds that start from the state after any step, each from its own seed."""

    def __init__(self, keeping: Keeping, folder: Path, seed: int) -> None:
        self._keeping = keeping
        self._folder = folder
        self._seed = seed
        self._steps = keeping(folder / "before-0").steps
        self._stops: list[int] = []
        self._seconds: list[float] = []
        self.tally = Tally("kills")
        self._prepare()

    def until(self, kills: int) -> Tally:
        """Kill so often, and return what was found."""
        number = 0
        while self.tally.number < kills:
            self._round(number, kills - self.tally.number)
            number += 1
        return self.tally

    def _prepare(self) -> None:
        """Keep the state before each step, and measure what each step takes."""
        (self._folder / "before-0").mkdir()
        for number in range(self._steps):
            before = self._folder / f"before-{number}"
            after = before.with_name(f"before-{number + 1}")
            act = steps_of(self._keeping(after), number, number + 1)
            shutil.copytree(before, after)
            self._stops.append(killed_at(act, None).stops)
            shutil.rmtree(after)
            shutil.copytree(before, after)
            began = time.monotonic()
            act(lambda: None)
            self._seconds.append(time.monotonic() - began)

    def _round(self, number: int, most: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311
        done = chance.randrange(self._steps)
        place = self._folder / "round"
        shutil.copytree(self._folder / f"before-{done}", place)
        where = f"seed {self._seed}, round {number}"
        for _ in range(min(most, chance.randint(1, MOST_LIVES))):
            how, life = self._live(place, done, chance)
            done += life.done
            where += f"; step {done} {how}"
            self.tally.number += life.killed
            if chance.random() < 0.5 or not life.killed:
                kept = self._keeping(place)
                self.tally.look(kept.problems(done, midway=True), where)
                del kept  # no child shares a database that is open
        self.tally.look(after_a_crash(self._keeping(place), done), where)
        shutil.rmtree(place)

    def _live(self, place: Path, done: int, chance: random.Random) -> tuple[str, Life]:
        act = steps_of(self._keeping(place), done, done + 2)
        if chance.random() < 0.5:
            stop = chance.randrange(sum(self._stops[done : done + 2]) + 1)
            return f"stop {stop}", killed_at(act, stop)
        seconds = chance.random() * sum(self._seconds[done : done + 2])
        return f"{seconds * 1000:.3f} ms", killed_after(act, seconds)
