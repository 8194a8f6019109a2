"""A host whose dockerd lists the authorization plug-in, and its API as bytes."""

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
    """What dockerd answered: "0" and nothing where it hung up."""

    status: int
    text: str


class AuthzStage(Stage):
    """A stage with the plug-in in front of dockerd, and the gate behind it."""

    def __init__(self, store: Store, release: Release = "forky") -> None:
        super().__init__(Dockerd, release=release, store=store)
        self.relay = Relay(self.host, self.docker.data_root)
        settings = json.loads(self.docker.config.read_text())
        settings["authorization-plugins"] = [self.relay.name]
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
        """Send bytes to dockerd as they are, and read one answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            client.connect(str(self.docker.socket))
            client.sendall(raw)
            received = b""
            while chunk := client.recv(65536):
                received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1]) if head else 0
        return Reply(status, body.decode(errors="replace"))

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

    def containers(self) -> set[str]:
        """The ids of all containers there are."""
        listed = self.call("GET", "/containers/json?all=1").text
        start, end = listed.index("["), listed.rindex("]")  # it may be chunked
        return {container["Id"] for container in json.loads(listed[start : end + 1])}
