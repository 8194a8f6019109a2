"""The policy in force: the last good one, whatever happens to its files."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from enforcer.core.errors import EnforcerError
from enforcer.ports import PolicyInForce, PolicyMissingError

MAX_WATCHED = 10_000  # files and folders in a place; a store has a few certificates

Fingerprint = tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    force: PolicyInForce | None
    problem: EnforcerError | None


class KeptPolicy:
    """Loads on request, all or nothing; what was in force stays until then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded = _Loaded(None, None)

    @property
    def problem(self) -> EnforcerError | None:
        """Why the newest files are not in force, or None."""
        return self._loaded.problem

    def current(self) -> PolicyInForce:
        """Return the policy in force, or raise why there is none."""
        loaded = self._loaded
        if loaded.force is None:
            raise loaded.problem or PolicyMissingError(
                "no policy was loaded", remedy="Restart enforcerd."
            )
        return loaded.force

    def reload(self, load: Callable[[], PolicyInForce]) -> PolicyInForce:
        """Load and put in force, all or nothing.

        Raises:
            EnforcerError: What is wrong; the old policy, if any, stays in force.
        """
        with self._lock:
            try:
                force = load()
            except EnforcerError as error:
                self._loaded = _Loaded(self._loaded.force, error)
                raise
            self._loaded = _Loaded(force, None)
            return force


def fingerprint(places: Sequence[Path]) -> Fingerprint:
    """Return what changes when a file in one of these places does. Never raises."""
    # Bounded each: a policy.d that is a checkout must not hide the trust stores.
    found = (islice(_entries(place), MAX_WATCHED) for place in places)
    return tuple(chain.from_iterable(found))


def marks(places: Sequence[Path]) -> Fingerprint:
    """Return what changes when one of these itself does, however much is in it."""
    return tuple(next(_entries(place)) for place in places)


def _entries(place: Path) -> Iterator[tuple[object, ...]]:
    """Yield what is there and below, the nearest first: that is what is read."""
    waiting = deque([place])
    while waiting:
        path = waiting.popleft()
        try:
            status = path.lstat()
        except (OSError, ValueError) as error:
            yield str(path), type(error).__name__
            continue
        yield (
            str(path),
            status.st_mode,
            status.st_uid,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        with contextlib.suppress(OSError):  # a file, mostly
            waiting.extend(sorted(path.iterdir()))
