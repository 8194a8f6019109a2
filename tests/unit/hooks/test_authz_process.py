"""The plug-in's process as systemd starts it: its socket, watchdog and interpreter."""

import contextlib
import json
import select
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import enforcer.hooks.authz
from enforcer.hooks.authz.relay import SOCKET_NAME

PROGRAM = Path(enforcer.hooks.authz.__file__).with_name("__main__.py")
# No virtual environment, nothing of the caller's: what a broken host still has.
PYTHON = ("/usr/bin/python3", "-I", "-S", "-E", str(PROGRAM))
# A listening socket on standard input becomes systemd's first (sd_listen_fds(3)).
ACTIVATED = ("/bin/sh", "-c", 'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"', "sh")
WAIT_SECONDS = 60  # a loaded two-core machine; it needs a tenth of one


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(WAIT_SECONDS)
        channel.bind(str(tmp_path / "notify"))
        yield channel


@contextlib.contextmanager
def _started(
    folder: Path,
    *,
    before: Sequence[str] = (),
    stdin: socket.socket | None = None,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--socket", folder / "p.sock", "--ask", folder / "ask.sock"]
    process = subprocess.Popen(
        [*before, *PYTHON, *map(str, options)],
        env={"NOTIFY_SOCKET": str(folder / "notify")} | environment,
        stdin=stdin.fileno() if stdin else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _activate(path: Path) -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_SECONDS)
        client.connect(str(path))
        client.sendall(b"POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\n\r\n")
        received = b""
        while chunk := client.recv(4096):
            received += chunk
    return json.loads(received.partition(b"\r\n\r\n")[2])


def test_it_serves_the_socket_systemd_keeps_and_tells_that_it_lives(
    tmp_path: Path, told: socket.socket
) -> None:
    """dockerd's calls wait in that socket's queue while the process is replaced."""
    named = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": SOCKET_NAME, "WATCHDOG_USEC": "50000"}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "systemd.sock"))
        listener.listen()

        for _ in range(2):
            with _started(tmp_path, before=ACTIVATED, stdin=listener, **named):
                heard = [told.recv(4096) for _ in range(3)]
                answer = _activate(tmp_path / "systemd.sock")
            while select.select([told], [], [], 0)[0]:
                told.recv(4096)  # what the first one said since is not the second's
            assert {b"READY=1", b"WATCHDOG=1"} <= set(heard)
            assert answer == {"Implements": ["authz"]}

    assert not (tmp_path / "p.sock").exists()


def test_alone_it_makes_a_socket_for_root_only_and_takes_nobody_elses(
    tmp_path: Path, told: socket.socket
) -> None:
    """Two on one path would mean that nobody knows which one answers dockerd."""
    path = tmp_path / "p.sock"
    with _started(tmp_path):
        assert told.recv(4096) == b"READY=1"
        mode = path.stat().st_mode & 0o777
        with _started(tmp_path) as second:
            status = second.wait(WAIT_SECONDS)
        answer = _activate(path)
    with _started(tmp_path):  # what is left of a killed one is no hindrance
        assert told.recv(4096) == b"READY=1"

    assert (mode, status) == (0o600, 3)
    assert answer == {"Implements": ["authz"]}
