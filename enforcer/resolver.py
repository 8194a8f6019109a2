"""enforcer-resolver: reads for enforcerd what only root can read, and judges nothing.

It holds the engines' sockets and state, and what it says is a claim: it parses no
signature and knows no policy. enforcerd, which does, has no privileges.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog
from google.protobuf.message import Message

from enforcer import ttrpc
from enforcer.api.one_door import serve
from enforcer.api.process import (
    cannot_start,
    option_parser,
    set_up_log,
)
from enforcer.api.sockets import (
    CHUNK_BYTES,
    Door,
    bind_socket,
    inherited_sockets,
)
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import locked, make_folder, require_trusted_folder
from enforcer.peer import Peer
from enforcer.ports import EngineError, LiveEngines
from enforcer.settings import load_settings
from enforcer.sources.engines import HostEngines
from enforcer.sources.resolver import live_wire, wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb

SOCKET = "resolver.sock"
THREADS = 32  # as many as judge at once in enforcerd
IDLE_SECONDS = 300.0  # a connection that asks nothing; enforcerd makes another
WRITE_SECONDS = 5.0  # for an answer to be taken
ALIVE_SECONDS = 3.0  # for a thread to be free; longer than any question may take
UNIMPLEMENTED = 12  # google.rpc.Code

Method = Callable[[bytes], Message]

log = structlog.get_logger("enforcer-resolver")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status (design section 7)."""
    given = option_parser("enforcer-resolver", __doc__).parse_args(argv)
    set_up_log()
    try:
        settings = load_settings(given.config_dir, given.state_dir, given.run_dir)
        make_folder(settings.run_dir, mode=0o755)
        require_trusted_folder(settings.run_dir)
        with locked(settings.run_dir / "resolver.lock", wait=False) as held:
            if not held:
                log.error("another enforcer-resolver serves here")
                return 3
            path = settings.run_dir / SOCKET
            listener = inherited_sockets().get(SOCKET) or bind_socket(path, mode=0o600)
            # Whom the socket was given to may ask; nobody else gets as far as this.
            asks = {path.lstat().st_uid} if path.is_socket() else set()
            host = HostEngines(
                [(e.kind, e.socket, e.root, e.state, e.api) for e in settings.engines]
            )
            handler = ResolverHandler(methods(host))
            door = Door(listener, handler, owner_only=True, also=asks)
            asyncio.run(serve(door, handler, doing="reads the engines for enforcerd"))
    except (EnforcerError, OSError) as error:
        return cannot_start(error)
    return 0


def methods(host: LiveEngines) -> Mapping[str, Method]:
    """Return what can be asked, by name: bytes of a question to a message.

    Another one takes its messages in resolver.proto, a line here, their reading and
    writing in `sources.resolver.wire`, and a method of `ResolverClient`.
    """
    return {
        "Resolve": lambda raw: wire.resolved_message(
            host.resolve(wire.parse_container(raw))
        ),
        "ResolveImage": lambda raw: wire.resolved_message(
            host.resolve_image(wire.parse_image(raw))
        ),
        "ListRunning": lambda raw: live_wire.roll_message(host.running()),
        "ListImages": lambda raw: live_wire.holdings_message(host.held()),
        "ListRefused": lambda raw: live_wire.refused_message(host.refused()),
        "Stop": lambda raw: _stop(host, raw),
        "Start": lambda raw: _start(host, raw),
    }


def _stop(host: LiveEngines, raw: bytes) -> pb.Nothing:
    host.stop(*live_wire.parse_stopping(raw))
    return pb.Nothing()


def _start(host: LiveEngines, raw: bytes) -> pb.Nothing:
    host.start(live_wire.parse_start(raw))
    return pb.Nothing()


class ResolverHandler:
    """Answers one connection after its peer is known, one question after the other."""

    def __init__(self, named: Mapping[str, Method]) -> None:
        self._methods = named
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")

    async def __call__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer until the peer hangs up, stays silent for long, or talks nonsense."""
        frames = ttrpc.FrameReader()
        while True:
            chunk = await asyncio.wait_for(reader.read(CHUNK_BYTES), IDLE_SECONDS)
            if not chunk:
                return
            try:
                for frame in frames.feed(chunk):
                    answer = await self._answer(frame)
                    response = ttrpc.Frame(frame.stream, ttrpc.RESPONSE, answer)
                    writer.write(ttrpc.encode_frame(response))
                    await asyncio.wait_for(writer.drain(), WRITE_SECONDS)
            except ttrpc.ProtocolError as error:
                log.warning("not a question", pid=peer.pid, reason=str(error))
                return

    async def is_alive(self) -> bool:
        """Whether a thread still takes work; what the watchdog asks."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await loop.run_in_executor(self._threads, time.monotonic)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop taking work; what runs may end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, frame: ttrpc.Frame) -> bytes:
        if frame.kind != ttrpc.REQUEST:
            raise ttrpc.ProtocolError("not a request")
        call = ttrpc.decode_request(frame.payload)
        method = self._methods.get(call.method)
        if call.service != wire.SERVICE or method is None:
            return ttrpc.encode_failure(UNIMPLEMENTED, "no such method")
        reply = await asyncio.get_running_loop().run_in_executor(
            self._threads, _reply, method, call.payload
        )
        return ttrpc.encode_response(reply)


def _reply(method: Method, question: bytes) -> bytes:
    """Answer one question, come what may."""
    try:
        return wire.result(method(question))
    except EnforcerError as error:
        return wire.failure(error)
    except Exception as error:
        log.exception("a mistake")
        what = f"enforcer-resolver failed with {type(error).__name__}"
        remedy = "Please report it with the resolver's log."
        return wire.failure(EngineError(what, remedy=remedy, code=Code.INTERNAL))


if __name__ == "__main__":
    sys.exit(main())
