"""Whether a dockerd asks the plug-in: by its calls, and not by what it says."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from enforcer.hooks.authz.relay import PLUGIN_SOCKET
from enforcer.host import asking
from enforcer.host.asking import asks
from enforcer.host.install.undo import PLUGIN


@contextmanager
def _listener(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


@contextmanager
def _dockerd(
    api: Path, plugin: Path | None, answer: str = '{"ApiVersion": 1}'
) -> Iterator[None]:
    """Answer as dockerd does; where it has a plug-in, after a call to it alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if plugin:
                with socket.socket(socket.AF_UNIX) as client:
                    while client.connect_ex(str(plugin)) and not ended.wait(0.1):
                        pass
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingUnixStreamServer):
        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            return super().get_request()[0], ("here", 0)

    ended = threading.Event()
    with Server(str(api), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def test_the_plugin_is_the_one_that_listens() -> None:
    """What takes enforcer off a host may not import whoever listens."""
    assert str(PLUGIN) == PLUGIN_SOCKET


@pytest.mark.parametrize("lists", [True, False])
def test_it_is_seen_whether_dockerd_asks(tmp_path: Path, lists: bool) -> None:  # noqa: FBT001
    api, plugin = tmp_path / "docker.sock", tmp_path / "enforcer.sock"
    with _listener(plugin), _dockerd(api, plugin if lists else None):
        assert asks(os.getpid(), plugin) is lists
        assert asks(os.getpid(), plugin) is lists  # what was noted is forgotten


@pytest.mark.parametrize("left", [True, False])
def test_a_plugin_that_is_gone_is_not_asked_where_dockerd_answers(
    tmp_path: Path,
    left: bool,  # noqa: FBT001
) -> None:
    plugin = tmp_path / "enforcer.sock"
    if left:
        with _listener(plugin):
            pass

    with _dockerd(tmp_path / "docker.sock", None):
        assert asks(os.getpid(), plugin) is False


def test_where_dockerd_waits_for_a_plugin_that_is_gone_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be asked: that is no no."""
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.3)
    plugin = tmp_path / "enforcer.sock"

    with (
        _dockerd(tmp_path / "docker.sock", plugin),
        pytest.raises(OSError, match="dockerd does not answer"),
    ):
        asks(os.getpid(), plugin)


def test_another_socket_of_dockerds_is_not_its_api(tmp_path: Path) -> None:
    """Nobody asks a plug-in about metrics."""
    plugin = tmp_path / "enforcer.sock"

    with (
        _listener(plugin),
        _dockerd(tmp_path / "metrics.sock", None, answer="# HELP"),
        _dockerd(tmp_path / "other.sock", plugin),
    ):
        assert asks(os.getpid(), plugin) is True


_NOATIME = """
import os, socket, sys
from pathlib import Path
from enforcer.host.asking import asks
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind("enforcer.sock")
    listener.listen()
    try:
        asks(os.getpid(), Path("enforcer.sock").absolute())
    except OSError as error:
        print(error.strerror)
"""


def test_where_the_kernel_notes_no_calls_nobody_knows(tmp_path: Path) -> None:
    """On a file system that is mounted noatime a silence says nothing."""
    if os.geteuid() != 0:
        pytest.skip("this machine lets nobody mount")
    mounted = 'mount -t tmpfs -o noatime tmpfs "$0" && cd "$0" && exec "$@"'
    program = (sys.executable, "-c", _NOATIME)

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, tmp_path, *program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )

    mend = f"no calls are noted there; mount -o remount,relatime {tmp_path}"
    assert done.stdout == f"{mend}\n"
