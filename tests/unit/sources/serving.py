"""Whoever listens where we ask: each connection gets a turn of the test's making."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(path: Path, *turns: Serve) -> Iterator[list[int]]:
    """Listen there: each connection gets the next turn, the last again and again."""
    ended = threading.Event()
    served: list[int] = []

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            turn = turns[min(len(served), len(turns) - 1)]
            served.append(len(served))
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                turn(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(0.05)
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield served
        finally:
            ended.set()
            thread.join()
            path.unlink()


def raw(data: bytes) -> Serve:
    """Send these bytes and keep the connection until the client goes."""

    def turn(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.recv(1)

    return turn


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def silence(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass
