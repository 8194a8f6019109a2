"""What passes through the CRI proxy arrives as it was sent, in both directions.

The other side is a gRPC server that says what it got, for what containerd never shows:
metadata, deadlines, trailers. tests/real has containerd itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from enforcer.hooks.asking import Asker
from enforcer.hooks.cri.proxy import (
    CHANNEL_OPTIONS,
    MAX_MESSAGE_BYTES,
    SERVER_OPTIONS,
    CriProxy,
)

RUNTIME = "/runtime.v1.RuntimeService/"
MIB = 1024 * 1024
SAFETY_SECONDS = 60  # a hung test fails instead
Context = grpc.aio.ServicerContext[bytes, bytes]
Streams = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
Unary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class Engine(grpc.GenericRpcHandler):
    """Answers every message with itself, and tells in its trailers what it saw."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.waits = asyncio.Event()
        self.hung_up = asyncio.Event()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        self.calls.append(handler_call_details.method)
        name = handler_call_details.method.rpartition("/")[2]
        handlers = {"Fails": self._fails, "Waits": self._waits}
        return grpc.stream_stream_rpc_method_handler(handlers.get(name, self._echo))

    async def _echo(self, requests: AsyncIterator[bytes], context: Context) -> None:
        seen = tuple(context.invocation_metadata() or ())
        await context.send_initial_metadata((("first", "word"), ("raw-bin", b"\0\xff")))
        async for message in requests:
            await context.write(message)
        left: float | None = context.time_remaining()  # the stubs forget None
        context.set_trailing_metadata(
            (
                ("left", "none" if left is None else f"{left:.0f}"),
                *((f"saw-{k}", v) for k, v in seen if k.startswith("my-")),
            )
        )

    async def _fails(self, requests: AsyncIterator[bytes], context: Context) -> None:
        details = (("grpc-status-details-bin", b"\x08\x05"), ("why", "because"))
        text = "no, nö\n" + "x" * 20_000
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, text, details)

    async def _waits(self, requests: AsyncIterator[bytes], context: Context) -> None:
        self.waits.set()
        try:
            await asyncio.sleep(SAFETY_SECONDS)
        finally:
            self.hung_up.set()


class Line:
    """A channel to the engine, or through the proxy to it."""

    def __init__(self, channel: grpc.aio.Channel, engine: Engine) -> None:
        self.channel = channel
        self.engine = engine

    def streams(self, method: str) -> Streams:
        return self.channel.stream_stream(method)

    def unary(self, method: str) -> Unary:
        return self.channel.unary_unary(method)


@pytest.fixture(params=["direct", "proxied"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    """The same tests with and without the proxy: nobody may see a difference."""
    engine = Engine()
    asker = Asker("cri", tmp_path / "ask", tmp_path / "conf", tmp_path / "log")
    async with (
        serving(engine, tmp_path / "engine") as direct,
        serving(CriProxy(direct, asker, "/"), tmp_path / "proxy") as proxied,
    ):
        yield Line(direct if request.param == "direct" else proxied, engine)


@contextlib.asynccontextmanager
async def serving(
    handler: grpc.GenericRpcHandler, path: Path
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve as enforcer-cri does; yield a channel to it."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}", CHANNEL_OPTIONS) as channel:
        yield channel
    await server.stop(None)


async def test_messages_metadata_and_deadline_pass_in_both_directions(
    line: Line,
) -> None:
    """Byte for byte, also of a method that nobody here knows."""
    call = line.streams(f"{RUNTIME}OfTheFuture")(
        timeout=400, metadata=(("my-word", "w"), ("my-raw-bin", b"\0\1\xfe"))
    )
    messages = [b"", b"", b"\xff" * 10, b"x" * (MIB * 17)]
    answers = []
    for message in messages:  # one after the other: it is no batch
        await call.write(message)
        answers.append(await call.read())
    await call.done_writing()

    assert await call.read() is grpc.aio.EOF
    assert answers == messages
    assert tuple(await call.initial_metadata()) == (
        ("first", "word"),
        ("raw-bin", b"\0\xff"),
    )
    trailing = dict(await call.trailing_metadata())
    left = trailing.pop("left")
    assert 350 <= int(str(left)) <= 400
    assert trailing == {"saw-my-word": "w", "saw-my-raw-bin": b"\0\1\xfe"}
    assert await call.code() is grpc.StatusCode.OK


async def test_a_call_without_a_deadline_gets_none(line: Line) -> None:
    """kubelet follows events for days."""
    call = line.unary(f"{RUNTIME}Version")(b"v")

    assert await call == b"v"
    assert dict(await call.trailing_metadata()) == {"left": "none"}


async def test_a_failure_arrives_whole(line: Line) -> None:
    """Code, text however long or foreign, details and trailers."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.unary(f"{RUNTIME}Fails")(b"")

    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert caught.value.details() == "no, nö\n" + "x" * 20_000
    assert dict(caught.value.trailing_metadata()) == {
        "grpc-status-details-bin": b"\x08\x05",
        "why": "because",
    }


@pytest.mark.parametrize("by", ["cancel", "deadline"])
async def test_a_client_that_gives_up_ends_the_call_at_the_engine(
    line: Line, by: str
) -> None:
    """What nobody waits for is not to go on."""
    call = line.unary(f"{RUNTIME}Waits")(b"", timeout=2 if by == "deadline" else None)
    if by == "cancel":
        async with asyncio.timeout(SAFETY_SECONDS):
            await line.engine.waits.wait()
        call.cancel()

    async with asyncio.timeout(SAFETY_SECONDS / 2):
        await line.engine.hung_up.wait()

    expected = {"cancel": "CANCELLED", "deadline": "DEADLINE_EXCEEDED"}
    assert (await call.code()).name == expected[by]


@pytest.mark.parametrize("line", ["proxied"], indirect=True)
@pytest.mark.parametrize(
    "method",
    [
        "/containerd.services.images.v1.Images/List",
        "/containerd.services.content.v1.Content/Write",
        "/runtime.v1alpha2.RuntimeService/CreateContainer",
        "/grpc.health.v1.Health/Check",
        "/runtime.v1.RuntimeService",
        "/runtime.v1.RuntimeService/",
        "/runtime.v1.RuntimeService/../Version",
        "/runtime.v1.RuntimeService/CreateContainer/",
        "/runtime.v1.RuntimeService/CreateContainer ",
        "/runtime.v1.RuntimeService/CreateContainer\u0000",
        "//runtime.v1.RuntimeService/CreateContainer",
        "/x/runtime.v1.RuntimeService/CreateContainer",
        "/runtimexv1.RuntimeService/Version",
    ],
)
async def test_nothing_but_cri_passes(line: Line, method: str) -> None:
    """cri.sock is no way to containerd's own services, by whatever spelling."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.unary(method)(b"", timeout=SAFETY_SECONDS)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert line.engine.calls == []


@pytest.mark.parametrize("line", ["proxied"], indirect=True)
async def test_a_message_above_the_bound_is_refused(line: Line) -> None:
    """Twice what containerd takes: memory has an end."""
    too_much = bytes(MAX_MESSAGE_BYTES + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.unary(f"{RUNTIME}Version")(too_much, timeout=SAFETY_SECONDS)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("line", ["proxied"], indirect=True)
@pytest.mark.parametrize("method", ["RuntimeService/CreateContainer"])
async def test_without_enforcerd_what_needs_judging_is_refused(
    line: Line, method: str
) -> None:
    """Here nobody listens on ask.sock at all; everything else goes on."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.unary(f"/runtime.v1.{method}")(b"", timeout=SAFETY_SECONDS)

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "nothing starts" in (caught.value.details() or "")
    assert "[ENF-1601]" in (caught.value.details() or "")
    assert line.engine.calls == []
    version = line.unary(f"{RUNTIME}Version")
    assert await version(b"v", timeout=SAFETY_SECONDS) == b"v"
