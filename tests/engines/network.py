"""Networks of our own: a thread enters one, and what it starts stays there."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines.process import run

NEW_NETWORK = 0x40000000  # CLONE_NEWNET (unshare(2))
HERE = "/proc/thread-self/ns/net"
IP = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

_LIBC = ctypes.CDLL(None, use_errno=True)


class Network:
    """A network namespace with nothing in it but a loopback device that is down."""

    def __init__(self) -> None:
        with _back_here():
            _checked(_LIBC.unshare(NEW_NETWORK), "unshare")
            self._handle = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be in it for a while: this thread, and for good what it starts."""
        with _back_here():
            _checked(_LIBC.setns(self._handle, NEW_NETWORK), "setns")
            yield

    def ip(self, *words: str) -> str:
        """Run `ip` in it; return what that printed."""
        with self.inside():
            return run(["ip", *words], env=IP).stdout

    def add_loopback(self) -> None:
        """Bring the loopback device up."""
        self.ip("link", "set", "lo", "up")

    def connect(self, other: "Network", own: str, theirs: str) -> None:
        """Lay a cable to another one; addresses with their prefix, as 10.0.0.1/24."""
        path = f"/proc/{os.getpid()}/fd/{other._handle}"
        words = ("link", "add", "cable", "type", "veth", "peer", "name", "cable")
        self.ip(*words, "netns", path)
        for end, address in ((self, own), (other, theirs)):
            end.ip("address", "add", address, "dev", "cable")
            end.ip("link", "set", "cable", "up")

    def disconnect(self) -> None:
        """Pull the cable out, at both ends."""
        self.ip("link", "delete", "cable")

    def counters(self) -> dict[str, int]:
        """What the kernel counted here so far, as `IpOutNoRoutes` (RFC 4293)."""
        with self.inside():
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        found = {}
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            protocol, *words = names.split()
            for word, value in zip(words, values.split()[1:], strict=True):
                found[protocol.rstrip(":") + word] = int(value)
        return found

    def close(self) -> None:
        """Forget it; it ends with the last program in it."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def _back_here() -> Iterator[None]:
    """Return to the namespace this thread is in now, whatever happens."""
    here = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _checked(_LIBC.setns(here, NEW_NETWORK), "setns")
        os.close(here)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
