"""Who keeps `enforcer prove` from running, where there is no engine to try."""

import fcntl
import os
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import locked
from enforcer.host.prove import prove
from tests.unit.host.looks import settings


def _code(root: Path) -> Code:
    with pytest.raises(EnforcerError) as caught:
        prove(settings(root, "docker", "containerd"))
    return caught.value.code


def test_a_lock_that_any_user_may_take_holds_nothing_up(tmp_path: Path) -> None:
    """Whoever may read a folder may lock it, and anybody may read this one."""
    handle = os.open(settings(tmp_path).run_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)

        assert _code(tmp_path) is Code.PROVE_NO_ENGINE
    finally:
        os.close(handle)


def test_another_run_does(tmp_path: Path) -> None:
    """It would take what we make for leftovers; its lock is its user's alone."""
    lock = settings(tmp_path).run_dir / "prove.lock"
    with locked(lock, wait=False):
        assert _code(tmp_path) is Code.BUSY

    assert lock.stat().st_mode & 0o777 == 0o600
