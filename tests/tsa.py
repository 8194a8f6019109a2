"""A time stamping authority of the tests' own: right by default, wrong wherever asked.

Written from RFC 3161 and RFC 5652 with an encoder of its own, so that the reader in
`enforcer.core.der` is not checked against itself. `Authority.answer` is what
`tests.tsa_server` serves.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.asn1 import (
    algorithm,
    attribute,
    generalized,
    integer,
    octets,
    oid,
    seq,
    set_of,
    tlv,
)
from tests.pki import NOW, Key, Party, Template, ca_template, issue, name

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - wrong tokens need it
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def tsa_template(subject: str = "C=US,ST=WA,O=tsa,CN=clock") -> Template:
    return Template(name(subject), purposes=(), extra=((timestamping(), True),))


def long_lived(template: Template) -> Template:
    """The same, valid for years around NOW."""
    years = timedelta(days=900)
    return replace(template, starts=NOW - years, ends=NOW + years)


def timestamping(*more: ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, *more])


def tsa_chain(
    leaf: Template | None = None,
    *,
    middle: Template | None = None,
    root: Template | None = None,
    key: Key | None = None,
) -> tuple[Party, ...]:
    """A right chain, leaf first; over an intermediate if there is a template for it."""
    parties = [issue(root or ca_template("C=US,ST=WA,O=tsa,CN=tsa root"))]
    if middle:
        parties.append(issue(middle, parties[-1]))
    parties.append(issue(leaf or tsa_template(), parties[-1], key=key))
    return tuple(reversed(parties))


@dataclass(frozen=True)
class Recipe:
    """What a token says and how. `b""` leaves an optional part out."""

    # TSTInfo
    version: int = 1
    policy: str = "policy"
    hash: str = "sha256"
    imprint: bytes | None = None
    gen_time: bytes = generalized(NOW)
    accuracy: bytes = b""
    ordering: bytes = b""
    nonce: int | None = None
    tsa: bytes = b""
    extensions: bytes = b""
    after_info: bytes = b""
    # SignedData
    signed_data: str = "signed-data"
    signed_data_version: int = 3
    content_type: str = "tst-info"
    certificates: tuple[bytes, ...] | None = None
    crls: bytes = b""
    signers: int = 1
    # SignerInfo
    signer_version: int = 1
    sid: bytes | None = None
    digest: str = "sha256"
    signature_algorithm: str = ""
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    ess: bytes | None = None
    reorder: bool = False
    unsigned: bytes = b""
    spoil_signature: bool = False
    # around it all
    after: bytes = b""
    reencode: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True)
class Authority:
    """A TSA: its chain, leaf first, and how it makes tokens."""

    chain: tuple[Party, ...]
    recipe: Recipe = Recipe()

    @property
    def root(self) -> bytes:
        return self.chain[-1].der

    @property
    def key(self) -> Key:
        return self.chain[0].key

    def token(self, message: bytes, **changes: object) -> bytes:
        """A countersignature of `message`."""
        recipe = replace(self.recipe, **changes)  # type: ignore[arg-type]
        info = tst_info(recipe, hashlib.new(recipe.hash, message).digest())
        certificates = recipe.certificates
        if certificates is None:
            certificates = tuple(party.der for party in self.chain[:-1])
        signer = self._signer_info(recipe, info)
        signed_data = seq(
            integer(recipe.signed_data_version),
            set_of(algorithm(recipe.digest)),
            seq(oid(recipe.content_type), tlv(0xA0, octets(info))),
            tlv(0xA0, *certificates) if certificates else b"",
            recipe.crls,
            set_of(*[signer] * recipe.signers),
        )
        raw = seq(oid(recipe.signed_data), tlv(0xA0, recipe.reencode(signed_data)))
        return recipe.reencode(raw) + recipe.after

    def answer(self, request: bytes, **changes: object) -> bytes:
        """A granted TimeStampResp for a request."""
        wanted = read_request(request)
        changes = {
            "hash": wanted.hash,
            "imprint": wanted.imprint,
            "nonce": wanted.nonce,
            "certificates": None if wanted.certificates else (),
            **changes,
        }
        return seq(seq(integer(0)), self.token(b"", **changes))

    def ess_certificate(
        self, hash_name: str = "sha256", *, name_it: bool = True
    ) -> bytes:
        """A SigningCertificateV2 for this authority's certificate."""
        leaf = self.chain[0]
        default = hash_name == "sha256"
        named = seq(seq(tlv(0xA4, self._issuer())), integer(self._serial()))
        return seq(
            seq(
                seq(
                    b"" if default else algorithm(hash_name),
                    octets(hashlib.new(hash_name, leaf.der).digest()),
                    named if name_it else b"",
                )
            )
        )

    def issuer_and_serial(self) -> bytes:
        return seq(self._issuer(), integer(self._serial()))

    def _issuer(self) -> bytes:
        return self.chain[0].certificate.issuer.public_bytes()

    def _serial(self) -> int:
        return self.chain[0].certificate.serial_number

    def _signer_info(self, recipe: Recipe, info: bytes) -> bytes:
        values = {
            "content-type": attribute("content-type", oid("tst-info")),
            "message-digest": attribute(
                "message-digest", octets(hashlib.new(recipe.digest, info).digest())
            ),
            "signing-certificate-v2": attribute(
                "signing-certificate-v2",
                self.ess_certificate() if recipe.ess is None else recipe.ess,
            ),
            **recipe.attributes,
        }
        attributes = set_of(*values.values())
        if recipe.reorder:
            attributes = tlv(0x31, *sorted(values.values(), reverse=True))
        kind, signature = self._sign(recipe, attributes)
        if recipe.spoil_signature:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return seq(
            integer(recipe.signer_version),
            self.issuer_and_serial() if recipe.sid is None else recipe.sid,
            algorithm(recipe.digest),
            b"\xa0" + attributes[1:],
            seq(oid(kind)),
            octets(signature),
            recipe.unsigned,
        )

    def _sign(self, recipe: Recipe, message: bytes) -> tuple[str, bytes]:
        hash_ = _HASHES[recipe.digest]
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            kind = recipe.signature_algorithm or f"ecdsa-{recipe.digest}"
            return kind, self.key.sign(message, ec.ECDSA(hash_))
        kind = recipe.signature_algorithm or "rsa"
        if kind == "rsa-pss":
            pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
            return kind, self.key.sign(message, pss, hash_)
        return kind, self.key.sign(message, padding.PKCS1v15(), hash_)


def tst_info(recipe: Recipe, digest: bytes) -> bytes:
    imprint = digest if recipe.imprint is None else recipe.imprint
    return (
        seq(
            integer(recipe.version),
            oid(recipe.policy),
            seq(algorithm(recipe.hash), octets(imprint)),
            integer(7),
            recipe.gen_time,
            recipe.accuracy,
            recipe.ordering,
            b"" if recipe.nonce is None else integer(recipe.nonce),
            recipe.tsa,
            recipe.extensions,
        )
        + recipe.after_info
    )


def accuracy(
    seconds: int | None = None, millis: int | None = None, micros: int | None = None
) -> bytes:
    return seq(
        b"" if seconds is None else integer(seconds),
        b"" if millis is None else integer(millis, 0x80),
        b"" if micros is None else integer(micros, 0x81),
    )


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    hash: str
    imprint: bytes
    nonce: int
    certificates: bool


def read_request(raw: bytes) -> Request:
    """Read a request in the one form our client writes; anything else is an error."""
    for name_, size in (("sha256", 32), ("sha384", 48), ("sha512", 64)):
        head = seq(algorithm(name_), octets(bytes(size)))[:-size]
        at = raw.find(head)
        if at > 0:
            imprint, rest = raw[at + len(head) :][:size], raw[at + len(head) + size :]
            length = rest[1]
            nonce = int.from_bytes(rest[2 : 2 + length], "big", signed=True)
            asked = rest[2 + length :] == b"\x01\x01\xff"
            whole = seq(integer(1), raw[at : at + len(head) + size], rest)
            assert (rest[0], raw) == (0x02, whole), "not the request we know"
            return Request(name_, imprint, nonce, asked)
    raise AssertionError("not a time stamp request")


def at_offset(seconds: float) -> bytes:
    return generalized(NOW + timedelta(seconds=seconds))
