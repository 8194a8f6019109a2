"""The two calls of Docker's Engine API that enforcer makes: stop, and start.

Never from what the gate waits for: there dockerd would wait for us and we for dockerd.
"""

import time
from pathlib import Path

from enforcer import unix_http
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.ports import EngineError

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
        until = time.monotonic() + seconds
        try:
            status, said = unix_http.call(
                self._path, "POST", words, until=until, max_bytes=MAX_ANSWER_BYTES
            )
        except OSError as error:
            raise EngineError(
                f"Docker does not answer on {self._path}: {clip(str(error))}",
                remedy="Check that Docker runs, and `api` of the docker engine in "
                "enforcer.yaml.",
                code=Code.DOCKER_UNREACHABLE,
            ) from error
        if status not in (*_DONE, _GONE):
            raise EngineError(
                f"Docker says {status}: {_message(said)}",
                remedy="Look at Docker's log.",
                code=Code.DOCKER_SAID_NO,
            )


def _message(said: bytes) -> str:
    """Return the message in Docker's JSON, or whatever it sent; safe to show."""
    try:
        value = parse_json(said, what="its answer", max_bytes=MAX_ANSWER_BYTES)
        members = require_object(value, what="its answer", known=("message",))
        return clip(require_text(members, "message", what="its answer"))
    except EnforcerError:
        return clip(said.decode("utf-8", "replace"))
