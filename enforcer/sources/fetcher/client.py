"""Asks the fetcher, within a deadline, and checks whatever it hands over."""

import contextlib
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from google.protobuf.message import Message

from enforcer import ttrpc
from enforcer.core.codes import Code
from enforcer.core.collected import Collected
from enforcer.core.errors import EnforcerError, TooLargeError, clip
from enforcer.core.fetching import FetchError, Request
from enforcer.sources.fetcher import wire
from enforcer.sources.fetcher.checking import checked
from enforcer.sources.fetcher.line import FetcherError, Line, left
from enforcer.sources.fetcher.pb import fetcher_pb2 as pb

__all__ = ["Fetched", "FetcherClient", "FetcherError"]

GRACE_SECONDS = 0.5  # for the fetcher to say itself that its time was over
CHUNK_BYTES = 256 * 1024
_OVERHEAD = 64 * 1024  # of ttrpc, and of protobuf


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a registry holds about one reference, as far as it was had.

    Attributes:
        items: Checked: the reference's content first, then what belongs to it.
        problem: Why there may be more; None where that is all.
    """

    items: tuple[Collected, ...]
    problem: EnforcerError | None = None


class FetcherClient:
    """Fetches through the host's fetcher, or with `child` through one of its own.

    A `gather.Fetcher`, too. Without `child` it is safe to share between threads.
    """

    def __init__(self, path: Path, *, child: bool = False) -> None:
        self._path = path
        self._line = Line(path, child=child)

    def fetch_signatures(self, wanted: wire.Wanted) -> Fetched:
        """Return what a registry holds about a reference, every byte hashed.

        Raises:
            EnforcerError: The registry's or the fetcher's error, where nothing came.
        """
        items: list[Collected] = []
        with contextlib.closing(self._items(wanted)) as handed_over:
            try:
                for item in checked(handed_over, wanted.reference):
                    items.append(item)
            except EnforcerError as error:  # what came before it is whole
                if not items:
                    raise
                return Fetched(tuple(items), error)
        return Fetched(tuple(items))

    def fetch(self, request: Request) -> bytes:
        """Return the body of a URL, fewer than `request.max_bytes` bytes.

        Raises:
            FetchError: It gave nothing of use, or the fetcher did not.
        """
        try:
            parts = list(
                self._parts("FetchUrl", wire.url_message(request), request.seconds)
            )
        except wire.AnsweredError as error:
            raise FetchError(request.url, error.because) from error
        except EnforcerError as error:
            raise FetchError(request.url, f"was not asked: {error.what}") from error
        if [part.WhichOneof("what") for part in parts] != ["body"]:
            raise FetchError(request.url, "was not answered with one body")
        if len(parts[0].body) >= request.max_bytes:
            raise FetchError(request.url, f"gives {request.max_bytes} bytes or more")
        return parts[0].body

    def close(self) -> None:
        """End what was started for this."""
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _items(self, wanted: wire.Wanted) -> Generator[Collected, None, None]:
        question = wire.wanted_message(wanted)
        parts = self._parts("FetchSignatures", question, wanted.seconds)
        with contextlib.closing(parts):
            for part in parts:
                with self._understood():
                    item = wire.parse_item(part)
                yield item

    def _parts(
        self, method: str, question: Message, seconds: float
    ) -> Generator[pb.Part, None, None]:
        """Yield the parts of an answer up to its end.

        Raises:
            AnsweredError: The fetcher's own error ended it.
            FetcherError: There was no end, or no sense in it.
        """
        end = time.monotonic() + min(seconds, wire.MAX_SECONDS) + GRACE_SECONDS
        request = ttrpc.Request(wire.SERVICE, method, question.SerializeToString())
        failure = None
        with self._understood(), self._line.connected(end) as (connection, end):
            _send(connection, request, end)
            for raw in _received(connection, end):
                part = wire.read(pb.Part, raw)
                kind = part.WhichOneof("what")
                if kind == "end":
                    return
                if kind == "failure":
                    failure = wire.failure_error(part.failure)
                    break
                yield part
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say of silence and nonsense what they are; a clear answer stays."""
        try:
            yield
        except FetcherError:
            raise
        except TimeoutError as error:
            raise FetcherError(
                "enforcer-fetcher did not end its answer in time",
                remedy="Look at the host's load and network; systemctl restart "
                "enforcer-fetcher",
                code=Code.FETCHER_SILENT,
            ) from error
        except OSError as error:
            raise FetcherError(
                f"enforcer-fetcher cannot be reached on {self._path}: "
                f"{error.strerror or error}",
                remedy="systemctl status enforcer-fetcher",
            ) from error
        except (EnforcerError, ttrpc.ProtocolError) as error:
            why = error.what if isinstance(error, EnforcerError) else str(error)
            raise FetcherError(
                f"the answer of enforcer-fetcher made no sense: {clip(why)}",
                remedy="systemctl restart enforcer-fetcher",
                code=Code.FETCHER_GARBLED,
            ) from error


def _send(connection: socket.socket, request: ttrpc.Request, end: float) -> None:
    payload = ttrpc.encode_request(request, timeout_ns=int(left(end) * 1e9))
    connection.settimeout(left(end))
    connection.sendall(ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, payload)))


def _received(connection: socket.socket, end: float) -> Iterator[bytes]:
    """Yield the messages of one answer; whoever reads them knows the last one.

    Raises:
        TooLargeError: More than any answer may have, in bytes or in parts.
        ttrpc.ProtocolError: No ttrpc, or another call's.
        OSError: The fetcher hung up, or the time is over.
    """
    reader = ttrpc.FrameReader(wire.MAX_PART_BYTES + _OVERHEAD)
    read = count = 0
    while True:  # bounded by the deadline, and by the bytes
        connection.settimeout(left(end))
        chunk = connection.recv(CHUNK_BYTES)
        if not chunk:
            raise ConnectionResetError("it hung up")
        read += len(chunk)
        for frame in reader.feed(chunk):
            count += 1
            if (frame.kind, frame.stream) != (ttrpc.RESPONSE, 1):
                raise ttrpc.ProtocolError("no part of an answer")
            yield ttrpc.decode_response(frame.payload)
        if read > wire.MAX_ANSWER_BYTES or count > wire.MAX_ANSWER_PARTS:
            raise TooLargeError("it does not end", remedy="")
