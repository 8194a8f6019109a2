"""A certificate for a server of ours, below a CA that nobody else knows."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server needs, and the CA's certificate for its clients; PEM files."""

    certificate: Path
    key: Path
    ca: Path


def make_tls(folder: Path, address: str) -> Tls:
    """Make a CA, and a certificate of its own for a server at an IP address."""
    found = Tls(*(folder / name for name in ("server.crt", "server.key", "ca.crt")))
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    ca = _builder("internal CA", ca_key.public_key()).add_extension(
        constraints, critical=True
    )
    server = _builder(address, key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    for builder, path in ((ca, found.ca), (server, found.certificate)):
        made = builder.sign(ca_key, hashes.SHA256())
        path.write_bytes(made.public_bytes(pem))
    found.key.touch(mode=0o600)
    found.key.write_bytes(
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return found


def _builder(name: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named("internal CA"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
