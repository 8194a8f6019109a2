"""A registry for one image and the time of one pull, on loopback alone."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from enforcer.host.prove.specimen import Specimen

ANSWER_SECONDS = 10.0  # a client that says nothing does not keep its place


@contextlib.contextmanager
def serving(specimen: Specimen) -> Iterator[str]:
    """Serve an image by distribution-spec's "Pull"; yield the name to pull it by."""
    found = {f"/v2/{specimen.mark}/blobs/{b.digest}": b for b in specimen.blobs}
    for reference in ("1", specimen.manifest.digest):
        found[f"/v2/{specimen.mark}/manifests/{reference}"] = specimen.manifest

    class Handler(BaseHTTPRequestHandler):
        """Knows some paths, and nothing else."""

        timeout = ANSWER_SECONDS
        protocol_version = "HTTP/1.1"
        # What begins with TLS is told in HTTP that this is none, and tries again.
        default_request_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            blob = found.get(self.path.partition("?")[0])
            raw = blob.raw if blob else b""
            self.send_response(200 if blob or self.path == "/v2/" else 404)
            self.send_header("Content-Length", str(len(raw)))
            if blob:
                self.send_header("Content-Type", blob.media_type)
                self.send_header("Docker-Content-Digest", blob.digest)
            self.end_headers()
            if body:
                self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}/{specimen.name}"
    finally:
        server.shutdown()
        server.server_close()
