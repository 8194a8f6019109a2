"""How tests share a machine: `make test` runs them two at a time, a file at a time.

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

# Two tests share two cores: how long an example took says nothing about the program.
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared")


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
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let nothing run beside a test that is marked `alone`, its fixtures included."""
    alone = item.get_closest_marker("alone") is not None
    with contextlib.ExitStack() as stack:
        with _locked(DOOR, fcntl.LOCK_EX):  # else those that share would never leave
            stack.enter_context(
                _locked(ROOM, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            )
        return (yield)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child may have the same handle
        os.close(handle)
