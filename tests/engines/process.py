"""Run programs and keep daemons: bounded waits, and errors that show the output."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_SECONDS = 90  # a loaded two-core machine; an engine needs one or two
TERMINATE_SECONDS = 20  # dockerd gives its containers 15 before it kills them
LOG_TAIL = 3000


class EngineError(Exception):
    """An engine, or a command given to one, did not do what the test asked."""


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    timeout_seconds: float = 120,
    check: bool = True,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run to the end; with `check`, raise EngineError showing all it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        env=dict(env),
        cwd=cwd,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if check and done.returncode != 0:
        words = " ".join(map(str, command))
        raise EngineError(
            f"`{words}` exits {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done


class Daemon:
    """One background program with a log file; started and stopped by process id."""

    def __init__(
        self, command: Sequence[str | Path], env: Mapping[str, str], log: Path
    ) -> None:
        self._command = [str(word) for word in command]
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = log

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        if self._process is None:
            raise EngineError(f"{self._command[0]} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(
        self, is_ready: Callable[[], bool], *, handles: Sequence[int] = ()
    ) -> None:
        """Start it and wait until it is ready; on failure the error has its log.

        `handles` are descriptors it is given, under the same numbers.
        """
        if self.is_running:
            raise EngineError(f"{self._command[0]} is running already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=handles,
            )
        try:
            wait_until(
                lambda: not self.is_running or is_ready(),
                f"{self._command[0]} answers",
            )
            if not self.is_running:
                raise EngineError(f"{self._command[0]} ended at once")
        except EngineError as error:
            self.kill()
            tail = self.log.read_text(errors="replace")[-LOG_TAIL:]
            raise EngineError(f"{error}\n{tail}") from error

    def stop(self) -> None:
        """Ask it to end; kill it when it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def wait_until(
    is_done: Callable[[], bool], what: str, timeout_seconds: float = START_SECONDS
) -> None:
    """Poll until true; raise EngineError naming `what` after the time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise EngineError(f"waited {timeout_seconds} s in vain until {what}")
        time.sleep(0.02)
