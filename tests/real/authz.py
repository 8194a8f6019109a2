"""A host whose dockerd lists the authorization plug-in, and its API as bytes."""

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from tests.engines.authz import Relay
from tests.engines.dockerd import Dockerd, Store
from tests.engines.path import Release
from tests.real.stage import Stage

CALL_SECONDS = 45  # dockerd tries 30 s to reach a plug-in


@dataclass(frozen=True, slots=True)
class Reply:
    """What dockerd answered: 0 and nothing where it said nothing."""

    status: int
    text: str


class AuthzStage(Stage):
    """A stage with the plug-in in front of dockerd, and the gate behind it."""

    def __init__(self, store: Store, release: Release = "forky") -> None:
        super().__init__(Dockerd, release=release, store=store)
        self.relay = Relay(self.host, self.docker.data_root)
        settings = json.loads(self.docker.config.read_text())
        settings["authorization-plugins"] = [self.relay.name]
        settings["debug"] = True  # its log names every call it knows
        self.docker.config.write_text(json.dumps(settings))

    def __enter__(self) -> Self:
        self.relay.start()
        return super().__enter__()

    def close(self) -> None:
        """Stop dockerd while its plug-in is there, then the plug-in."""
        try:
            super().close()
        finally:
            self.relay.close()

    def send(self, raw: bytes, *, timeout: float = CALL_SECONDS) -> Reply:
        """Send bytes to this stage's dockerd, and read one answer."""
        return send(self.docker, raw, timeout=timeout)

    def call(
        self,
        method: str,
        uri: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        headers: str = "Content-Type: application/json\r\n",
    ) -> Reply:
        """Send one request with a body and its length."""
        raw = json.dumps(body).encode() if isinstance(body, dict) else body or b""
        head = f"{method} {uri} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
        length = f"Content-Length: {len(raw)}\r\n" if raw else ""
        return self.send(f"{head}{headers}{length}\r\n".encode("latin-1") + raw)


def send(docker: Dockerd, raw: bytes, *, timeout: float = CALL_SECONDS) -> Reply:
    """Send bytes to a dockerd as they are, and read one answer."""
    received = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(docker.socket))
        # It waits for more of a request, or does not care for the rest of it.
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.sendall(raw)
            while chunk := client.recv(65536):
                received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head else 0
    return Reply(status, body.decode(errors="replace"))
