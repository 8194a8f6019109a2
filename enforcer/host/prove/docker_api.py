"""Docker's Engine API over its unix socket, bounded in time and size."""

import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enforcer.host.prove.outcome import HungError, NotLiveError, SaidNoError, left

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # `/info` has some 10 KiB, a load's words some KiB
JSON, TAR = "application/json", "application/x-tar"


class DockerApi:
    """One dockerd. Each call has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def call(
        self,
        method: str,
        uri: str,
        body: object = None,
        *,
        until: float,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Return the answer's JSON; a list of all values where it is a stream.

        A body of bytes is sent as a tar archive, any other as JSON. In a query, what is
        no text is written as JSON.

        Raises:
            NotLiveError: Nobody listens there.
            SaidNoError: Docker's own words for why not.
            HungError: No whole answer until then (a time.monotonic()).
        """
        if query:
            words = {k: v if isinstance(v, str) else _json(v) for k, v in query.items()}
            uri = f"{uri}?{urllib.parse.urlencode(words)}"
        sent, kind = (body, TAR) if isinstance(body, bytes) else (_json(body), JSON)
        headers = {"Content-Type": kind} if body is not None else {}
        call = f"Docker's {method} {uri.partition('?')[0]}"
        status, raw = self._exchange(
            method, uri, sent if body is not None else None, headers, until, call
        )
        values = _values(raw, call)
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise SaidNoError(_message(values) or f"{call} ends with {status}")
        return values[0] if len(values) == 1 else values

    def _exchange(
        self,
        method: str,
        uri: str,
        body: bytes | str | None,
        headers: Mapping[str, str],
        until: float,
        call: str,
    ) -> tuple[int, bytes]:
        connection = _UnixConnection(self.path, left(until))
        # A socket's timeout starts anew with each byte; this does not.
        over = threading.Event()
        watch = threading.Timer(left(until), _hang_up, (connection, over))
        watch.daemon = True
        try:
            connection.connect()
            watch.start()
            connection.request(method, uri, body=body, headers=dict(headers))
            answer = connection.getresponse()
            raw = answer.read(MAX_ANSWER_BYTES + 1)
            if answer.length and len(raw) <= MAX_ANSWER_BYTES:  # a read of so many
                raise http.client.IncompleteRead(raw, answer.length)  # does not mind
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotLiveError(f"no Docker answers on {self.path}") from error
        except (OSError, http.client.HTTPException) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                raise HungError(f"{call} had no answer in time") from error
            raise SaidNoError(f"{call} broke off: {error}") from error
        finally:
            watch.cancel()
            connection.close()
        if over.is_set():
            raise HungError(f"{call} had no whole answer in time")
        if len(raw) > MAX_ANSWER_BYTES:
            raise SaidNoError(f"{call} has a larger answer than is read")
        return answer.status, raw


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a socket in the file system."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("docker", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect; the standard library calls this, too."""
        if self.sock is None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))


def _hang_up(connection: _UnixConnection, over: threading.Event) -> None:
    over.set()
    try:
        if connection.sock:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself


def _values(raw: bytes, call: str) -> list[Any]:
    """Read one JSON value, or one a line."""
    text = raw.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return [json.loads(line) for line in lines] or [None]
    except (ValueError, RecursionError) as error:
        raise SaidNoError(f"{call} answers no JSON: {text}") from error


def _message(values: list[Any]) -> str:
    return "; ".join(
        str(value["message"])
        for value in values
        if isinstance(value, dict) and "message" in value
    )


def _json(value: object) -> str:
    return json.dumps(value)
