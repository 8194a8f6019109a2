"""Asks a running enforcerd what it enforces, over admin.sock."""

from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from enforcer.api.v1.enforcer_pb2 import StatusResponse

__all__ = ["StatusError", "StatusResponse", "fetch_status"]

CALL_SECONDS = 5.0  # an answer takes a millisecond; a busy daemon some more
MAX_TEXT = 8000  # characters; the problems of a policy are the longest


class StatusError(EnforcerError):
    """enforcerd does not say what it enforces."""

    default_code = Code.DAEMON_UNREACHABLE


def fetch_status(run_dir: Path) -> "StatusResponse":
    """Return what the daemon says on root's own socket, or raise StatusError.

    Every text in it is safe to show: enforcerd judges hostile bytes, root reads this.
    """
    import grpc  # slow to load

    from enforcer.api.v1 import enforcer_pb2 as pb
    from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc

    path = run_dir / "admin.sock"
    options = [("grpc.use_local_subchannel_pool", 1)]  # one that failed is not kept
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        try:
            found: StatusResponse = pb_grpc.AdminStub(channel).Status(
                pb.StatusRequest(), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise StatusError(
                f"enforcerd cannot be asked on {path}: {error.code().name}",
                remedy="systemctl status enforcer",
            ) from error
    _make_safe(found)
    return found


def _make_safe(message: "Message") -> None:
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, clip(value, limit=MAX_TEXT))
        elif field.type == field.TYPE_STRING:
            value[:] = [clip(text, limit=MAX_TEXT) for text in value]
        elif field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                _make_safe(inner)
