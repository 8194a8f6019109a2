"""What a hostile client of gRPC sends (T-SK-7): floods, and messages without an end."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
ACK, END_HEADERS = 1, 4
MANY = 20_000  # frames; some are limited to a few hundred by grpc itself
FRAME = 16_384  # RFC 9113, 4.2: no larger ones without having agreed
PIECE_SECONDS = 0.2  # of a client that sends a byte at a time
SEND_SECONDS = 10  # for a flood that nobody reads


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(
        ">BBI", kind, flags, stream
    ) + payload  # fmt: skip


def headers(path: str, *more: tuple[str, str]) -> bytes:
    """Write a request's header block, without any compression (RFC 7541, 6.2.2)."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path)]
    pairs += [(":authority", "x"), ("te", "trailers")]
    pairs += [("content-type", "application/grpc"), *more]
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


def _text(text: str) -> bytes:
    """Write a string literal; the length has seven bits, then groups of seven."""
    raw, length = text.encode(), len(text)
    if length < 127:
        return bytes([length]) + raw
    out, rest = bytearray([127]), length - 127
    while rest >= 128:
        out.append(rest % 128 | 128)
        rest //= 128
    return bytes([*out, rest]) + raw


def floods(path: str) -> dict[str, bytes]:
    """Return what to send, each by a client of its own; `path` is a method."""
    hello = PREFACE + frame(SETTINGS, 0, 0)
    asked = headers(path)
    streams = range(1, 2 * MANY, 2)
    large = headers(path, ("x", "y" * 4 * 1024 * 1024))
    pieces = [large[at : at + FRAME] for at in range(0, len(large), FRAME)]
    return {
        "rapid reset": hello + b"".join(
            frame(HEADERS, END_HEADERS, n, asked) + frame(RST_STREAM, 0, n, bytes(4))
            for n in streams
        ),
        "open calls": hello + b"".join(
            frame(HEADERS, END_HEADERS, n, asked) for n in streams
        ),
        "pings": hello + frame(PING, 0, 0, bytes(8)) * MANY,
        "settings": hello + frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff") * MANY,
        "empty data": hello + frame(HEADERS, END_HEADERS, 1, asked)
        + frame(DATA, 0, 1) * MANY,
        "continuations": hello + frame(HEADERS, 0, 1, asked)
        + frame(CONTINUATION, 0, 1) * MANY,
        "huge metadata": hello + frame(HEADERS, 0, 1, pieces[0])
        + b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]),
        "a message of 4 GiB": hello + frame(HEADERS, END_HEADERS, 1, asked)
        + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + bytes(FRAME - 5)) * 4,
        "a frame of 16 MiB": hello + b"\xff\xff\xff" + bytes(6) + bytes(70_000),
    }  # fmt: skip


@contextlib.contextmanager
def flooded(socket_path: Path, path: str, *, slow: int) -> Iterator[None]:
    """Have all floods come at once, and `slow` clients that send byte by byte."""
    over = threading.Event()
    floods_ = floods(path)
    clients = [
        threading.Thread(target=_flood, args=(socket_path, flood, over))
        for flood in floods_.values()
    ]
    clients += [
        threading.Thread(target=_drip, args=(socket_path, floods_["pings"], over))
        for _ in range(slow)
    ]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        over.set()
        for client in clients:
            client.join()


def _flood(path: Path, flood: bytes, over: threading.Event) -> None:
    """Send it, again and again, and never read what comes back."""
    while not over.is_set():
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(path))
            client.settimeout(SEND_SECONDS)
            client.sendall(flood)
            over.wait(PIECE_SECONDS)


def _drip(path: Path, words: bytes, over: threading.Event) -> None:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(path))
        for at in range(len(words)):
            client.sendall(words[at : at + 1])
            if over.wait(PIECE_SECONDS):
                return
