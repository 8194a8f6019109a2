"""A TSA over HTTP on 127.0.0.1, as right or as wrong as the test wants it."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    body: bytes
    status: int = 200
    media_type: str = "application/timestamp-reply"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Served:
    """A server's address, and the requests it got: path, headers, body."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def serve(
    answer: Callable[[bytes], Reply],
    *,
    raw: Callable[[], Iterator[bytes]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Served]:
    """Answer POSTs on 127.0.0.1; with `raw`, these bytes instead, one by one."""
    served = Served("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            served.requests.append((self.path, dict(self.headers), body))
            if raw is not None:
                self.close_connection = True
                for part in raw():
                    self.wfile.write(part)
                    self.wfile.flush()
                return
            reply = answer(body)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for key, value in reply.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    served.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/tsr"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
