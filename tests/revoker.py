"""A CA's revocation side for tests: lists, answers, and a server that gives them.

Right by default, wrong wherever asked. OCSP responses are written by hand, as no
library makes wrong ones.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
)

from tests.asn1 import algorithm, generalized, integer, octets, oid, seq, tlv
from tests.pki import NOW, Party, Template, ca_template, issue, leaf_template, name

DAY = timedelta(days=1)
HOLD, UNHOLD = (
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.remove_from_crl,
)
COMPROMISED = x509.ReasonFlags.key_compromise
_REASONS = {COMPROMISED: 1, HOLD: 6, UNHOLD: 8}
GOOD, REVOKED, UNKNOWN = "good", "revoked", "unknown"
SUCCESSFUL, TRY_LATER = 0, 3

Extra = Sequence[tuple[x509.ExtensionType, bool]]


# -- certificates with pointers -------------------------------------------------


def revoking_ca(subject: str = "C=US,ST=WA,O=acme,CN=root") -> Template:
    """A CA that may sign lists, too."""
    return replace(ca_template(subject), usages=("key_cert_sign", "crl_sign"))


def points(*points: Sequence[str] | x509.DistributionPoint) -> x509.ExtensionType:
    """One distribution point for each; URLs inside one are alternates."""
    return x509.CRLDistributionPoints([_point(point) for point in points])


def freshest(*urls: str) -> x509.ExtensionType:
    return x509.FreshestCRL([_point(urls)])


def responders(*urls: str) -> x509.ExtensionType:
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
            )
            for url in urls
        ]
    )


def scope(
    *urls: str,
    users: bool = False,
    cas: bool = False,
    attributes: bool = False,
    indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> x509.IssuingDistributionPoint:
    """A list's issuing distribution point."""
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return x509.IssuingDistributionPoint(
        full_name=names or None,
        relative_name=None,
        only_contains_user_certs=users,
        only_contains_ca_certs=cas,
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=attributes,
    )


def signer_chain(*extra: x509.ExtensionType) -> tuple[Party, Party, Party]:
    """Leaf, issuing CA, root; `extra` goes into the leaf."""
    root = issue(revoking_ca())
    middle = issue(revoking_ca("C=US,ST=WA,O=acme,CN=issuing"), root)
    leaf = replace(leaf_template(), extra=tuple((one, False) for one in extra))
    return issue(leaf, middle), middle, root


def delegate(
    issuer: Party,
    *extra: x509.ExtensionType,
    no_check: bool = True,
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    ends: datetime = NOW + 300 * DAY,
) -> Party:
    """A responder's certificate."""
    more = (*extra, x509.OCSPNoCheck()) if no_check else extra
    template = replace(
        leaf_template(),
        subject=name("C=US,ST=WA,O=acme,CN=responder"),
        purposes=tuple(purposes),
        extra=tuple((one, False) for one in more),
        ends=ends,
    )
    return issue(template, issuer)


# -- lists ------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """An entry of a list."""

    serial: int
    reason: x509.ReasonFlags | None = COMPROMISED
    at: datetime = NOW - 10 * DAY
    invalid_from: datetime | None = None
    extra: Extra = ()


def make_crl(
    issuer: Party,
    *listed: Listed,
    number: int | None = 1,
    base_number: int | None = None,
    this_update: datetime = NOW - DAY,
    next_update: datetime = NOW + DAY,
    extra: Extra = (),
    signer: Party | None = None,
    issuer_name: x509.Name | None = None,
    hash_: hashes.SHA224 | hashes.SHA256 | None = None,
) -> bytes:
    """Sign a list; with `base_number` it is a delta."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name or issuer.certificate.subject, this_update, next_update
    )
    for extension, critical in (*_numbers(number, base_number), *extra):
        builder = builder.add_extension(extension, critical=critical)
    for entry in listed:
        builder = builder.add_revoked_certificate(_revoked(entry))
    key = (signer or issuer).key
    return builder.sign(key, hash_ or hashes.SHA256()).public_bytes(Encoding.DER)


def _numbers(
    number: int | None, base_number: int | None
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if number is not None:
        yield x509.CRLNumber(number), False
    if base_number is not None:
        yield x509.DeltaCRLIndicator(base_number), True


def _revoked(entry: Listed) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(entry.serial, entry.at)
    for extension, critical in entry.extra:
        builder = builder.add_extension(extension, critical=critical)
    if entry.reason is not None:
        builder = builder.add_extension(x509.CRLReason(entry.reason), critical=False)
    if entry.invalid_from is not None:
        date = x509.InvalidityDate(entry.invalid_from.replace(tzinfo=None))
        builder = builder.add_extension(date, critical=False)
    return builder.build()


def _point(
    point: Sequence[str] | x509.DistributionPoint,
) -> x509.DistributionPoint:
    if isinstance(point, x509.DistributionPoint):
        return point
    names = [x509.UniformResourceIdentifier(url) for url in point]
    return x509.DistributionPoint(names, None, None, None)


# -- answers ----------------------------------------------------------------------


@dataclass(frozen=True)
class Single:
    """One answer in a response."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    status: str = GOOD
    this_update: datetime = NOW - DAY
    next_update: datetime | None = NOW + DAY
    reason: x509.ReasonFlags | None = COMPROMISED
    at: datetime = NOW - 10 * DAY
    invalid_from: datetime | None = None
    critical: str = ""
    hash_name: str = "sha1"
    serial: int | None = None

    def der(self) -> bytes:
        update = generalized(self.this_update)
        if self.next_update is not None:
            update += tlv(0xA0, generalized(self.next_update))
        return seq(self._id(), self._status(), update, self._extensions())

    def _id(self) -> bytes:
        issuer = self.issuer
        subject = issuer.subject.public_bytes()
        key = _key_bits(issuer)
        serial = self.certificate.serial_number if self.serial is None else self.serial
        digests = [hashlib.new(self.hash_name, raw).digest() for raw in (subject, key)]
        return seq(algorithm(self.hash_name), *map(octets, digests), integer(serial))

    def _status(self) -> bytes:
        if self.status == REVOKED:
            reason = b""
            if self.reason is not None:
                reason = tlv(0xA0, integer(_REASONS[self.reason], tag=0x0A))
            return tlv(0xA1, generalized(self.at), reason)
        return tlv(0x80 if self.status == GOOD else 0x82)

    def _extensions(self) -> bytes:
        found = b""
        if self.invalid_from is not None:
            date = octets(generalized(self.invalid_from))
            found += seq(oid("2.5.29.24"), date)
        if self.critical:
            found += seq(oid(self.critical), tlv(0x01, b"\xff"), octets(tlv(0x05)))
        return tlv(0xA1, seq(found)) if found else b""


def make_ocsp(
    *singles: Single,
    signer: Party,
    embedded: Sequence[Party] = (),
    by_key: bool = False,
    responder: x509.Certificate | None = None,
    produced: datetime = NOW - DAY,
    status: int = SUCCESSFUL,
    critical: str = "",
    sha1: bool = False,
) -> bytes:
    """Sign a response; the responder id names `signer` unless told otherwise."""
    if status != SUCCESSFUL:
        return seq(integer(status, tag=0x0A))
    named = responder or signer.certificate
    who = tlv(0xA1, named.subject.public_bytes())
    if by_key:
        who = tlv(0xA2, octets(hashlib.sha1(_key_bits(named)).digest()))  # noqa: S324
    extensions = b""
    if critical:
        extension = seq(oid(critical), tlv(0x01, b"\xff"), octets(tlv(0x05)))
        extensions = tlv(0xA1, seq(extension))
    answers = seq(*(single.der() for single in singles))
    signed = seq(who, generalized(produced), answers, extensions)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    hash_ = hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303
    signature = tlv(0x03, b"\x00" + signer.key.sign(signed, ec.ECDSA(hash_)))
    kind = seq(oid("1.2.840.10045.4.1" if sha1 else "ecdsa-sha256"))
    certificates = b""
    if embedded:
        certificates = tlv(0xA0, seq(*(party.der for party in embedded)))
    basic = seq(signed, kind, signature, certificates)
    inner = seq(oid("1.3.6.1.5.5.7.48.1.1"), octets(basic))
    return seq(integer(SUCCESSFUL, tag=0x0A), tlv(0xA0, inner))


def answer(certificate: Party, issuer: Party, status: str = GOOD) -> bytes:
    """A right response by the issuer itself."""
    single = Single(certificate.certificate, issuer.certificate, status)
    return make_ocsp(single, signer=issuer)


def _key_bits(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    size = (key.key_size + 7) // 8
    numbers = key.public_numbers()
    return b"\x04" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")


# -- a server ---------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """What a route answers. `length` is the Content-Length it claims, None for none."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = -1  # the true one
    wait_seconds: float = 0
    drip_seconds: float = 0  # between two bytes
    endless: bool = False


@dataclass
class Revoker(AbstractContextManager["Revoker"]):
    """A responder and distribution point on 127.0.0.1; remembers who asked for what.

    A GET below a route is an OCSP question in the path (RFC 6960 A.1).
    """

    port: int = 0
    routes: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    def __enter__(self) -> "Revoker":
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, reply: Reply | bytes) -> str:
        """Answer a path from now on; return its URL."""
        self.routes[path] = reply if isinstance(reply, Reply) else Reply(reply)
        return self.url(path)

    def paths(self) -> list[str]:
        """The routes that were asked, in order."""
        return [path for _, path, _ in self.asked]

    def find(self, path: str) -> tuple[str, Reply]:
        """The longest route that a path is, or lies below."""
        candidates = [r for r in self.routes if path == r or path.startswith(f"{r}/")]
        if not candidates:
            return path, Reply(status=404)
        longest = max(candidates, key=len)
        return longest, self.routes[longest]


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


def _handler(revoker: Revoker) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"revoker": revoker})


class _Handler(BaseHTTPRequestHandler):
    revoker: Revoker
    timeout = 10

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests look at `asked` instead."""

    def _answer(self, body: bytes) -> None:
        route, reply = self.revoker.find(self.path)
        self.revoker.asked.append((self.command, route, body))
        _pause(self.revoker, reply.wait_seconds)
        self.send_response(reply.status)
        for header, value in reply.headers:
            self.send_header(header, value)
        length = len(reply.body) if reply.length == -1 else reply.length
        if length is not None and not reply.endless:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        step = 1 if reply.drip_seconds else max(1, len(reply.body))
        while not self.revoker.stopping:
            for start in range(0, len(reply.body), step):
                self.wfile.write(reply.body[start : start + step])
                _pause(self.revoker, reply.drip_seconds)
            if not reply.endless:
                break


def _pause(revoker: Revoker, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not revoker.stopping and time.monotonic() < until:
        time.sleep(min(0.02, seconds))
