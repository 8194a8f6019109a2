"""Calls to containerd: bounded in time, and its failures become ours."""

from typing import TypeVar

import grpc

from enforcer.core.codes import Code
from enforcer.ports import EngineError

CALL_SECONDS = 1.5  # half the decision's deadline; an answer takes a millisecond

Metadata = tuple[tuple[str, str], ...]


def within(namespace: str) -> Metadata:
    """Return what says in which namespace a call is."""
    return (("containerd-namespace", namespace),)


_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


def call(
    method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
    request: _Request,
    metadata: Metadata,
    what: str,
) -> _Response:
    """Ask containerd, within CALL_SECONDS; its failures become ours."""
    try:
        return method(
            request, metadata=metadata, timeout=CALL_SECONDS, wait_for_ready=True
        )
    except grpc.RpcError as error:
        raise failure(error, what) from error


def failure(error: grpc.RpcError, what: str) -> EngineError:
    """Say of containerd's failures what ours say."""
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return EngineError(
            f"containerd has no record of {what}",
            remedy="No record is a denial. Create the container from an image.",
        )
    return EngineError(
        f"containerd did not say about {what}: {error.code().name}",
        remedy="Check that containerd runs and that `engines` in enforcer.yaml "
        "names its socket.",
        code=Code.ENGINE_UNREACHABLE,
    )
