"""HTTP calls on a unix socket: Docker's API, and our own plug-in."""

import json
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from enforcer import unix_http
from enforcer.core.errors import clip
from enforcer.host.install.processes import InstallError

CALL_SECONDS = 10.0  # an answer takes milliseconds
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of `docker info`


def docker_info(api: Path) -> dict[str, Any]:
    """Ask dockerd about itself; raises InstallError."""
    return unix_request(api, "GET", "/info")


def unix_request(path: Path, method: str, call: str) -> dict[str, Any]:
    """Make an HTTP call on a unix socket, and return its JSON; raises InstallError."""
    status, raw = unix_call(path, method, call)
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise _silent(path, "it is no JSON") from error
    if status != HTTPStatus.OK or not isinstance(found, dict):
        raise _silent(path, f"{status} {clip(raw.decode(errors='replace'))}")
    return found


def unix_call(
    path: Path, method: str, call: str, body: object = None
) -> tuple[int, bytes]:
    """Make an HTTP call on a unix socket: status and answer; raises InstallError."""
    sent = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    until = time.monotonic() + CALL_SECONDS
    try:
        return unix_http.call(
            path,
            method,
            call,
            until=until,
            max_bytes=MAX_ANSWER_BYTES,
            body=sent,
            headers=headers,
        )
    except OSError as error:
        raise _silent(path, error.strerror or str(error)) from error


def _silent(path: Path, why: str) -> InstallError:
    return InstallError(
        f"there is no answer on {path}: {why}", remedy="systemctl status docker"
    )
