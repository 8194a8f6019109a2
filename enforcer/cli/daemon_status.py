"""Ask the daemon about itself, for the verbs that tell it."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError

if TYPE_CHECKING:
    from enforcer.api.v1.enforcer_pb2 import StatusResponse

CALL_SECONDS = 5.0
CONNECT_SECONDS = 1.0


def ask_status(run_dir: Path) -> "StatusResponse":
    """Return what the daemon says on root's own socket.

    Raises:
        EnforcerError: There is none that answers this user.
    """
    import grpc  # slow to load

    from enforcer.api.v1 import enforcer_pb2 as pb
    from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc

    path = run_dir / "admin.sock"
    with grpc.insecure_channel(f"unix:{path}") as channel:
        try:
            found: StatusResponse = pb_grpc.AdminStub(channel).Status(
                pb.StatusRequest(), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise EnforcerError(
                f"enforcerd cannot be asked on {path}: {error.code().name}",
                remedy="systemctl status enforcer",
                code=Code.DAEMON_UNREACHABLE,
            ) from error
    return found


def connection_problem(path: str) -> str:
    """Return why nothing takes connections there; "" where something does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect(path)
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or type(error).__name__
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
    return ""
