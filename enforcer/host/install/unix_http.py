"""HTTP calls on a unix socket: Docker's API, and our own plug-in."""

import json
import socket
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

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
    connection = _UnixConnection(path)
    sent = None if body is None else json.dumps(body)
    headers = {"Host": "docker", "Content-Type": "application/json"}
    try:
        connection.request(method, call, body=sent, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise _silent(path, str(error) or type(error).__name__) from error
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_SECONDS)
        self.sock.connect(str(self._path))


def _silent(path: Path, why: str) -> InstallError:
    return InstallError(
        f"there is no answer on {path}: {why}", remedy="systemctl status docker"
    )
