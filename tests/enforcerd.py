"""A stand-in for enforcerd on ask.sock, for those that ask: it says what it is told."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from enforcer import ttrpc
from tests.limits import SOMEBODY, open_to_all

SILENT_SECONDS = 10  # longer than any door waits
YES = ttrpc.encode_fields((1, 1), (2, "ENF-1000"))
NO = ttrpc.encode_fields((2, "ENF-1001"), (3, "app:1 is not signed"), (4, "06H0"))


def framed(message: bytes) -> bytes:
    """Write a VerifyResponse as enforcerd sends it."""
    payload = ttrpc.encode_response(message)
    return ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, payload))


def asked(heard: bytes) -> ttrpc.Fields:
    """Read the VerifyRequest of one connection."""
    (frame,) = ttrpc.FrameReader().feed(heard)
    call = ttrpc.decode_request(frame.payload)
    assert (call.service, call.method) == ("enforcer.api.v1.Verifier", "Verify")
    return ttrpc.decode_fields(call.payload)


@contextlib.contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[list[bytes]]:
    """Be the daemon: `answer` is all it writes, None for nothing at all, for long."""
    heard: list[bytes] = []
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                heard.append(connection.recv(65536))
                if answer is None:
                    ended.wait(SILENT_SECONDS)
                else:
                    connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(0.1)
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield heard
        finally:
            ended.set()
            thread.join()
            path.unlink()


# As another user, from nothing that only root can read.
_SERVER = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print(flush=True)
while True:
    client, _ = server.accept()
    client.recv(9999)
    client.sendall(bytes.fromhex(sys.argv[2]))
"""


@contextlib.contextmanager
def somebody_answering(path: Path, answer: bytes) -> Iterator[None]:
    """Be a daemon that root does not run, at a path that was left open to all."""
    open_to_all(path.parent)
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", _SERVER, path, answer.hex()],
        user=SOMEBODY,
        stdout=subprocess.PIPE,
    ) as fake:
        assert fake.stdout
        assert fake.stdout.readline() == b"\n"
        try:
            yield
        finally:
            fake.kill()
