"""CRI from a client to containerd and back: raw bytes, whatever the method.

Methods nobody here has heard of pass, too, if they are CRI's. Everything else that
containerd offers on its socket does not: cri.sock is no way to containerd's own API.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterable
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio
import structlog

from enforcer.core.errors import EnforcerError, clip
from enforcer.hooks.asking import Asker
from enforcer.hooks.cri.judging import ImageJudge, RefusedError

# containerd itself takes and gives 16 MiB unless told otherwise, and is to say so.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
MAX_METADATA_BYTES = 256 * 1024  # an error's text travels in it; grpcio's is 8 KiB
MAX_STREAMS = 256  # calls on one connection, a quarter of all; kubelet has dozens
MAX_LOGGED = 1000
# CRI's clients say with their one message that it is the only one. Then it goes on as
# such: grpcio cannot tell how a call ended that ends while it still writes a stream.
END_SECONDS = 0.25
ENGINE_SECONDS = 10.0  # for questions of our own: what images are here; remove one

_RUNTIME, _IMAGES = "/runtime.v1.RuntimeService/", "/runtime.v1.ImageService/"
_METHOD = re.compile(rf"(?:{re.escape(_RUNTIME)}|{re.escape(_IMAGES)})[A-Za-z0-9]+")
# Of one connection only; and a client's name, which grpcio gives itself.
_HOP = frozenset(
    {"user-agent", "te", "content-type", "accept-encoding", "grpc-timeout"}
    | {"grpc-encoding", "grpc-accept-encoding"}
)
_LIMITS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
)
SERVER_OPTIONS = (
    *_LIMITS,
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: it has no bound
    ("grpc.so_reuseport", 0),
)
CHANNEL_OPTIONS = (
    *_LIMITS,
    ("grpc.default_authority", "localhost"),
    ("grpc.min_reconnect_backoff_ms", 50),  # containerd comes back within a second
    ("grpc.max_reconnect_backoff_ms", 250),
)

Context = grpc.aio.ServicerContext[bytes, bytes]
_Metadata = tuple[tuple[str, str | bytes], ...]
_Unary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
_OneStream = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
_Answers = (
    grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes]
)
_Streams = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
log = structlog.get_logger("enforcer-cri")


class CriProxy(grpc.GenericRpcHandler):
    """Passes every call of CRI on, and two of them only after a yes."""

    def __init__(
        self, channel: grpc.aio.Channel, asker: Asker, engine_root: str
    ) -> None:
        self._channel = channel
        self._judge = ImageJudge(asker, engine_root, self._call_images)
        self._unfinished: set[asyncio.Task[None]] = set()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a method; None for what is not CRI's."""
        method = handler_call_details.method
        if method == f"{_RUNTIME}CreateContainer":
            return grpc.unary_unary_rpc_method_handler(self._create)
        if method == f"{_IMAGES}PullImage":
            return grpc.unary_unary_rpc_method_handler(self._pull)
        if not _METHOD.fullmatch(method):
            return None
        return grpc.stream_stream_rpc_method_handler(partial(self._pass, method))

    async def _pass(
        self, method: str, _: AsyncIterator[bytes], context: Context
    ) -> None:
        """Pass messages in both directions until both sides have ended."""
        first = await context.read()
        more = asyncio.create_task(context.read())
        try:
            await asyncio.wait({more}, timeout=END_SECONDS)
            call = self._start(method, first, more, context)
            try:
                await context.send_initial_metadata(
                    _kept(await call.initial_metadata())
                )
                async for answer in call:
                    await context.write(answer)
                context.set_trailing_metadata(_kept(await call.trailing_metadata()))
            finally:
                call.cancel()
        except grpc.aio.AioRpcError as error:
            await _fail(context, error)
        finally:
            more.cancel()

    def _start(
        self, method: str, first: bytes, more: asyncio.Task[bytes], context: Context
    ) -> _Answers:
        if more.done() and _is_end(more.result()):
            one: _OneStream = self._channel.unary_stream(method)
            return one(first, **_terms(context))
        many: _Streams = self._channel.stream_stream(method)
        return many(_messages(first, more, context), **_terms(context))

    async def _create(self, request: bytes, context: Context) -> bytes:
        try:
            judged = await self._judge.create(request)
            return await self._forward(f"{_RUNTIME}CreateContainer", judged, context)
        except _FAILURES as error:
            await _fail(context, error)

    async def _pull(self, request: bytes, context: Context) -> bytes:
        try:
            pulling = await self._judge.before_pull(request)
            answer = await self._forward(f"{_IMAGES}PullImage", request, context)
            # Also for a client that hangs up now: what may not stay is to be removed.
            await self._finished(self._judge.pulled(pulling, answer))
        except _FAILURES as error:
            await _fail(context, error)
        return answer

    async def _forward(self, method: str, request: bytes, context: Context) -> bytes:
        start: _Unary = self._channel.unary_unary(method)
        call = start(request, **_terms(context))
        try:
            answer = await call
        finally:
            call.cancel()
        context.set_trailing_metadata(_kept(await call.trailing_metadata()))
        return answer

    async def _call_images(self, method: str, request: bytes) -> bytes:
        call: _Unary = self._channel.unary_unary(f"{_IMAGES}{method}")
        return await call(request, timeout=ENGINE_SECONDS)

    async def _finished(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._unfinished.add(task)  # or it might be collected while it runs
        task.add_done_callback(self._unfinished.discard)
        await asyncio.shield(task)


_FAILURES = (RefusedError, EnforcerError, grpc.aio.AioRpcError)


async def _messages(
    first: bytes, more: asyncio.Task[bytes], context: Context
) -> AsyncIterator[bytes]:
    if _is_end(first):
        return
    yield first
    message = await more
    while not _is_end(message):
        yield message
        message = await context.read()


def _is_end(message: object) -> bool:
    return message is grpc.aio.EOF


async def _fail(context: Context, error: Exception) -> NoReturn:
    """End the call: as containerd ended it, or with our refusal."""
    if isinstance(error, grpc.aio.AioRpcError):
        trailing = _kept(error.trailing_metadata())
        await context.abort(error.code(), error.details() or "", trailing)
    code = grpc.StatusCode.INVALID_ARGUMENT  # what cannot be read
    text = f"enforcer: {error}"
    if isinstance(error, RefusedError):
        code, text = error.code, str(error)
    log.warning("refused", code=code.name, reason=clip(text, limit=MAX_LOGGED))
    await context.abort(code, text)


def _terms(context: Context) -> dict[str, Any]:
    """Return the client's deadline and metadata, for the call to containerd."""
    metadata = _kept(context.invocation_metadata())
    return {"timeout": context.time_remaining(), "metadata": metadata}


def _kept(metadata: Iterable[tuple[str, str | bytes]] | None) -> _Metadata:
    """Return metadata without what belongs to one connection."""
    return tuple((k, v) for k, v in metadata or () if k not in _HOP)
