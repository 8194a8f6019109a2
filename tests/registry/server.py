"""An HTTP server on 127.0.0.1 that answers as rightly or wrongly as a test asks.

It keeps every request as it came over the wire, so that a test can look for what must
not have been told.
"""

import contextlib
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki import Party, Template, ca_template, issue, name

MAX_SECONDS = 60  # of an endless answer, should nobody hang up


@dataclass(frozen=True)
class Seen:
    """A request: what was asked, and everything that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def wire(self) -> bytes:
        """All of it, as one text to search."""
        lines = [f"{self.method} {self.target}"]
        lines += [f"{key}: {value}" for key, value in self.headers.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Reply:
    """An answer. A body that is no bytes is sent piece by piece, chunked.

    With `raw`, those bytes are all that is sent, and the connection ends.
    """

    status: int = 200
    body: bytes | Callable[[], Iterable[bytes]] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Callable[[], Iterable[bytes]] | None = None


Answer = Callable[[Seen], Reply]


@dataclass
class Server:
    """A running server: its port, and the requests it got."""

    port: int
    answer: Answer
    seen: list[Seen] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]


@contextlib.contextmanager
def serving(answer: Answer, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Answer on 127.0.0.1 until the block ends."""
    served = Server(0, answer)

    class Handler(_Handler):
        server_state = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:  # the handshake is for the connection's own thread
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    served.port = server.server_address[1]
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    server_state: Server
    timeout = MAX_SECONDS

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        seen = Seen(self.command, self.path, dict(self.headers), body)
        self.server_state.seen.append(seen)
        reply = self.server_state.answer(seen)
        try:
            self._send(reply)
        except OSError:  # the client has hung up
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 - its names

    def _send(self, reply: Reply) -> None:
        if reply.raw is not None:
            self.close_connection = True
            self._pour(reply.raw())
            return
        self.send_response(reply.status)
        framing = {"Transfer-Encoding": "chunked"}
        if isinstance(reply.body, bytes):
            framing = {"Content-Length": str(len(reply.body))}
        for key, value in (framing | dict(reply.headers)).items():
            self.send_header(key, value)
        self.end_headers()
        if isinstance(reply.body, bytes):
            self.wfile.write(b"" if self.command == "HEAD" else reply.body)
        else:
            chunks = (b"%x\r\n%b\r\n" % (len(part), part) for part in reply.body())
            self._pour(chunks)
            self.wfile.write(b"0\r\n\r\n")

    def _pour(self, pieces: Iterable[bytes]) -> None:
        until = time.monotonic() + MAX_SECONDS
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
            if time.monotonic() > until:
                raise OSError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@cache
def throwaway_ca(subject: str = "C=US,ST=WA,O=acme,CN=tls") -> Party:
    """A CA for a test run's servers."""
    return issue(_current(ca_template(subject)))


def server_context(
    folder: Path, *names: str, ca: Party | None = None
) -> ssl.SSLContext:
    """TLS for a server called so (names or addresses), by the throw-away CA."""
    key, chain = folder / "server.key", folder / "server.crt"
    write_server_files(key, chain, *names, ca=ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def write_server_files(
    key: Path, chain: Path, *names: str, ca: Party | None = None
) -> None:
    """Write a server's key and certificate, both PEM."""
    signer = ca or throwaway_ca()
    listed = [_general_name(text) for text in names or ("127.0.0.1",)]
    template = Template(
        name("C=US,ST=WA,O=acme,CN=registry"),
        purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
        extra=((x509.SubjectAlternativeName(listed), False),),
    )
    party = issue(_current(template), signer)
    key.touch(mode=0o600)
    key.write_bytes(party.key_pem)
    chain.write_bytes(party.pem + signer.pem)


def _current(template: Template) -> Template:
    now, day = datetime.now(UTC), timedelta(days=1)
    return replace(template, starts=now - day, ends=now + 30 * day)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
