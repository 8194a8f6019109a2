"""What a program may find itself without: `preexec_fn`s for children of ours."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

Lack = Callable[[], None]
SOMEBODY = 1000
MIB = 1024 * 1024


def closed(*handles: int) -> Lack:
    """Start it without these descriptors."""

    def lack() -> None:
        for handle in handles:
            os.close(handle)

    return lack


def limited(kind: int, most: int) -> Lack:
    """Start it under a limit (setrlimit(2))."""
    return lambda: resource.setrlimit(kind, (most, most))


def without_processes() -> None:
    """Start it where no process may be made: root itself is under no such limit."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setgroups([])
    os.setresgid(SOMEBODY, SOMEBODY, SOMEBODY)
    os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)


def without_readers(*handles: int) -> Lack:
    """Start it with pipes that nobody reads any more: EPIPE."""

    def lack() -> None:
        reads, writes = os.pipe()
        os.close(reads)
        for handle in handles:
            os.dup2(writes, handle)

    return lack


def open_to_all(folder: Path) -> None:
    """Let other users into a folder of pytest's, which are private to root."""
    folder.chmod(0o777)
    for above in list(folder.parents)[:3]:
        above.chmod(above.stat().st_mode | 0o111)
