"""HTTP on a unix socket: a connection for each call, bounded in time and size."""

import errno
import http.client
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def call(
    path: Path,
    method: str,
    uri: str,
    *,
    until: float,
    max_bytes: int,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Return the status and the body of the answer.

    Raises:
        FileNotFoundError, ConnectionRefusedError: Nobody listens there.
        TimeoutError: No whole answer until then (a time.monotonic()).
        OSError: It broke off, is no HTTP, or has more than `max_bytes`.
    """
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "no time is left")
    connection = _Connection(path, seconds)
    over = threading.Event()
    # A socket's timeout starts anew with each byte; this does not.
    watch = threading.Timer(seconds, _hang_up, (connection, over))
    watch.daemon = True
    try:
        connection.connect()
        watch.start()
        connection.request(method, uri, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        raw = answer.read(max_bytes + 1)
        if answer.length and len(raw) <= max_bytes:  # a read of so many does not mind
            raise http.client.IncompleteRead(raw, answer.length)
    except (OSError, http.client.HTTPException) as error:
        if over.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time") from error
        if isinstance(error, http.client.HTTPException):
            why = f"no HTTP: {type(error).__name__} {error}"
            raise OSError(errno.EPROTO, why) from error
        raise
    finally:
        watch.cancel()
        connection.close()
    if over.is_set():
        raise TimeoutError(errno.ETIMEDOUT, "no whole answer in time")
    if len(raw) > max_bytes:
        raise OSError(errno.EFBIG, f"an answer of more than {max_bytes} bytes")
    return answer.status, raw


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        if self.sock is None:  # the standard library calls this, too
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))


def _hang_up(connection: _Connection, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it has ended by itself
        if connection.sock:
            connection.sock.shutdown(socket.SHUT_RDWR)
