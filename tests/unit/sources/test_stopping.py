"""Docker's API as we call it, and work that goes on behind a caller's back."""

import http.server
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.ports import EngineError
from enforcer.sources.engines.docker_api import MAX_ANSWER_BYTES, DockerApi
from enforcer.sources.engines.stopping import MAX_AT_ONCE, Background


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[str] = []
        super().__init__(str(path), _Handler)

    def get_request(self) -> tuple[object, object]:  # type: ignore[override]
        connection, _ = super().get_request()
        return connection, ("docker", 0)  # http.server wants an address


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def dockerd(path: Path, answer: bytes) -> Iterator[_Server]:
    with _Server(path, answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server
        finally:
            server.shutdown()


def answer(status: str, body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_docker_is_asked_with_the_grace_it_is_to_give(
    tmp_path: Path, status: str
) -> None:
    """304: it had ended, or begun, before. Both are what was wanted."""
    path = tmp_path / "d.sock"
    with dockerd(path, answer(status)) as server:
        DockerApi(path).stop("abc", 7)
        DockerApi(path).start("abc")

    assert server.asked == ["/containers/abc/stop?t=7", "/containers/abc/start"]


def test_a_container_that_is_gone_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with dockerd(path, answer("404 Not Found", b'{"message": "no"}')):
        DockerApi(path).stop("abc", 7)


ANSWERS = {
    "no": answer("500 Oops", b'{"message": "runc says\\u001b[2J no"}'),
    "no JSON": answer("409 Conflict", b"\x1b[2J runc says  no"),
    "no message": answer("500 Oops", b'{"runc says": "no"}'),
    "long": answer("500 Oops", b"runc says " * (MAX_ANSWER_BYTES // 10)),
    "a yes to nobody": answer("200 OK", b"runc says"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_dockers_reason_is_told_bounded_and_escaped(tmp_path: Path, what: str) -> None:
    path = tmp_path / "d.sock"
    with (
        dockerd(path, ANSWERS[what]),
        pytest.raises(EngineError, match="runc says") as caught,
    ):
        DockerApi(path).start("abc")

    assert caught.value.code is Code.DOCKER_SAID_NO
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


ENDLESS = answer("500 Oops", b"runc says " * MAX_ANSWER_BYTES)


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 20", b"\0" * 99, ENDLESS]
)
def test_no_answer_is_an_error_that_names_the_socket(
    tmp_path: Path, said: bytes
) -> None:
    path = tmp_path / "d.sock"
    with (
        dockerd(path, said),
        pytest.raises(EngineError, match=r"d\.sock") as caught,
    ):
        DockerApi(path).start("abc")

    assert caught.value.code is Code.DOCKER_UNREACHABLE


def test_nobody_there_is_an_error_that_names_the_socket(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"none\.sock"):
        DockerApi(tmp_path / "none.sock").start("abc")


@pytest.mark.alone  # "at once" is a tenth of a second
def test_what_fails_at_once_is_told_and_what_takes_long_is_not_waited_for() -> None:
    """A container that does not mind SIGTERM must not hold up the sweep."""
    background = Background()
    ended = threading.Event()

    def fail() -> None:
        raise EngineError("no", remedy="Look.")

    with pytest.raises(EngineError, match="no"):
        background.begin(fail)
    began = time.monotonic()
    background.begin(lambda: ended.wait(60))

    assert time.monotonic() - began < 20
    ended.set()


def test_no_more_is_begun_at_once_than_the_bound() -> None:
    """Each is a thread; two hundred would be stopped in turns."""
    background = Background()
    ended = threading.Event()
    with ThreadPoolExecutor(MAX_AT_ONCE) as threads:
        for _ in range(MAX_AT_ONCE):
            threads.submit(background.begin, lambda: ended.wait(120))

    with pytest.raises(EngineError) as caught:
        background.begin(lambda: None)

    assert caught.value.code is Code.BUSY
    ended.set()
    while any(thread.name == "container" for thread in threading.enumerate()):
        time.sleep(0.01)
    background.begin(lambda: None)
