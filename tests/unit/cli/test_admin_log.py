"""What root did is on record whole, whoever else writes there, and whatever fails."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from enforcer.cli.admin_log import FILE, record
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.settings import Settings
from tests.limits import limited

WAIT_SECONDS = 60  # a loaded two-core machine; it needs one
MEANWHILE_SECONDS = 0.5  # a line is written in a thousandth of it
_RECORD = """
import sys
from pathlib import Path
from enforcer import files
from enforcer.cli.admin_log import record
from enforcer.core.errors import EnforcerError
from enforcer.settings import Settings
state, what, files.LOCK_SECONDS = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
try:
    record(Settings(state, state, state, state), what)
except EnforcerError as error:
    sys.exit(str(error))
"""


def _record(state: Path, what: str) -> None:
    record(Settings(state, state, state, state), what)


def _command(state: Path, what: str, lock_seconds: float = 30) -> list[str]:
    return [sys.executable, "-c", _RECORD, str(state), what, str(lock_seconds)]


def _read(state: Path) -> list[str]:
    lines = (state / FILE).read_bytes().splitlines()
    return [json.loads(line)["what"] for line in lines]


@contextmanager
def _stopped_in_the_middle(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Lend a process that wrote a part of a line, and stands still right behind it."""
    if shutil.which("strace") is None:
        pytest.skip("strace stops it between two calls")
    path = state / FILE
    size = path.stat().st_size
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path)]
    words += ["-e", "trace=write", "-e", "inject=write:signal=STOP"]
    with subprocess.Popen(
        [*words, *_command(state, "torn")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limited(resource.RLIMIT_FSIZE, size + 10),
    ) as process:
        try:
            until = time.monotonic() + WAIT_SECONDS
            while path.stat().st_size == size and time.monotonic() < until:
                time.sleep(0.01)
            assert path.stat().st_size == size + 10
            yield process
        finally:
            with suppress(ProcessLookupError):  # it came to its end
                os.killpg(process.pid, signal.SIGKILL)


def test_who_takes_a_torn_line_back_takes_no_line_of_another_with_it(
    tmp_path: Path,
) -> None:
    """Two commands of root on a full disk: what one did was on record, and cut off."""
    _record(tmp_path, "one")
    other = threading.Thread(target=_record, args=(tmp_path, "two"))

    with _stopped_in_the_middle(tmp_path) as process:
        other.start()
        other.join(MEANWHILE_SECONDS)
        os.killpg(process.pid, signal.SIGCONT)
        _, said = process.communicate(timeout=WAIT_SECONDS)
        other.join(WAIT_SECONDS)

    assert not other.is_alive()
    assert (process.returncode, "nothing was done" in said) == (1, True)
    assert _read(tmp_path) == ["one", "two"]


def test_a_log_that_another_holds_is_waited_for_and_then_refused(
    tmp_path: Path,
) -> None:
    """Somebody stopped a command with ^Z: every wait has a bound."""
    _record(tmp_path, "one")

    with _stopped_in_the_middle(tmp_path):
        done = subprocess.run(
            _command(tmp_path, "two", 0.1),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )

    path = tmp_path / FILE
    assert (done.returncode, done.stderr) == (
        1,
        f"{path} has been locked by another process for 0.1 s; nothing was done. "
        f"Find it with `fuser {path}` and let it end. [ENF-1403]\n",
    )


def test_what_a_killed_command_left_of_a_line_spoils_no_other(tmp_path: Path) -> None:
    """What root did next would be on record, and not to be read."""
    _record(tmp_path, "one")
    with _stopped_in_the_middle(tmp_path):
        pass  # and is killed

    _record(tmp_path, "two")
    _record(tmp_path, "three")

    lines = (tmp_path / FILE).read_bytes().splitlines()
    readable = [json.loads(line)["what"] for line in lines if line.endswith(b"}")]
    assert readable == ["one", "two", "three"]
    assert len(lines) <= 4


def test_a_log_whose_folder_cannot_be_made_refuses_as_one_not_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EnforcerError, match="nothing was done") as caught:
        _record(tmp_path / "file" / "log", "one")

    assert caught.value.code == Code.AUDIT_UNAVAILABLE
