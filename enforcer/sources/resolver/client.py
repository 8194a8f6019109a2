"""Asks the resolver: over connections that stay, within a deadline."""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import Message

from enforcer import ttrpc
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.subject import Claim
from enforcer.peer import peer_of
from enforcer.ports import (
    BuildStep,
    ContainerRef,
    EngineError,
    Holdings,
    ImageRef,
    RefusedContainer,
    Roll,
    RunningContainer,
)
from enforcer.sources.resolver import live_wire, wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb

MAX_KEPT = 32  # connections that wait for the next question: as many as judge at once
RETRY_SECONDS = 0.02  # until a resolver that is being replaced takes a question
CHUNK_BYTES = 256 * 1024

# A resolver that ends, or is full, hangs up; systemd keeps the socket for the next one.
_AGAIN = (ConnectionResetError, BrokenPipeError, BlockingIOError)


class ResolverError(EngineError):
    """The resolver gave no answer that can be used."""

    default_code = Code.RESOLVER_UNREACHABLE


class ResolverClient:
    """`ports.LiveEngines` behind resolver.sock. Safe to share between threads."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        """Ask at `path`; each call takes `seconds` at most."""
        self._path = path
        self._seconds = seconds
        self._kept: deque[socket.socket] = deque()

    def resolve(self, container: ContainerRef) -> Claim | BuildStep:
        """Say what would run; see `ports.Engines`."""
        question = wire.container_message(container)
        with self._understood():
            return wire.parse_resolved(self._call("Resolve", question))

    def resolve_image(self, image: ImageRef) -> Claim:
        """Say what an image at rest would run as; see `ports.Engines`."""
        with self._understood():
            question = wire.image_message(image)
            found = wire.parse_resolved(self._call("ResolveImage", question))
            if isinstance(found, BuildStep):
                raise MalformedError("a build step is no image", remedy="")
            return found

    def running(self) -> Roll:
        """Say what runs; see `ports.LiveEngines`."""
        with self._understood():
            return live_wire.parse_roll(self._call("ListRunning", pb.Nothing()))

    def held(self) -> Holdings:
        """Say which images are at rest; see `ports.LiveEngines`."""
        with self._understood():
            return live_wire.parse_holdings(self._call("ListImages", pb.Nothing()))

    def refused(self) -> tuple[RefusedContainer, ...]:
        """Say what Docker gave up; see `ports.LiveEngines`."""
        with self._understood():
            raw = self._call("ListRefused", pb.Nothing())
            return live_wire.parse_refused_list(raw)

    def stop(self, container: RunningContainer, grace_seconds: int) -> None:
        """Begin to stop a container; see `ports.LiveEngines`."""
        with self._understood():
            self._call("Stop", live_wire.stopping_message(container, grace_seconds))

    def start(self, container: RefusedContainer) -> None:
        """Begin to start a container; see `ports.LiveEngines`."""
        with self._understood():
            self._call("Start", live_wire.start_message(container))

    def close(self) -> None:
        """Hang up wherever nothing is being asked."""
        while self._kept:
            self._kept.pop().close()

    def _call(self, method: str, question: Message) -> bytes:
        """Return the result of a call, or raise the resolver's own error."""
        request = ttrpc.Request(wire.SERVICE, method, question.SerializeToString())
        try:
            return wire.parse_reply(self._ask(request))
        except TimeoutError as error:
            raise ResolverError(
                f"enforcer-resolver did not answer on {self._path} within "
                f"{self._seconds:g} s",
                remedy="Look at the host's load; systemctl restart enforcer-resolver",
                code=Code.RESOLVER_SILENT,
            ) from error
        except OSError as error:
            raise ResolverError(
                f"enforcer-resolver cannot be reached on {self._path}: "
                f"{error.strerror or error}",
                remedy="systemctl status enforcer-resolver",
            ) from error

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say of what makes no sense that it does not; an engine's error stays."""
        try:
            yield
        except EngineError:
            raise
        except (EnforcerError, ttrpc.ProtocolError) as error:
            why = error.what if isinstance(error, EnforcerError) else str(error)
            raise ResolverError(
                f"the answer of enforcer-resolver on {self._path} made no sense: "
                f"{clip(why)}",
                remedy="systemctl restart enforcer-resolver enforcer",
                code=Code.RESOLVER_GARBLED,
            ) from error

    def _ask(self, request: ttrpc.Request) -> bytes:
        """Ask until there is an answer or no time: a resolver that ends hangs up.

        To ask again what was asked already does no harm, whatever the question.
        """
        end = time.monotonic() + self._seconds
        while True:  # bounded by the deadline
            try:
                return self._ask_once(request, end)
            except _AGAIN:
                if time.monotonic() + RETRY_SECONDS >= end:
                    raise
                time.sleep(RETRY_SECONDS)

    def _ask_once(self, request: ttrpc.Request, end: float) -> bytes:
        connection = self._take() or self._connect(end)
        try:
            answer = _round_trip(connection, request, end)
        except BaseException:
            connection.close()  # with half an answer in it, perhaps
            raise
        self._keep(connection)
        return answer

    def _take(self) -> socket.socket | None:
        """Return a connection that is still one; the others are closed."""
        while True:  # bounded by MAX_KEPT
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            if _is_quiet(connection):
                return connection
            connection.close()

    def _keep(self, connection: socket.socket) -> None:
        self._kept.append(connection)
        while len(self._kept) > MAX_KEPT:
            with contextlib.suppress(IndexError):  # another thread was first
                self._kept.popleft().close()

    def _connect(self, end: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(end))
            connection.connect(str(self._path))
            uid = peer_of(connection).uid
            if uid not in (0, os.geteuid()):
                raise ResolverError(
                    f"{self._path} is not root's but uid {uid}'s, so its answer is "
                    "worth nothing",
                    remedy="systemctl restart enforcer-resolver.socket",
                    code=Code.RESOLVER_UNTRUSTED,
                )
        except BaseException:
            connection.close()
            raise
        return connection


def _round_trip(connection: socket.socket, request: ttrpc.Request, end: float) -> bytes:
    payload = ttrpc.encode_request(request, timeout_ns=int(_left(end) * 1e9))
    connection.settimeout(_left(end))
    connection.sendall(ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, payload)))
    reader = ttrpc.FrameReader(wire.MAX_ANSWER_BYTES + ttrpc.MAX_MESSAGE_BYTES)
    while True:  # bounded by the deadline, and by the reader
        connection.settimeout(_left(end))
        received = connection.recv(CHUNK_BYTES)
        if not received:
            raise ConnectionResetError("the resolver hung up")
        frames = reader.feed(received)
        if frames:
            kinds = [(frame.kind, frame.stream) for frame in frames]
            if kinds != [(ttrpc.RESPONSE, 1)]:
                raise ttrpc.ProtocolError("not one response")
            return ttrpc.decode_response(frames[0].payload)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_quiet(connection: socket.socket) -> bool:
    """Whether nothing came: neither an end nor an answer nobody asked for."""
    connection.setblocking(False)  # noqa: FBT003 - its only form
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
