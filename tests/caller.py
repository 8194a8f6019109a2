"""Call methods of a socket as another user: `python -m tests.caller UID GIDS SOCKET`.

Reads method names from standard input, one a line, and writes one word for each: the
status of gRPC, or on ask.sock of ttrpc. Rights are given up after all is imported, so
the user need not be able to read this project.
"""

import os
import socket
import sys

import grpc

from enforcer import ttrpc

SECONDS = 5
OK, NO_CONNECTION, NO_ANSWER = "OK", "NO_CONNECTION", "NO_ANSWER"


def main(uid: str, groups: str, path: str) -> None:
    """Call every method that is named on standard input."""
    methods = sys.stdin.read().split()
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path):
            print(NO_CONNECTION)
            return
    call = _ask if path.endswith("ask.sock") else _grpc
    for method in methods:
        print(call(path, method))


def _grpc(path: str, method: str) -> str:
    """Call it as if it streamed, and take the first answer: some do not end."""
    with grpc.insecure_channel(f"unix:{path}") as channel:
        start: grpc.UnaryStreamMultiCallable[bytes, bytes]
        start = channel.unary_stream(f"/{method}")
        call = start(b"", timeout=SECONDS)
        try:
            next(call)
        except grpc.RpcError as error:
            return str(error.code().name)
        finally:
            call.cancel()
        return OK


def _ask(path: str, method: str) -> str:
    service, _, name = method.partition("/")
    call = ttrpc.encode_request(ttrpc.Request(service, name, b""), timeout_ns=10**9)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(path)
        try:
            client.sendall(ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, call)))
            (frame,) = ttrpc.FrameReader().feed(client.recv(65536))
            ttrpc.decode_response(frame.payload)
        except ttrpc.ProtocolError as error:
            return str(error)
        except (OSError, ValueError):
            return NO_ANSWER
    return OK


if __name__ == "__main__":
    main(*sys.argv[1:])
