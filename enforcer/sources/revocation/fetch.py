"""One HTTP request, bounded in time and size, to an address that may be asked.

Nothing but a plain 200 counts, as in notation. Redirects are not followed: what is
signed needs no detour, and a detour is how a URL that was checked becomes another.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from enforcer import __version__, net
from enforcer.core.errors import clip
from enforcer.core.fetching import FetchError, Request

CHUNK_BYTES = 64 * 1024


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
        except net.NoConnectionError as error:
            raise FetchError(request.url, error.because) from error
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
        sock = net.connect(host, port, until, self._refused)
        cut = net.Cut(sock, until)
        connection = HTTPConnection(host, port)
        connection.sock = sock
        try:
            yield connection
        finally:
            connection.close()
            if cut.cancel():  # which looks like an end
                raise TimeoutError

    def _refused(self, address: net.Address) -> str | None:
        return net.refusal(address, loopback=self._loopback)


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
