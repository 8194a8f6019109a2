"""Probes of enforcer.sock: gRPC with asyncio and without, connected or not yet."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from tests.bench.measure import milliseconds_since

SECONDS = 10.0  # to wait for an answer; the daemon takes three at most
# Or all channels to one address share a connection, and "per call" would not connect.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]

# What to call on a channel: the answer, or on an asyncio channel an awaitable of it.
Call = Callable[[grpc.Channel | grpc.aio.Channel], Any]


def check(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    """The call that does nothing: gRPC's health check."""
    stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack the methods
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)


def verify(reference: str, digest: str) -> Call:
    """Ask for a decision about an artifact."""
    request = pb.VerifyRequest(asked_by="bench", reference=reference, digest=digest)

    def call(channel: grpc.Channel | grpc.aio.Channel) -> Any:
        return pb_grpc.VerifierStub(channel).Verify(request, timeout=SECONDS)

    return call


class SyncClient:
    """gRPC's blocking client."""

    def __init__(self, path: Path) -> None:
        self._target = f"unix:{path}"
        self._channel = self._open()

    def warm(self, call: Call) -> float:
        """Milliseconds of a call on a connection that is there already."""
        started = time.perf_counter()
        call(self._channel)
        return milliseconds_since(started)

    def cold(self, call: Call) -> float:
        """Milliseconds of a connection, a call and hanging up."""
        started = time.perf_counter()
        with self._open() as channel:
            call(channel)
        return milliseconds_since(started)

    def ask(self, call: Call) -> pb.VerifyResponse:
        """Return a decision."""
        answer: pb.VerifyResponse = call(self._channel)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _open(self) -> grpc.Channel:
        return grpc.insecure_channel(self._target, options=_OPTIONS)


class AioClient:
    """gRPC's asyncio client, on a loop of its own that runs during a call only."""

    def __init__(self, path: Path) -> None:
        self._target = f"unix:{path}"
        self._runner = asyncio.Runner()
        self._channel = self._runner.run(self._open())

    def warm(self, call: Call) -> float:
        """Milliseconds of a call on a connection that is there already."""

        async def probe() -> float:
            started = time.perf_counter()
            await call(self._channel)
            return milliseconds_since(started)

        return self._runner.run(probe())

    def cold(self, call: Call) -> float:
        """Milliseconds of a connection, a call and hanging up."""

        async def probe() -> float:
            started = time.perf_counter()
            async with await self._open() as channel:
                await call(channel)
            return milliseconds_since(started)

        return self._runner.run(probe())

    def close(self) -> None:
        """Hang up."""
        self._runner.run(self._channel.close())
        self._runner.close()

    async def _open(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
