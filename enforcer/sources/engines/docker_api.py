"""The two calls of Docker's Engine API that enforcer makes: stop, and start.

Never from what the gate waits for: there dockerd would wait for us and we for dockerd.
"""

import http.client
import socket
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.ports import EngineError

CONNECT_SECONDS = 1.5
START_SECONDS = 30.0  # runc, and the gate's question; dockerd may be busy booting
MARGIN_SECONDS = 15.0  # on top of a container's grace, for Docker to kill it
MAX_ANSWER_BYTES = 64 * 1024

_DONE = (204, 304)  # 304: it runs already, or has ended already
_GONE = 404


class DockerApi:
    """One dockerd's socket. Each call is one connection, bounded in time and size."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def stop(self, container: str, grace_seconds: int) -> None:
        """Stop a container for good: its restart policy does not bring it back."""
        words = f"/containers/{container}/stop?t={grace_seconds}"
        self._post(words, seconds=grace_seconds + MARGIN_SECONDS)

    def start(self, container: str) -> None:
        """Start a container."""
        self._post(f"/containers/{container}/start", seconds=START_SECONDS)

    def _post(self, words: str, *, seconds: float) -> None:
        """Call without a version, which every dockerd takes for its own.

        Raises:
            EngineError: No answer, or no. A container that is gone is none.
        """
        connection = _Connection(self._path)
        try:
            connection.connect()
            connection.sock.settimeout(seconds)
            connection.request("POST", words)
            answer = connection.getresponse()
            said = answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(
                f"Docker does not answer on {self._path}: {clip(str(error))}",
                remedy="Check that Docker runs, and `api` of the docker engine in "
                "enforcer.yaml.",
                code=Code.DOCKER_UNREACHABLE,
            ) from error
        finally:
            connection.close()
        if answer.status not in (*_DONE, _GONE):
            raise EngineError(
                f"Docker says {answer.status}: {_message(said)}",
                remedy="Look at Docker's log.",
                code=Code.DOCKER_SAID_NO,
            )


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        self.sock.connect(str(self._path))


def _message(said: bytes) -> str:
    """Return the message in Docker's JSON, or whatever it sent; safe to show."""
    try:
        value = parse_json(said, what="its answer", max_bytes=MAX_ANSWER_BYTES)
        members = require_object(value, what="its answer", known=("message",))
        return clip(require_text(members, "message", what="its answer"))
    except EnforcerError:
        return clip(said.decode("utf-8", "replace"))
