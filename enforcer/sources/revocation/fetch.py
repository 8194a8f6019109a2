"""One HTTP request, bounded in time and size, to an address that may be asked.

Nothing but a plain 200 counts, as in notation. Redirects are not followed: what is
signed needs no detour, and a detour is how a URL that was checked becomes another
one. Proxies in the environment are not used: the daemon's has none, and a proxy would
choose the address after we checked it.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from enforcer import __version__
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

CHUNK_BYTES = 64 * 1024
MAX_ADDRESSES = 4  # of a name, tried in turn within the one deadline

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

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


class FetchError(EnforcerError):
    """A URL gave nothing that can be used; the text says which and why."""

    default_code = Code.REVOCATION_UNKNOWN

    def __init__(self, url: str, because: str) -> None:
        super().__init__(
            f"{clip(url)} {because}", remedy="Check that it can be reached from here."
        )
        self.because = because


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, and how long and how much to listen. `body` makes it a POST."""

    url: str
    accept: str
    max_bytes: int
    seconds: float
    body: bytes | None = None
    content_type: str = ""


class HttpFetcher:
    """Asks by HTTP/1.1. `loopback` allows this host's own services to be asked.

    That is on by default, as a responder may well run beside its CA; who asks on
    behalf of others turns it off.
    """

    def __init__(self, *, loopback: bool = True) -> None:
        self._loopback = loopback

    def fetch(self, request: Request) -> bytes:
        """Return the body of a 200, fewer than `max_bytes` bytes.

        Raises:
            FetchError: Anything else, at the latest `seconds` from now.
        """
        until = time.monotonic() + request.seconds
        try:
            with self._connected(request.url, until) as connection:
                return _exchange(connection, request)
        except FetchError:
            raise
        except (OSError, HTTPError, HTTPException, ValueError) as error:
            late = time.monotonic() >= until
            why = clip(f"{type(error).__name__}: {error}")
            because = f"took more than {request.seconds:g} s" if late else why
            raise FetchError(request.url, because) from error

    @contextmanager
    def _connected(self, url: str, until: float) -> Iterator[HTTPConnection]:
        """Lend a connection to a checked address; it is cut when the time is over."""
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
        if parts.scheme.lower() != "http" or not host or "@" in parts.netloc:
            raise FetchError(url, "is not a plain http URL")
        sock = self._connect(url, _resolve(url, host, port, until), port, until)
        # A server that sends a byte now and then never lets a read time out.
        cut = threading.Timer(max(0.0, until - time.monotonic()), _cut, [sock])
        cut.daemon = True
        cut.start()
        connection = HTTPConnection(host, port)
        connection.sock = sock
        try:
            yield connection
            if time.monotonic() >= until:  # cut off, which looks like an end
                raise TimeoutError
        finally:
            cut.cancel()
            connection.close()

    def _connect(
        self, url: str, addresses: list[_Address], port: int, until: float
    ) -> socket.socket:
        problem = FetchError(url, "has no address that may be asked")
        for address in addresses[:MAX_ADDRESSES]:
            refused = self._refused(address)
            if refused is not None:
                problem = FetchError(url, f"is at {address}, {refused}")
                continue
            seconds = until - time.monotonic()
            if seconds <= 0:
                raise TimeoutError
            try:
                return socket.create_connection((str(address), port), seconds)
            except OSError as error:
                why = error.strerror or type(error).__name__
                problem = FetchError(url, f"cannot be reached: {clip(why)}")
        raise problem

    def _refused(self, address: _Address) -> str | None:
        """Say why an address is not asked, or None if it may be."""
        for one in (address, *_embedded(address)):
            if one.is_link_local or one in _METADATA:
                return "which is link-local or a cloud's metadata service"
            if one.is_unspecified or one.is_multicast:
                return "which is no host's"
            if one.is_loopback and not self._loopback:
                return "which is this host"
        return None


def _embedded(address: _Address) -> Iterator[_Address]:
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


def _resolve(url: str, host: str, port: int, until: float) -> list[_Address]:
    """Return a name's addresses; the system's resolver knows no deadline of ours."""
    found: list[_Address] = []
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
        raise FetchError(url, f"cannot be resolved: {clip(str(problems[0]))}")
    return list(dict.fromkeys(found))


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _exchange(connection: HTTPConnection, request: Request) -> bytes:
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": request.accept, "User-Agent": f"enforcer/{__version__}"}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    connection.request(
        "GET" if request.body is None else "POST",
        target,
        body=request.body,
        headers=headers,
        preload_content=False,
        decode_content=False,
    )
    response = connection.getresponse()
    if response.status != 200:
        raise FetchError(request.url, f"answered {response.status}, not 200")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError(request.url, "answered in an encoding nobody asked for")
    return _body(response, request)


def _body(response: BaseHTTPResponse, request: Request) -> bytes:
    """Read a body to its end, and no further than the limit."""
    body = bytearray()
    while len(body) < request.max_bytes:
        chunk = response.read(min(CHUNK_BYTES, request.max_bytes - len(body)))
        if not chunk:
            return bytes(body)  # whole: the library compares it with Content-Length
        body += chunk
    raise FetchError(request.url, f"gives {request.max_bytes} bytes or more")
