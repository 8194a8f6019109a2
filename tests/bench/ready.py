"""From the exec of enforcerd until each of its sockets has answered."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import cache, partial
from pathlib import Path

from tests.bench.asking import NO_SUCH_METHOD, AskClient
from tests.bench.measure import (
    Group,
    Probe,
    interleave,
    milliseconds_since,
    rounds,
    rows,
    spawn,
    start,
    timed,
)
from tests.bench.stage import Stage

ROUNDS = 7
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
SOCKETS = ("ask.sock", "enforcer.sock", "admin.sock")
LIMIT_SECONDS = 30.0  # a loaded machine; it needs a third of one
POLL_SECONDS = 0.001
# RFC 9113, "HTTP/2 Connection Preface", and an empty SETTINGS frame: the server's own
# SETTINGS come back, which is less work than any client library's channel.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))

_PASS, _IMPORTS = "python -c pass", "python -c 'import grpc, cryptography'"
_DAEMON, _READY = "python -c 'import enforcer.daemon'", "enforcerd, until ready"


def measure(stage: Stage) -> Group:
    """Start the daemon on the stage's folders, again and again."""
    stage.host.stop()

    def python(code: str) -> Probe:
        # os._exit: the daemon does not end when it is ready, so nobody else tidies up.
        whole = f"{code}; import os; os._exit(0)"
        return timed(partial(spawn, (*installed(), "-c", whole), ENVIRONMENT))

    probes: dict[str, Probe] = {
        _PASS: python("pass"),
        _IMPORTS: python("import grpc, cryptography"),
        _DAEMON: python("import enforcer.daemon"),
        _READY: partial(_until_ready, stage),
    }
    baselines = {_IMPORTS: _PASS, _DAEMON: _IMPORTS, _READY: _IMPORTS}
    made = rows(interleave(probes, rounds(ROUNDS)), baselines)
    return Group("exec to ready", made)


@cache
def installed() -> tuple[str, ...]:
    """Install what is measured, once a run, and return the start of a command line.

    As on a host: developers' tools are not installed there, and structlog loads rich
    if it can.

    Raises:
        RuntimeError: It cannot be installed.
    """
    place = Path(sys.prefix) / "plain"
    python = str(place / "bin" / "python")
    for command in (
        (sys.executable, "-m", "venv", "--clear", str(place)),
        (python, "-m", "pip", "install", "-q", "-c", "constraints.txt", "."),
    ):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise RuntimeError(f"{' '.join(command)}: {said}")
    return python, "-I"


def _until_ready(stage: Stage) -> float:
    host = stage.host
    run = host.home / "ready"  # of root's: nobody makes sockets for it
    folders = {"config": host.config, "state": host.state, "run": run}
    options = [word for n, p in folders.items() for word in (f"--{n}-dir", str(p))]
    for name in SOCKETS:
        (run / name).unlink(missing_ok=True)
    started = time.perf_counter()
    pid = start((*installed(), "-m", "enforcer.daemon", *options), ENVIRONMENT)
    try:
        wait_for(run)
        return milliseconds_since(started)
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def wait_for(run: Path) -> None:
    """Return when all sockets in a folder have answered."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            _say_hello(run)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _say_hello(run: Path) -> None:
    """Get an answer out of every socket; they wait in its backlog if need be."""
    gate = AskClient(run / "ask.sock")
    try:
        gate.connect()
        gate.call(NO_SUCH_METHOD)
    finally:
        gate.close()
    for name in ("enforcer.sock", "admin.sock"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_SECONDS)
            client.connect(str(run / name))
            client.sendall(_PREFACE)
            if not client.recv(9):
                raise ConnectionResetError(f"{name} hung up")
