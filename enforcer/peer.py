"""Who is at the other end of a unix socket, from the kernel."""

import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("=iII")  # unix(7), SO_PEERCRED


class Peer(NamedTuple):
    """A process by its number and its user's; of a listener, who called listen(2)."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Return the peer of a connected socket, or raise OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return Peer(pid, uid)
