"""Have strace watch a child of ours: what it does, or with faults in its calls."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from tests.crash.stepping import Act, Life, Told, ended, fork

ATTACH_SECONDS = 60.0  # well under one when nothing else runs


def traced(act: Act, output: Path, *options: str) -> Life:
    """Run `act` in a child that strace watches, and return what it told.

    `options` may have strace inject faults, or a signal; `output` gets the calls.
    """
    wait, go = os.pipe()

    def wait_and_act(told: Told) -> None:
        os.close(go)
        select.select([wait], [], [])  # a call in which no fault is injected
        act(told)

    output.unlink(missing_ok=True)
    pid, reads = fork(wait_and_act)
    os.close(wait)
    words = ["strace", "-f", "-qq", "-xx", "-s", "99999999", "-e", "signal=none"]
    words += ["-e", "trace=%file,%desc", "-o", str(output), "-p", str(pid), *options]
    with subprocess.Popen(words) as strace:
        try:
            _wait_for_tracer(pid, output, strace)
            os.write(go, b".")
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.close(go)
            _, status = os.waitpid(pid, 0)
    return ended(reads, status)


def _wait_for_tracer(pid: int, output: Path, strace: "subprocess.Popen[bytes]") -> None:
    """Wait until strace has written of a call: from its attaching on it misses some."""
    until = time.monotonic() + ATTACH_SECONDS
    while not (output.exists() and output.stat().st_size):
        if strace.poll() is not None or time.monotonic() > until:
            raise OSError("strace does not attach: is ptrace(2) forbidden here?")
        time.sleep(0.001)
