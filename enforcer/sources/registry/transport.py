"""One HTTP exchange with an origin: checked address, TLS, deadline, byte limits.

Knows nothing of registries or logins, and follows nothing. Takes no proxy, no netrc
and no CA from the environment, and no encoded body: nothing is ever decompressed.
"""

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection

from enforcer import __version__, net
from enforcer.core.codes import Code
from enforcer.core.registry_access import Access
from enforcer.sources.registry.errors import RegistryError, wrong
from enforcer.sources.registry.origin import Origin
from enforcer.sources.registry.translation import translated

CHUNK_BYTES = 64 * 1024
# http.client takes a hundred headers of 64 KiB; no registry sends a hundredth of that.
MAX_HEADER_BYTES = 64 * 1024
MAX_DRAINED_BYTES = 64 * 1024  # read to keep a connection; a longer rest closes it
IDLE_SECONDS = 20.0  # without any byte, while there is time left

Connect = Callable[[str, int, float, net.Rule], socket]
Body = bytes | Callable[[], Iterable[bytes]]  # what is sent may have to be sent again


@dataclass(frozen=True, slots=True)
class Exchange:
    """What to ask an origin. `target` is path and query; `until` is monotonic."""

    method: str
    target: str
    until: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


class _Line:
    """One exchange's hold on a connection: cut in time, then kept open or closed."""

    def __init__(
        self,
        kept: dict[Origin, HTTPConnection],
        origin: Origin,
        connection: HTTPConnection,
        until: float,
    ) -> None:
        self._kept, self._origin, self._connection = kept, origin, connection
        self._sock = connection.sock
        self._cut = net.Cut(self._sock, until)

    def end(self, *, keep: bool = False) -> None:
        was_cut = self._cut.cancel()
        if keep and not was_cut and self._connection.sock is not None:
            self._kept[self._origin] = self._connection
        else:
            self._connection.close()
            # A response that nobody has in hand any more would keep it open.
            if self._sock.fileno() >= 0:
                os.close(self._sock.detach())


class Answer:
    """Status and headers, and a body that is read or let go of: a context manager."""

    def __init__(
        self, place: str, response: HTTPResponse, until: float, line: _Line
    ) -> None:
        self.place = place
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._until = until
        self._line = line
        self._is_read = False

    def chunks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body piece by piece, to its end and at most `max_bytes`.

        Raises:
            RegistryError: It breaks off, is too long or encoded, or takes too long.
        """
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise wrong(self.place, "came in an encoding that nobody asked for")
        if self._length() > max_bytes:
            raise wrong(self.place, f"has more than {max_bytes} bytes")
        rest = max_bytes
        while chunk := self._read(min(CHUNK_BYTES, rest + 1)):
            rest -= len(chunk)
            if rest < 0:
                raise wrong(self.place, f"has more than {max_bytes} bytes")
            yield chunk
        self._is_read = True  # whole: the library compares it with Content-Length

    def read(self, max_bytes: int) -> bytes:
        """Return the whole body; see `chunks`."""
        return b"".join(self.chunks(max_bytes))

    def close(self) -> None:
        """Let the connection go; it is kept open if nothing is left to read."""
        left = self._response.length_remaining  # None: that is not said
        if not self._is_read and left is not None and left <= MAX_DRAINED_BYTES:
            with contextlib.suppress(RegistryError):
                self.read(MAX_DRAINED_BYTES)
        self._line.end(keep=self._is_read)

    def _length(self) -> int:
        """Return what the head says, -1 for nothing."""
        length = self.headers.get("Content-Length", "")
        return int(length[:19]) if length.isascii() and length.isdecimal() else -1

    def _read(self, count: int) -> bytes:
        with translated(self.place, self._until):
            return self._response.read(count)

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """The connections of one run: one an origin, kept open between exchanges."""

    def __init__(self, access: Access, own: Origin, connect: Connect) -> None:
        """Reach `own`, which is the registry, and what it sends to."""
        self._access = access
        self._own = own
        self._connect = connect
        self._kept: dict[Origin, HTTPConnection] = {}

    def exchange(self, origin: Origin, asked: Exchange, place: str) -> Answer:
        """Ask, and return the answer; `place` names what is asked for.

        Raises:
            RegistryError: Nobody could be asked, or there is no answer in time.
        """
        kept = self._kept.pop(origin, None)
        if kept is not None and asked.method not in ("GET", "HEAD"):
            kept.close()
        elif kept is not None:
            try:
                return self._ask(kept, origin, asked, place)
            except RegistryError as error:  # the server may have closed it meanwhile
                if error.is_final or error.code != Code.REGISTRY_UNREACHABLE:
                    raise
        return self._ask(self._connected(origin, asked, place), origin, asked, place)

    def close(self) -> None:
        """Close what is kept open."""
        while self._kept:
            self._kept.popitem()[1].close()

    def _ask(
        self, connection: HTTPConnection, origin: Origin, asked: Exchange, place: str
    ) -> Answer:
        line = _Line(self._kept, origin, connection, asked.until)
        try:
            with translated(place, asked.until):
                connection.timeout = _patience(asked.until)
                _send(connection, origin, asked)
                response = connection.getresponse()
        except BaseException:
            line.end()
            raise
        answer = Answer(place, response, asked.until, line)
        if _size(response.headers) > MAX_HEADER_BYTES:
            with answer:
                raise wrong(place, f"has headers of more than {MAX_HEADER_BYTES} bytes")
        return answer

    def _connected(self, origin: Origin, asked: Exchange, place: str) -> HTTPConnection:
        def refused(address: net.Address) -> str | None:
            return self._refused(origin, address)

        connection = HTTPConnection(origin.host, origin.port)
        connection.auto_open = 0  # it would connect to an address that nobody checked
        with translated(place, asked.until):
            sock = self._connect(origin.host, origin.port, asked.until, refused)
            try:
                if origin.scheme == "https":
                    sock = self._secured(sock, origin, asked.until)
            except BaseException:
                sock.close()
                raise
        connection.sock = sock
        return connection

    def _secured(self, sock: socket, origin: Origin, until: float) -> socket:
        """Put TLS around a connection; the handshake has to end in time, too."""
        sock.settimeout(_patience(until))
        cut = net.Cut(sock, until)
        try:
            return self._context(origin).wrap_socket(sock, server_hostname=origin.host)
        finally:
            cut.cancel()

    def _context(self, origin: Origin) -> ssl.SSLContext:
        """Return whom to believe: a registry with a CA of its own, by that alone.

        Not ssl.create_default_context: it takes CAs and a key log from the environment.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._access.ca:
            context.load_verify_locations(cadata=self._access.ca)
        if not self._access.ca or origin.host != self._own.host:
            built_in = ssl.get_default_verify_paths()
            if Path(built_in.openssl_cafile).is_file():
                context.load_verify_locations(cafile=built_in.openssl_cafile)
            if Path(built_in.openssl_capath).is_dir():
                context.load_verify_locations(capath=built_in.openssl_capath)
        return context

    def _refused(self, origin: Origin, address: net.Address) -> str | None:
        """Say why an address is not asked.

        What was named may be on this host; nobody else may send there. Plain HTTP
        leaves it for no host but the one for which settings say so.
        """
        is_own = origin.host == self._own.host
        is_plain = origin.scheme == "http" and not (is_own and self._access.http)
        if is_plain and not address.is_loopback:
            return "and plain http is spoken only where settings say so"
        is_named = is_own or origin.authority in self._access.token_hosts
        loopback = is_named or self._own.is_loopback
        return net.refusal(address, loopback=loopback)


def _send(connection: HTTPConnection, origin: Origin, asked: Exchange) -> None:
    headers = {
        "Host": origin.authority,
        "User-Agent": f"enforcer/{__version__}",
        "Accept-Encoding": "identity",
        **asked.headers,
    }
    connection.request(
        asked.method,
        asked.target,
        body=asked.body() if callable(asked.body) else asked.body,
        headers=headers,
        preload_content=False,
        decode_content=False,
    )


def _patience(until: float) -> float:
    """Return how long to wait for the next byte; 0 would mean not to wait at all."""
    return max(0.01, min(IDLE_SECONDS, until - time.monotonic()))


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())
