"""How tests share a machine: `make test` runs them three at a time, a file at a time.

Most of their time is waiting for engines. Those that measure a deadline are marked
`alone`: nothing else runs beside them, else they would measure the other tests.
"""

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# Locks of this checkout: what runs is in the room, and who waits for it at the door.
ROOM, DOOR = Path(__file__), Path(__file__).parent
# One after the other: machines are made once for all of a folder's files, what a run of
# `prove` leaves is told by its mark, and the vectors' certificates name one port.
TOGETHER = {
    "tests/machine/": "machines",
    "tests/real/test_prove": "prove",
    "tests/real/test_sabotage.py": "prove",
    "tests/unit/cli/test_cli_vectors.py": "vectors",
    "tests/unit/sources/test_revocation_vectors.py": "vectors",
}

# Tests share two cores: how long an example took says nothing about the program.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared")


_kept: contextlib.ExitStack | None = None  # the room, from one test to the next


class _FileByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Files in order, and some of them as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        names = (name for start, name in TOGETHER.items() if scope.startswith(start))
        return next(names, scope)


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: object
) -> LoadFileScheduling:
    """Say which tests stay together."""
    return _FileByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Let nothing run beside a test that is marked `alone`, its fixtures included.

    The room is kept for a next one that is alone too: the others would wait twice.
    """
    global _kept
    room, _kept = _kept, None
    if room is None:
        room = contextlib.ExitStack()
        with _locked(DOOR, fcntl.LOCK_EX):  # else those that share would never leave
            room.enter_context(
                _locked(ROOM, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
            )
    with room:
        done = yield
        if _is_alone(item) and nextitem is not None and _is_alone(nextitem):
            _kept = room.pop_all()
    return done


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child may have the same handle
        os.close(handle)
