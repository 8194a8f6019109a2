"""The smallest program: it ends with 42, and needs neither shell, libc nor network.

A status that no engine and no gate gives by itself, so that it tells who ran.
"""

import struct
from typing import Final

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

EXIT_STATUS = 42

# Go's name of a machine -> (ELF class, e_machine, e_flags, what it executes).
_EXIT: Final = {
    # mov $42,%edi; mov $60,%eax (exit); syscall
    "amd64": (2, 62, 0, bytes.fromhex("bf2a000000 b83c000000 0f05")),
    # mov x0,#42; mov x8,#93 (exit); svc #0
    "arm64": (2, 183, 0, struct.pack("<3I", 0xD2800540, 0xD2800BA8, 0xD4000001)),
    # mov r0,#42; mov r7,#1 (exit); svc #0; EABI version 5
    "arm": (1, 40, 0x0500_0000, struct.pack("<3I", 0xE3A0002A, 0xE3A07001, 0xEF000000)),
}
_AT = 0x40_0000  # where it is loaded: a multiple of every page size
_EXECUTABLE, _LOAD, _READ_EXECUTE, _ALIGN = 2, 1, 5, 0x1_0000


def program(architecture: str) -> bytes:
    """Return a static ELF executable for a machine, by Go's name for it (elf(5)).

    Raises:
        EnforcerError: There is none for this machine.
    """
    if architecture not in _EXIT:
        raise EnforcerError(
            f"prove has no program for {clip(architecture)}",
            remedy=f"It knows {', '.join(_EXIT)}.",
            code=Code.NOT_SUPPORTED,
        )
    bits, machine, flags, text = _EXIT[architecture]
    word, header, segment = ("Q", 64, 56) if bits == 2 else ("I", 52, 32)
    entry = header + segment
    size = entry + len(text)
    ident = bytes([0x7F, *b"ELF", bits, 1, 1]).ljust(16, b"\0")  # little-endian
    elf = struct.pack(
        f"<HHI{word}{word}{word}IHHHHHH",
        _EXECUTABLE, machine, 1, _AT + entry, header, 0, flags,
        header, segment, 1, 0, 0, 0,
    )  # fmt: skip
    if bits == 2:
        load = struct.pack(
            "<IIQQQQQQ", _LOAD, _READ_EXECUTE, 0, _AT, _AT, size, size, _ALIGN
        )
    else:
        load = struct.pack(
            "<IIIIIIII", _LOAD, 0, _AT, _AT, size, size, _READ_EXECUTE, _ALIGN
        )
    return ident + elf + load + text
