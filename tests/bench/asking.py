"""A client of ask.sock that asks as the gate does, as often as one likes."""

import socket
import time
from pathlib import Path

from enforcer import ttrpc
from enforcer.api.ask import MAX_QUESTIONS
from enforcer.api.services import VERIFIER
from enforcer.api.v1 import enforcer_pb2 as pb
from tests.bench.measure import milliseconds_since
from tests.bench.stage import Running

SECONDS = 10.0  # to wait for an answer; the daemon takes three at most
_TIMEOUT_NS = int(SECONDS * 1e9)
NO_SUCH_METHOD = ttrpc.Request(VERIFIER, "Nothing", b"")


class AskClient:
    """A connection to ask.sock, like the gate's."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket: socket.socket | None = None
        self._asked = 0

    def connect(self) -> None:
        """Connect, unless connected to a daemon that takes another question."""
        if self._socket and self._asked < MAX_QUESTIONS - 1:
            return
        self.close()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(self._path)

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
        self._socket, self._asked = None, 0

    def call(self, request: ttrpc.Request) -> bytes:
        """Send one call and return ttrpc's response message, whatever it says."""
        if self._socket is None:
            raise ConnectionError("connect first")
        payload = ttrpc.encode_request(request, timeout_ns=_TIMEOUT_NS)
        frame = ttrpc.Frame(2 * self._asked + 1, ttrpc.REQUEST, payload)
        self._asked += 1
        self._socket.sendall(ttrpc.encode_frame(frame))
        reader = ttrpc.FrameReader()
        while received := self._socket.recv(65536):
            for answer in reader.feed(received):
                return answer.payload
        raise ConnectionResetError("the daemon hung up")

    def warm(self, request: ttrpc.Request) -> float:
        """Milliseconds of a call on a connection that is there already."""
        self.connect()
        started = time.perf_counter()
        self.call(request)
        return milliseconds_since(started)

    def cold(self, request: ttrpc.Request) -> float:
        """Milliseconds of a connection, a call and hanging up."""
        self.close()
        started = time.perf_counter()
        self.connect()
        self.call(request)
        self.close()
        return milliseconds_since(started)


def question(about: Running) -> ttrpc.Request:
    """What the gate asks before `runc create`."""
    container = ttrpc.encode_fields(
        (1, about.id), (2, str(about.bundle)), (3, about.root), (4, "create")
    )
    payload = ttrpc.encode_fields((1, "gate"), (4, container))
    return ttrpc.Request(VERIFIER, "Verify", payload)


def parse_answer(response: bytes) -> pb.VerifyResponse:
    """Read ttrpc's response message; it is an error if the call was not answered."""
    return pb.VerifyResponse.FromString(ttrpc.decode_response(response))
