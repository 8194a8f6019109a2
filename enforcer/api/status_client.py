"""Asks a running enforcerd what it enforces, over admin.sock."""

from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError

if TYPE_CHECKING:
    from enforcer.api.v1.enforcer_pb2 import StatusResponse

__all__ = ["StatusError", "StatusResponse", "fetch_status"]

CALL_SECONDS = 5.0  # an answer takes a millisecond; a busy daemon some more


class StatusError(EnforcerError):
    """enforcerd does not say what it enforces."""

    default_code = Code.DAEMON_UNREACHABLE


def fetch_status(run_dir: Path) -> "StatusResponse":
    """Return what the daemon says on root's own socket, or raise StatusError."""
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
    return found
