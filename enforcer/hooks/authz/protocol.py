"""As much of HTTP/1.1 as dockerd speaks to a plug-in: one request a connection.

Closing after the answer leaves nothing to go stale: dockerd never finds a connection
that we gave up, and a client that says nothing costs its own connection only.
"""

import asyncio
import json
import re
from dataclasses import dataclass

from enforcer.core.errors import MalformedError, TooLargeError

MAX_HEAD_BYTES = 16 * 1024  # dockerd sends five short headers
CHUNK_BYTES = 64 * 1024
# AuthZRes repeats the question and adds Docker's answer; dockerd waits while it writes.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024

_CONTENT_LENGTH = re.compile(
    rb"\r\ncontent-length: *([0-9]{1,12}) *(?=\r\n)", re.IGNORECASE
)
_REQUEST_LINE = re.compile(rb"POST (/[A-Za-z.]{1,64}) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Head:
    """Which call of the plug-in protocol this is, and how many bytes come with it."""

    path: str
    length: int


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read up to the body.

    Raises:
        MalformedError: It is not how dockerd asks.
        EOFError: The client hung up.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise _not_dockerd("its head is too long") from error
    line = _REQUEST_LINE.match(head)
    lengths = _CONTENT_LENGTH.findall(head)
    if not line or len(lengths) > 1 or b"\r\ntransfer-encoding:" in head.lower():
        raise _not_dockerd("it is no POST with one length")
    return Head(line[1].decode(), int(lengths[0]) if lengths else 0)


async def discard(reader: asyncio.StreamReader, length: int) -> None:
    """Read a body nobody needs, so that its sender gets to hear the answer.

    Raises:
        TooLargeError: It is absurdly large.
        EOFError: It is shorter than it was said to be.
    """
    if length > MAX_DISCARDED_BYTES:
        raise TooLargeError(f"a body of {length} bytes", remedy="None is that large.")
    while length > 0:
        chunk = await reader.read(min(length, CHUNK_BYTES))
        if not chunk:
            raise EOFError
        length -= len(chunk)


def reply(answer: dict[str, object]) -> bytes:
    """Write an answer of the plug-in protocol."""
    body = json.dumps(answer).encode("ascii")
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.1+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _not_dockerd(why: str) -> MalformedError:
    return MalformedError(
        f"what came over the plug-in's socket is not dockerd's: {why}",
        remedy="Nothing else speaks to it.",
    )
