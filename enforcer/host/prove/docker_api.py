"""Docker's Engine API over its unix socket, bounded in time and size."""

import json
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from enforcer import unix_http
from enforcer.host.prove.outcome import HungError, NotLiveError, SaidNoError

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
        if status >= HTTPStatus.BAD_REQUEST:
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
        try:
            return unix_http.call(
                self.path,
                method,
                uri,
                until=until,
                max_bytes=MAX_ANSWER_BYTES,
                body=body,
                headers=headers,
            )
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotLiveError(f"no Docker answers on {self.path}") from error
        except TimeoutError as error:
            raise HungError(f"{call} had no answer in time") from error
        except OSError as error:
            why = error.strerror or error
            raise SaidNoError(f"{call} broke off: {why}") from error


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
