"""Docker's API as prove calls it: bounded in time and size, whatever answers."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.host.prove.docker_api import MAX_ANSWER_BYTES, DockerApi
from enforcer.host.prove.outcome import HungError, NotLiveError, SaidNoError

SECONDS = 0.5
LATE_SECONDS = 10.0  # on a busy machine
Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(folder: Path, talk: Talk) -> Iterator[DockerApi]:
    """Serve one caller, in whatever way."""
    path = folder / "d.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield DockerApi(path)
        thread.join(LATE_SECONDS)


def _answer(body: bytes, status: str = "200 OK") -> Talk:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def _drip(connection: socket.socket) -> None:
    """A byte now and then: a socket's own timeout would begin anew with each."""
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def _drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" ")
        time.sleep(0.02)


def _silent(connection: socket.socket) -> None:
    connection.settimeout(LATE_SECONDS)
    connection.recv(1)


def test_an_answer_is_one_value_or_one_a_line(tmp_path: Path) -> None:
    with server(tmp_path, _answer(b'{"Id": "1"}\n')) as api:
        assert api.call("GET", "/info", until=time.monotonic() + 5) == {"Id": "1"}
    (tmp_path / "d.sock").unlink()
    with server(tmp_path, _answer(b'{"stream": "a"}\r\n{"error": "b"}\n')) as api:
        assert api.call("GET", "/build", until=time.monotonic() + 5) == [
            {"stream": "a"},
            {"error": "b"},
        ]


@pytest.mark.parametrize("talk", [_drip, _drip_body, _silent])
def test_nothing_holds_it_up(talk: Talk, tmp_path: Path) -> None:
    """Law 6: the deadline is for the call, not for each byte of it."""
    began = time.monotonic()

    with server(tmp_path, talk) as api, pytest.raises(HungError):
        api.call("GET", "/info", until=began + SECONDS)

    assert time.monotonic() - began < SECONDS + LATE_SECONDS


def test_a_call_whose_time_is_over_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(HungError):
        DockerApi(tmp_path / "d.sock").call("GET", "/info", until=time.monotonic())


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (_answer(b'{"message": "no such image"}', "404 Not Found"), "no such image"),
        (_answer(b"", "500 Oops"), "Docker's GET /info ends with 500"),
        (_answer(b"<html>"), "answers no JSON: <html>"),
        (_answer(b"[" * 100_000), "answers no JSON"),
        (_answer(b"\xff\xfe"), "answers no JSON"),
        (lambda _: None, "broke off"),
        (lambda c: c.sendall(b"\x16\x03\x01\n\n"), "broke off"),
        (
            lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
            "broke off",
        ),
    ],
)
def test_what_makes_no_sense_is_a_failure_with_its_words(
    talk: Talk, words: str, tmp_path: Path
) -> None:
    with server(tmp_path, talk) as api, pytest.raises(SaidNoError) as caught:
        api.call("GET", "/info", until=time.monotonic() + 5)

    assert words in str(caught.value)


def test_an_endless_answer_is_cut(tmp_path: Path) -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(2 * MAX_ANSWER_BYTES // 65536):
                connection.sendall(b"1" * 65536)

    with server(tmp_path, pour) as api, pytest.raises(SaidNoError, match="more than"):
        api.call("GET", "/info", until=time.monotonic() + 5)


def test_where_nobody_listens_there_is_no_docker(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    for name in ("none", "dead"):
        with pytest.raises(NotLiveError, match="no Docker answers on"):
            DockerApi(tmp_path / name).call(
                "GET", "/info", until=time.monotonic() + LATE_SECONDS
            )
