"""A process gives up the internet for good: from then on the kernel refuses it sockets.

As RestrictAddressFamilies=AF_UNIX of our units does, for commands that need no network.
It is no sandbox against hostile code, as our units are: it makes "asks nobody" a fact
whatever libraries do (grpc tries out SO_REUSEPORT on an internet socket).
"""

import ctypes
import errno
import os
import socket
import struct

SET_NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2  # prctl(2)
# uname's machine -> its AUDIT_ARCH, and the number of socket(2) there. Both are
# little-endian, so the low half of an argument is its first four bytes.
_SOCKET_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_CALL, _ARCH, _FAMILY = 0, 4, 16  # where in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def give_up_internet(machine: str = "") -> bool:
    """Let this process, and what it starts, make no socket but unix sockets.

    `machine` is as uname has it, and if empty what it says.

    Returns:
        Whether the kernel does so; not on other machines than _SOCKET_CALLS.
    """
    known = _SOCKET_CALLS.get(machine or os.uname().machine)
    if known is None:
        return False
    steps = _filter(*known)
    program = _Program(len(steps), b"".join(steps))
    prctl = ctypes.CDLL(None).prctl
    prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # else only root may filter
    return bool(prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(arch: int, call: int) -> list[bytes]:
    """Write the filter; jumps count the steps that are passed over (seccomp(2))."""
    return [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, arch, otherwise=4),
        _step(_LOAD, _CALL),
        _step(_EQUAL, call, otherwise=2),
        _step(_LOAD, _FAMILY),
        _step(_EQUAL, socket.AF_UNIX, otherwise=1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
    ]


def _step(what: int, value: int, *, otherwise: int = 0) -> bytes:
    """Write one struct sock_filter."""
    return struct.pack("=HBBI", what, 0, otherwise, value)
