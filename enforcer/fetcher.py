"""enforcer-fetcher: asks registries, lists and responders for who may use no network.

It knows no policy and no trust store, and keeps nothing: what it is to reach, and as
whom, comes with each question, and what it brings is checked by who asked.
"""

import asyncio
import contextlib
import ctypes
import os
import pwd
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

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
from enforcer.sources.fetcher import wire
from enforcer.sources.fetcher.pb import fetcher_pb2 as pb
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.collect import Limits, collect
from enforcer.sources.revocation.fetch import HttpFetcher

RUN_DIR = Path("/run/enforcer")
SOCKET = "fetcher.sock"
USER = "enforcer-fetch"
NOBODY = 65534
THREADS = 8  # calls at once; each holds one signature in memory, of 36 MiB at most
IDLE_SECONDS = 300.0  # a connection that asks nothing
WRITE_SECONDS = 30.0  # for a part of an answer to be taken
OVERDUE_SECONDS = 10.0  # past its deadline a call is hung
SET_NO_NEW_PRIVS = 38  # prctl(2)

Method = Callable[[bytes], Iterator[pb.Part]]
Send = Callable[[pb.Part], None]

log = structlog.get_logger("enforcer-fetcher")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status (design section 7)."""
    parser = option_parser("enforcer-fetcher", __doc__)
    parser.add_argument(
        "--stdio",
        action="store_true",
        help="answer at the socket that is standard input, until it is closed",
    )
    given = parser.parse_args(argv)
    set_up_log()
    try:
        if given.stdio:
            with socket.socket(fileno=os.dup(0)) as connection:
                drop_rights()
                for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
                    resource.setrlimit(limit, (0, 0))  # its unit, if it had one
                asyncio.run(_serve_one(connection))
        else:
            _serve_socket(given.run_dir or RUN_DIR)
    except (EnforcerError, OSError) as error:
        return cannot_start(error)
    return 0


def fetch_signatures(raw: bytes) -> Iterator[pb.Part]:
    """Yield what a registry holds about a reference, as it comes."""
    wanted = wire.parse_wanted(raw)
    until = time.monotonic() + wanted.seconds
    limits = Limits(bytes=wire.MAX_HELD_BYTES, items=wire.MAX_HELD_ITEMS)
    with Registry(wanted.access, until) as registry:
        for item in collect(registry, wanted.repository, wanted.reference, limits):
            yield wire.item_part(item)


def fetch_url(raw: bytes) -> Iterator[pb.Part]:
    """Yield the body of a URL."""
    yield pb.Part(body=HttpFetcher().fetch(wire.parse_url(raw)))


METHODS: Mapping[str, Method] = {
    "FetchSignatures": fetch_signatures,
    "FetchUrl": fetch_url,
}


class FetchHandler:
    """Answers one connection after its peer is known, one question after the other."""

    def __init__(self, methods: Mapping[str, Method] = METHODS) -> None:
        self._methods = methods
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
        self._busy = 0
        self._hung = 0

    async def __call__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer until the peer hangs up, stays silent for long, or talks nonsense."""
        frames = ttrpc.FrameReader(wire.MAX_QUESTION_BYTES)
        while True:
            chunk = await asyncio.wait_for(reader.read(CHUNK_BYTES), IDLE_SECONDS)
            if not chunk:
                return
            try:
                for frame in frames.feed(chunk):
                    await self._answer(frame, writer)
            except ttrpc.ProtocolError as error:
                log.warning("not a question", pid=peer.pid, reason=str(error))
                return

    async def is_alive(self) -> bool:
        """Whether a thread is left that may still end; what the watchdog asks."""
        return self._hung < THREADS

    def close(self) -> None:
        """Stop taking work; what runs may end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, frame: ttrpc.Frame, writer: asyncio.StreamWriter) -> None:
        """Answer one question, and raise TimeoutError where that hangs."""
        if frame.kind != ttrpc.REQUEST:
            raise ttrpc.ProtocolError("not a request")
        call = ttrpc.decode_request(frame.payload)
        method = self._methods.get(call.method)
        if call.service != wire.SERVICE or method is None:
            raise ttrpc.ProtocolError("no such method")
        if self._busy >= THREADS:
            await _send(writer, frame.stream, wire.failure_part(_busy()))
            return
        loop = asyncio.get_running_loop()

        def send(part: pb.Part) -> None:
            sending = _send(writer, frame.stream, part)
            asyncio.run_coroutine_threadsafe(sending, loop).result(WRITE_SECONDS + 1)

        self._busy += 1
        work = loop.run_in_executor(self._threads, _answer, method, call.payload, send)
        done, _ = await asyncio.wait({work}, timeout=wire.MAX_SECONDS + OVERDUE_SECONDS)
        if done:
            self._busy -= 1
            await work
            return
        self._hung += 1
        work.add_done_callback(self._recovered)
        raise TimeoutError

    def _recovered(self, work: asyncio.Future[None]) -> None:
        self._hung -= 1
        self._busy -= 1
        work.exception()  # taken note of; nobody waits for it any more


def drop_rights() -> None:
    """Give up root, and what could be had again: before a byte is read.

    Done here and not by who starts us, so that our own code may be where only root can
    read it.
    """
    if os.geteuid() == 0:
        uid, gid = _account()
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _account() -> tuple[int, int]:
    """Return whom to be instead of root: our own user, or nobody without one."""
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(USER)
        return entry.pw_uid, entry.pw_gid
    return NOBODY, NOBODY


def _answer(method: Method, question: bytes, send: Send) -> None:
    """Answer one question, come what may; raise OSError where nobody listens."""
    try:
        for part in method(question):
            send(part)
        last = pb.Part(end=pb.Nothing())
    except EnforcerError as error:
        log.info("not had", code=str(error.code), reason=error.what)
        last = wire.failure_part(error)
    except (OSError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.exception("a mistake")
        what = f"enforcer-fetcher failed with {type(error).__name__}"
        remedy = "Please report it with the fetcher's log."
        last = wire.failure_part(EnforcerError(what, remedy=remedy, code=Code.INTERNAL))
    send(last)


async def _send(writer: asyncio.StreamWriter, stream: int, part: pb.Part) -> None:
    payload = ttrpc.encode_response(part.SerializeToString())
    writer.write(ttrpc.encode_frame(ttrpc.Frame(stream, ttrpc.RESPONSE, payload)))
    await asyncio.wait_for(writer.drain(), WRITE_SECONDS)


def _busy() -> EnforcerError:
    return EnforcerError(
        f"enforcer-fetcher fetches for {THREADS} at once already",
        remedy="Try again in a moment.",
        code=Code.FETCHER_BUSY,
    )


def _serve_socket(run_dir: Path) -> None:
    """Serve systemd's socket, or one that root makes here."""
    path = run_dir / SOCKET
    listener = inherited_sockets().get(SOCKET)
    with contextlib.ExitStack() as stack:
        if listener is None:
            make_folder(run_dir, mode=0o755)
            require_trusted_folder(run_dir)
            lock = locked(run_dir / "fetcher.lock", wait=False)
            if not stack.enter_context(lock):
                raise EnforcerError(
                    "another enforcer-fetcher serves here",
                    remedy="Stop it first.",
                    code=Code.FETCHER_BUSY,
                )
            listener = bind_socket(path, mode=0o600)
        # Whom the socket was given to may ask; nobody else gets as far as this.
        asks = {path.lstat().st_uid} if path.is_socket() else set()
        drop_rights()
        handler = FetchHandler()
        door = Door(listener, handler, owner_only=True, also=asks)
        asyncio.run(serve(door, handler, doing="fetches what it is asked for"))


async def _serve_one(connection: socket.socket) -> None:
    """Serve who started us, until it hangs up."""
    handler = FetchHandler()
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    with contextlib.suppress(OSError, TimeoutError):
        await handler(Peer(os.getppid(), os.getuid()), reader, writer)
    handler.close()


if __name__ == "__main__":
    sys.exit(main())
