"""Connections to addresses that may be asked, cut when their time is over.

The name is looked up once, every address is checked, and what is connected to is the
address that was checked (no rebinding). Proxies in the environment are not used: a
proxy would choose the address after we checked it.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator

from enforcer.core.errors import clip

MAX_ADDRESSES = 4  # of a name, tried in turn within the one deadline
CONNECT_SECONDS = 10.0  # for one address; a kernel alone tries for two minutes

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Rule = Callable[[Address], str | None]

# Addresses that answer about, or for, the machine itself in clouds. Link-local ones,
# 169.254.169.254 among them, are refused by kind.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: IPv4 in the last 32 bits


class NoConnectionError(OSError):
    """Nobody was asked; `because` goes on after a name: "cannot be reached: ..."."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because


def refusal(address: Address, *, loopback: bool) -> str | None:
    """Say why an address is not asked, or None if it may be."""
    for one in (address, *_embedded(address)):
        if one.is_link_local or one in _METADATA:
            return "which is link-local or a cloud's metadata service"
        if one.is_unspecified or one.is_multicast:
            return "which is no host's"
        if one.is_loopback and not loopback:
            return "which is this host"
    return None


def connect(host: str, port: int, until: float, refused: Rule) -> socket.socket:
    """Return a connection to the first address of `host` that may be and can be asked.

    `refused` says why an address may not be. `until` is a time.monotonic().

    Raises:
        NoConnectionError: None could.
        TimeoutError: The time is over.
    """
    problem = NoConnectionError("has no address that may be asked")
    for address in _resolve(host, port, until)[:MAX_ADDRESSES]:
        why_not = refused(address)
        if why_not is not None:
            problem = NoConnectionError(f"is at {address}, {why_not}")
            continue
        seconds = until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        try:
            wait = min(seconds, CONNECT_SECONDS)
            sock = socket.create_connection((str(address), port), wait)
        except OSError as error:
            why = error.strerror or type(error).__name__
            problem = NoConnectionError(f"cannot be reached: {clip(why)}")
        else:
            # Head and body of a request are two writes: the second waits for nobody.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem


class Cut:
    """Cuts a connection when the time is over; who reads then sees its end.

    A server that sends a byte now and then never lets a read time out.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        """Cut `sock` at `until`, a time.monotonic(), unless cancelled before."""
        self._sock = sock
        self._until = until
        self._timer = threading.Timer(max(0.0, until - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> bool:
        """Say whether the time is over, so that what was read may be cut short."""
        self._timer.cancel()
        self._timer.join()  # at once; who closes the socket now closes no other's
        return time.monotonic() >= self._until

    def _cut(self) -> None:
        try:
            # Not an SSLSocket's own, which first takes TLS off a connection in use.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already


def _embedded(address: Address) -> Iterator[Address]:
    """Yield the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo or ()
    for one in (address.ipv4_mapped, address.sixtofour, *teredo):
        if one is not None:
            yield one
    if int(address) >> 32 == 0 and not address.is_loopback:  # ::a.b.c.d, deprecated
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _resolve(host: str, port: int, until: float) -> list[Address]:
    """Return a name's addresses; the system's resolver knows no deadline of ours."""
    found: list[Address] = []
    problems: list[OSError] = []

    def resolve() -> None:
        try:
            listed = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problems.append(OSError(str(error)))
            return
        for *_, address in listed:
            found.append(ipaddress.ip_address(str(address[0]).partition("%")[0]))

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if thread.is_alive():
        raise TimeoutError
    if problems:
        raise NoConnectionError(f"cannot be resolved: {clip(str(problems[0]))}")
    return list(dict.fromkeys(found))
