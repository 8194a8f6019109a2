"""Disks without room or without inodes, and read-only ones: real file systems.

Runs as root in a mount namespace of its own (`unshare -m`). Every step is tried with
nothing left, with a block more, and so on until it fits: the disk is full at each
place once.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kept import Keeping, Problem, after_a_crash, steps_of
from tests.crash.stepping import Told, watched
from tests.crash.tally import Tally

BLOCK_BYTES = 4096
MOST_SPARE = 400  # blocks or inodes; each step fits long before


@dataclass(frozen=True, slots=True)
class Small:
    """A kind of file system, and what there is little of on it."""

    kind: str
    short_of: str

    def __str__(self) -> str:
        return f"{self.kind} short of {self.short_of}"


SMALL = tuple(
    Small(kind, short_of)
    for kind in ("tmpfs", "ext4 4096", "ext4 1024")  # sizes of blocks
    for short_of in ("blocks", "inodes")
)


class Filling:
    """All steps on small disks."""

    def __init__(self, keeping: Keeping, folder: Path) -> None:
        self._keeping = keeping
        self._folder = folder
        self._disk = folder / "disk"
        self._disk.mkdir()
        self.tally = Tally("full disks")
        self._before(0).mkdir()
        self._steps = keeping(self._before(0)).steps
        for number in range(self._steps):
            after = self._before(number + 1)
            shutil.copytree(self._before(number), after)
            keeping(after).do(number)

    def every(self, stride: int) -> Tally:
        """Try each step with 0, `stride`, twice that ... blocks or inodes to spare."""
        for small, step in itertools.product(SMALL, range(self._steps)):
            for spare in range(0, MOST_SPARE, stride):
                if self._fits(small, step, spare):
                    break
        for step in range(self._steps):
            with self._mounted(Small("tmpfs", "blocks")):
                self._read_only(step)
        return self.tally

    def _before(self, step: int) -> Path:
        return self._folder / f"before-{step}"

    def _fits(self, small: Small, step: int, spare: int) -> bool:
        """Try it; whatever comes of it, look while full, and when there is room."""
        where = f"step {step}, {small} but {spare}"
        with self._mounted(small):
            place = self._copied(step)
            fill = _fill_blocks if small.short_of == "blocks" else _fill_inodes
            ballast = fill(self._disk, spare)
            done = self._do(place, step)
            self._look(place, step + done, where)
            shutil.rmtree(ballast)
            self._go_on(place, step + done, f"{where}, then room")
        self.tally.number += not done
        return done

    def _read_only(self, step: int) -> None:
        place = self._copied(step)
        where = f"step {step}, read-only"
        _run("mount", "-o", "remount,ro", str(self._disk))
        done = self._do(place, step)
        self._look(place, step + done, where)
        _run("mount", "-o", "remount,rw", str(self._disk))
        self._go_on(place, step + done, f"{where}, then writable")
        self.tally.number += not done

    def _copied(self, step: int) -> Path:
        place = self._disk / "state"
        shutil.copytree(self._before(step), place)
        return place

    # Each with an object of its own: one that reads keeps files open.

    def _do(self, place: Path, step: int) -> bool:
        """Do it in a child: what SQLite maps may be a page without room: SIGBUS."""
        return bool(watched(steps_of(self._keeping(place), step, step + 1)).done)

    def _look(self, place: Path, done: int, where: str) -> None:
        def read(told: Told) -> None:
            list(self._keeping(place).problems(done, midway=True))
            told()

        if watched(read).killed:
            self.tally.look([Problem("corrupt", "a reader died")], where)
        else:
            self.tally.look(self._keeping(place).problems(done, midway=True), where)

    def _go_on(self, place: Path, done: int, where: str) -> None:
        self.tally.look(after_a_crash(self._keeping(place), done), where)

    @contextlib.contextmanager
    def _mounted(self, small: Small) -> Iterator[None]:
        if small.kind == "tmpfs":
            options = "size=4m,nr_inodes=1000"
            _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self._disk))
        else:
            image = self._folder / "ext4"
            with image.open("wb") as file:
                file.truncate(8 << 20)
            block = small.kind.split()[1]
            _run("mkfs.ext4", "-q", "-b", block, "-N", "400", "-m", "0", str(image))
            _run("mount", "-o", "loop", str(image), str(self._disk))
        try:
            yield
        finally:
            _run("umount", str(self._disk))


def _fill_blocks(disk: Path, spare: int) -> Path:
    """Leave room for `spare` blocks, and return the folder with what takes the rest."""
    ballast = disk / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError), (ballast / "file").open("wb", 0) as file:
        while True:
            file.write(bytes(BLOCK_BYTES))
    os.truncate(
        ballast / "file", (ballast / "file").stat().st_size - spare * BLOCK_BYTES
    )
    return ballast


def _fill_inodes(disk: Path, spare: int) -> Path:
    ballast = disk / "ballast"
    ballast.mkdir()
    made = []
    with contextlib.suppress(OSError):
        for number in itertools.count():
            made.append(ballast / str(number))
            made[-1].touch()
    made.pop()  # the one that was not made
    for path in made[:spare]:
        path.unlink()
    return ballast


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
