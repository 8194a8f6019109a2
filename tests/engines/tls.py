"""What a TLS server of ours needs, below a CA that nobody else knows."""

from dataclasses import dataclass
from pathlib import Path

from tests.registry.server import throwaway_ca, write_server_files


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server needs, and the CA's certificate for its clients; PEM files."""

    certificate: Path
    key: Path
    ca: Path


def make_tls(folder: Path, address: str) -> Tls:
    """Make what a server at an IP address needs."""
    found = Tls(*(folder / name for name in ("server.crt", "server.key", "ca.crt")))
    write_server_files(found.key, found.certificate, address)
    found.ca.write_bytes(throwaway_ca().pem)
    return found
