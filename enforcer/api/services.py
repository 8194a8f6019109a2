"""The gRPC services: Verifier for any local program, Admin for root."""

import asyncio
import time
from collections.abc import Callable

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from enforcer.api import wire
from enforcer.api.judge import MAX_WAITING, Judge
from enforcer.api.status import HostStatus
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError

VERIFIER = "enforcer.api.v1.Verifier"
MAX_MESSAGE_BYTES = 64 * 1024  # a request is a name and a digest
# At once, on one socket; further ones are told RESOURCE_EXHAUSTED. Half of what is
# judged at once: whoever may ask about images must leave room for the gate.
MAX_CALLS = MAX_WAITING // 2
MAX_STREAMS = 100  # of those, on one connection; further ones wait at the client

_Context = grpc.aio.ServicerContext[object, object]


class VerifierService(pb_grpc.VerifierServicer):
    """Judges artifacts by name and digest."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def Verify(  # noqa: N802 - the proto's name
        self, request: pb.VerifyRequest, context: _Context
    ) -> pb.VerifyResponse:
        """Answer with a decision. A denial is an OK response."""
        try:
            asked = wire.parse_name_request(request)
            return wire.full_answer(await self._judge.verify(asked))
        except EnforcerError as error:
            return wire.refusal(error.code, f"{error.what}. {error.remedy}")
        except Exception as error:  # noqa: BLE001 - grpcio would leave the caller hanging
            return wire.refusal(
                Code.INTERNAL, f"enforcer failed with {type(error).__name__}"
            )


class AdminService(pb_grpc.AdminServicer):
    """Shows and reloads; on root's own socket only."""

    def __init__(
        self,
        judge: Judge,
        *,
        status: Callable[[], HostStatus],
        reload: Callable[[], str],
    ) -> None:
        self._judge = judge
        self._status = status
        self._reload = reload

    async def Status(  # noqa: N802
        self, request: pb.StatusRequest, context: _Context
    ) -> pb.StatusResponse:
        """Answer with what is in force."""
        found = await asyncio.to_thread(self._status)  # it looks at the disk
        answer = wire.status_answer(found)
        wire.add_tally(answer, self._judge.tally, time.monotonic())
        answer.allowed, answer.denied = self._judge.allowed, self._judge.denied
        return answer

    async def Reload(  # noqa: N802
        self, request: pb.ReloadRequest, context: _Context
    ) -> pb.ReloadResponse:
        """Reload, or fail with the reason; the old policy then stays."""
        try:
            return pb.ReloadResponse(policy_digest=self._reload())
        except EnforcerError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise  # abort always raises; this tells the type checker


def verifier_server(judge: Judge) -> grpc.aio.Server:
    """Make the server behind enforcer.sock: Verifier, health and reflection."""
    server = _server()
    pb_grpc.add_VerifierServicer_to_server(VerifierService(judge), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        (VERIFIER, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    return server


def admin_server(service: AdminService) -> grpc.aio.Server:
    """Make the server behind admin.sock."""
    server = _server()
    pb_grpc.add_AdminServicer_to_server(service, server)
    return server


def _server() -> grpc.aio.Server:
    return grpc.aio.server(
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_metadata_size", 8192),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
        ],
    )


__all__ = [
    "AdminService",
    "HostStatus",
    "VerifierService",
    "admin_server",
    "health_pb2",
    "verifier_server",
]
