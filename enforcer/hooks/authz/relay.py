"""The process that owns the plug-in's socket. Every question gets an answer, in time.

dockerd waits without limit for a plug-in that hangs, so nothing here waits without one:
free calls are answered by the event loop, which asks nobody; the others by a bounded
number of threads that ask enforcerd. Whatever goes wrong is a refusal.
"""

import argparse
import asyncio
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from enforcer.api.sockets import accepts, bind_socket, inherited_sockets, notify
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, TooLargeError
from enforcer.gate import ask
from enforcer.hooks.asking import Asker
from enforcer.hooks.authz.judge import MAX_CALL_BYTES, Judge, is_free, parse_call
from enforcer.hooks.authz.protocol import MAX_HEAD_BYTES, discard, read_head, reply

Answer = dict[str, object]

MAX_CONNECTIONS = 256  # dockerd has one for each call it is at
BACKLOG = 1024  # a full queue is an error for dockerd at once, not a wait
MAX_HELD_BYTES = 64 * 1024 * 1024  # of bodies that are being read or judged
DISCARD_SECONDS = 30  # Docker's own answers may be large, and dockerd busy
SMALL_BYTES = 64 * 1024  # always taken, so that `docker ps` is answered
NAME = "authz"  # of this door, in the audit log and as systemd's socket

ALLOW: Answer = {"Allow": True}
# What needs no judgement. AuthZRes comes when it has happened: what may not happen was
# refused before.
FREE: dict[str, Answer] = {
    "/Plugin.Activate": {"Implements": ["authz"]},
    "/AuthZPlugin.AuthZRes": ALLOW,
}
QUESTION = "/AuthZPlugin.AuthZReq"
PLUGIN_SOCKET = "/run/docker/plugins/enforcer.sock"  # the file's name is ours
SOCKET_NAME = "authz.sock"  # FileDescriptorName of systemd's unit
_BUSY = "are being judged already"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, and how many.

    Attributes:
        read_seconds: For dockerd to say what it asks; it has it all at hand.
        answer_seconds: Until the last word: enforcerd's time, under the 5 s we promise.
        connections: Open ones at a time.
        asking: Calls that are judged at a time; a hundred starts at once are usual.
    """

    read_seconds: float = 2.0
    answer_seconds: float = ask.DEADLINE_SECONDS + 0.5
    connections: int = MAX_CONNECTIONS
    asking: int = 128


class Relay:
    """Answers dockerd, whatever state enforcerd is in."""

    def __init__(
        self, judge: Judge, limits: Limits, threads: Executor | None = None
    ) -> None:
        self._judge = judge
        self._limits = limits
        self._threads = threads or ThreadPoolExecutor(limits.asking)
        self._asking = threading.BoundedSemaphore(limits.asking)
        self._held_bytes = 0
        self._open: set[asyncio.Task[None]] = set()
        self._reading: dict[asyncio.Task[None], None] = {}  # oldest first

    async def start(self, listener: socket.socket) -> asyncio.Server:
        """Begin to accept."""
        return await asyncio.start_unix_server(
            self._accept, sock=listener, limit=MAX_HEAD_BYTES, backlog=BACKLOG
        )

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take everybody in; when it is full, whoever has been silent longest goes."""
        if len(self._open) >= self._limits.connections and self._reading:
            oldest = next(iter(self._reading))
            self._forget(oldest)
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        self._reading[task] = None
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        self._reading.pop(task, None)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            writer.write(reply(await self._answer(reader)))
            async with asyncio.timeout(self._limits.read_seconds):
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # whoever asked is gone
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        """Answer one question, come what may: a silent plug-in hangs dockerd."""
        try:
            try:
                return await self._read_and_judge(reader)
            except EnforcerError as error:
                return await self._judged(partial(self._judge.refuse, NAME, error))
        except TimeoutError:
            return self._refused(Code.DEADLINE, "dockerd's question took too long")
        except asyncio.CancelledError:
            raise  # thrown out for others
        except BaseException as error:  # noqa: BLE001 - also MemoryError, SystemExit
            return self._failed(error)

    async def _read_and_judge(self, reader: asyncio.StreamReader) -> Answer:
        until = asyncio.get_running_loop().time() + self._limits.read_seconds
        async with asyncio.timeout_at(until):
            head = await read_head(reader)
        if head.path != QUESTION:
            await self._discard(reader, head.length)
            return FREE.get(head.path) or self._refused(
                Code.DOCKER_CALL_UNKNOWN, "no call of the plug-in's protocol"
            )
        await self._check_size(reader, head.length)
        self._held_bytes += head.length
        try:
            async with asyncio.timeout_at(until):
                body = await reader.readexactly(head.length)
            self._heard()
            call = parse_call(body)
            if is_free(call):
                return ALLOW
            return await self._judged(partial(self._judge.refusal, call))
        finally:
            self._held_bytes -= head.length

    async def _discard(self, reader: asyncio.StreamReader, length: int) -> None:
        async with asyncio.timeout(DISCARD_SECONDS):
            await discard(reader, length)

    def _heard(self) -> None:
        """From here on it is our turn, and this client is not thrown out."""
        if task := asyncio.current_task():
            self._reading.pop(task, None)

    async def _check_size(self, reader: asyncio.StreamReader, length: int) -> None:
        too_large = length > MAX_CALL_BYTES
        fits = self._held_bytes + length <= MAX_HELD_BYTES or length <= SMALL_BYTES
        if fits and not too_large:
            return
        await self._discard(reader, length)
        if too_large:
            raise TooLargeError(
                f"a call of {length} bytes cannot be judged",
                remedy=f"{MAX_CALL_BYTES} are read, headers and base64 included",
                code=Code.DOCKER_BODY_UNREADABLE,
            )
        raise TooLargeError(
            f"{MAX_HELD_BYTES} bytes of calls {_BUSY}",
            remedy="Try again",
            code=Code.DOCKER_OVERLOADED,
        )

    async def _judged(self, judge: Callable[[], str]) -> Answer:
        """Have a thread judge, but do not wait longer for it than dockerd should."""
        if not self._asking.acquire(blocking=False):
            why = f"{self._limits.asking} calls {_BUSY}"
            return self._refused(Code.DOCKER_OVERLOADED, why)
        try:
            work = self._threads.submit(self._run, judge)
        except BaseException:
            self._asking.release()
            raise
        work.add_done_callback(lambda _: self._asking.release())
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            return self._refused(Code.GATE_SILENT, "enforcerd did not answer in time")

    def _run(self, judge: Callable[[], str]) -> Answer:
        """Judge in a thread; what breaks there must not break the event loop."""
        try:
            refusal = judge()
        except BaseException as error:  # noqa: BLE001 - also GeneratorExit
            return self._failed(error)
        return {"Allow": False, "Msg": refusal} if refusal else ALLOW

    def _failed(self, error: BaseException) -> Answer:
        why = f"the plug-in failed with {type(error).__name__}"
        return self._refused(Code.INTERNAL, why)

    def _refused(self, code: Code, why: str) -> Answer:
        """Refuse without asking anybody; only root's gate.conf makes that an allow."""
        answer = self._judge.asker.unanswered(code, why)
        return ALLOW if answer.passes else {"Allow": False, "Msg": answer.refusal}


def main(argv: list[str] | None = None) -> int:
    """Serve until killed; the socket's path stays, as it is systemd's."""
    parser = argparse.ArgumentParser(prog="enforcer-authz", description=__doc__)
    for option, default, text in _OPTIONS:
        parser.add_argument(option, type=Path, default=Path(default), help=text)
    given = parser.parse_args(argv)
    asker = Asker(NAME, given.ask, given.gate_conf, given.gate_log)
    listener = inherited_sockets().get(SOCKET_NAME)
    if listener is None:
        if accepts(given.socket):
            print(f"somebody serves {given.socket} already", file=sys.stderr)  # noqa: T201
            return 3
        listener = bind_socket(given.socket, mode=0o600)
    listener.setblocking(False)  # noqa: FBT003 - its only form
    judge = Judge(asker, str(given.root))
    asyncio.run(_serve(Relay(judge, Limits(connections=_room())), listener))
    return 0


async def _serve(relay: Relay, listener: socket.socket) -> None:
    server = await relay.start(listener)
    notify("READY=1")
    every = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    while every:
        await asyncio.sleep(every)
        notify("WATCHDOG=1")  # systemd kills and starts what does not say so in time
    await server.serve_forever()


def _room() -> int:
    """How many connections fit in, with a descriptor left for every question."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, 4 * MAX_CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return min(MAX_CONNECTIONS, limit // 2)


_OPTIONS = (
    (
        "--socket",
        PLUGIN_SOCKET,
        "where dockerd finds the plug-in",
    ),
    ("--ask", "/run/enforcer/ask.sock", "where enforcerd listens"),
    ("--root", "/var/lib/docker", "dockerd's data-root, as in enforcer.yaml"),
    ("--gate-conf", "/etc/enforcer/gate.conf", "root's own word about monitor mode"),
    ("--gate-log", "/var/log/enforcer/gate.log", "what would have been refused"),
)
