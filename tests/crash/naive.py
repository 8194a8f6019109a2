"""A store as it should not be: it must fail wherever `host` does not.

Files are written in place, the index after them, and nothing is synced.
"""

import json
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from enforcer.core.errors import EnforcerError
from tests.crash.kept import Problem

STEPS = 6
PARTS = 3  # files that go together


class NaiveStore:
    """Each step stores some files by their hashes, and an index of all of them."""

    def __init__(self, root: Path) -> None:
        self.steps = STEPS
        self._blobs = root / "blobs"
        self._index = root / "index.json"

    def do(self, number: int) -> None:
        """Write files, and then the index."""
        try:
            self._write(number)
        except OSError as error:
            raise EnforcerError(str(error), remedy="None.") from error

    def _write(self, number: int) -> None:
        self._blobs.mkdir(exist_ok=True)
        for raw in _content(number):
            (self._blobs / sha256(raw).hexdigest()).write_bytes(raw)
        names = [sha256(raw).hexdigest() for raw in _all(number + 1)]
        self._index.write_text(json.dumps(names))

    def problems(self, done: int, *, midway: bool) -> Iterator[Problem]:
        """Yield what the index does not name, and what it names and is not so."""
        try:
            text = self._index.read_text() if self._index.exists() else "[]"
            named = set(json.loads(text))
        except ValueError as error:
            yield Problem("corrupt", f"the index: {error}")
            return
        for raw in _all(done):
            if sha256(raw).hexdigest() not in named:
                yield Problem("lost", sha256(raw).hexdigest())
        for name in sorted(named):
            path = self._blobs / name
            if not path.exists() or sha256(path.read_bytes()).hexdigest() != name:
                yield Problem("corrupt", name)

    def start(self) -> None:
        """Nothing is made good."""

    def leftovers(self) -> Iterator[Problem]:
        """Yield files that nothing names."""
        named = {sha256(raw).hexdigest() for raw in _all(self.steps)}
        for path in self._blobs.iterdir() if self._blobs.exists() else ():
            if path.name not in named:
                yield Problem("orphan", path.name)


def _content(number: int) -> list[bytes]:
    chance = random.Random(number)  # noqa: S311
    return [chance.randbytes(5000) for _ in range(PARTS)]


def _all(done: int) -> list[bytes]:
    return [raw for number in range(done) for raw in _content(number)]
