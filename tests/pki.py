"""Certificates and envelopes for tests: right by default, wrong wherever asked."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from enforcer.core.descriptor import Descriptor
from enforcer.core.strictjson import Json
from tests.differential.tree import Node, Pairs, Raw, Tagged, to_cbor

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
IMAGE = Descriptor.of("application/vnd.oci.image.manifest.v1+json", b'{"an":"image"}')

OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
}
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
NOTARY = "io.cncf.notary."
PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Party:
    """A certificate with its private key."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@dataclass(frozen=True)
class Template:
    """What a certificate says. `None` leaves an extension out."""

    subject: x509.Name
    ca: bool | None = False
    ca_critical: bool = True
    path_length: int | None = None
    usages: tuple[str, ...] | None = ("digital_signature",)
    usages_critical: bool = True
    purposes: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    starts: datetime = NOW - timedelta(days=30)
    ends: datetime = NOW + timedelta(days=300)
    hash: type[hashes.SHA256 | hashes.SHA384 | hashes.SHA224] = hashes.SHA256
    pss_salt: int | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()


def name(text: str) -> x509.Name:
    """`C=US,ST=WA`: one attribute per RDN, in the order written, nothing escaped."""
    parts = [part.split("=", 1) for part in text.split(",")]
    return x509.Name([x509.NameAttribute(OIDS[kind], value) for kind, value in parts])


def leaf_template(subject: str = "C=US,ST=WA,O=acme,CN=signer") -> Template:
    return Template(name(subject))


def ca_template(subject: str = "C=US,ST=WA,O=acme,CN=root") -> Template:
    return Template(name(subject), ca=True, usages=("key_cert_sign",), purposes=())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def issue(
    template: Template,
    issuer: Party | None = None,
    *,
    key: Key | None = None,
    issuer_name: x509.Name | None = None,
) -> Party:
    """Make a certificate; without an issuer it is self-signed."""
    own = key or new_key()
    signs = issuer.key if issuer else own
    by = issuer.certificate.subject if issuer else template.subject
    builder = x509.CertificateBuilder(
        issuer_name=issuer_name or by,
        subject_name=template.subject,
        public_key=own.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=template.starts,
        not_valid_after=template.ends,
    )
    for extension, critical in _extensions(template):
        builder = builder.add_extension(extension, critical=critical)
    pss = None
    if template.pss_salt is not None:
        pss = padding.PSS(padding.MGF1(template.hash()), template.pss_salt)
    return Party(own, builder.sign(signs, template.hash(), rsa_padding=pss))


def make_chain(
    leaf: Template | None = None, *, intermediates: int = 1, key: Key | None = None
) -> tuple[Party, ...]:
    """A right chain, leaf first."""
    parties = [issue(ca_template())]
    for number in range(intermediates):
        template = ca_template(f"C=US,ST=WA,O=acme,CN=intermediate {number}")
        parties.append(issue(template, parties[-1]))
    parties.append(issue(leaf or leaf_template(), parties[-1], key=key))
    return tuple(reversed(parties))


def ders(chain: Sequence[Party]) -> tuple[bytes, ...]:
    return tuple(party.der for party in chain)


def pems(chain: Sequence[Party]) -> bytes:
    return b"".join(party.pem for party in chain)


def protected_header(**changes: Json) -> dict[str, Json]:
    """A right protected header for ES256; `None` takes a member out."""
    members: dict[str, Json] = {
        "alg": "ES256",
        "cty": PAYLOAD_TYPE,
        "crit": [f"{NOTARY}signingScheme"],
        f"{NOTARY}signingScheme": "notary.x509",
        f"{NOTARY}signingTime": "2026-06-01T11:00:00Z",
    }
    return {k: v for k, v in (members | changes).items() if v is not None}


def payload_for(target: Descriptor = IMAGE, **annotations: Json) -> dict[str, Json]:
    members: dict[str, Json] = {
        "mediaType": target.media_type,
        "digest": str(target.digest),
        "size": target.size,
    }
    if annotations:
        members["annotations"] = dict(annotations)
    return {"targetArtifact": members}


def make_envelope(
    chain: Sequence[Party],
    *,
    protected: Mapping[str, Json] | bytes | None = None,
    payload: Mapping[str, Json] | bytes | None = None,
    header: Mapping[str, Json] | None = None,
    top: Mapping[str, Json] | None = None,
) -> bytes:
    """Sign an envelope with the leaf's key, whatever it says."""
    raw_protected = _raw(protected if protected is not None else protected_header())
    raw_payload = _raw(payload if payload is not None else payload_for())
    signed = base64url(raw_protected) + "." + base64url(raw_payload)
    x5c: list[Json] = [base64.b64encode(der).decode() for der in ders(chain)]
    unprotected: dict[str, Json] = {"x5c": x5c, **(header or {})}
    members: dict[str, Json] = {
        "payload": base64url(raw_payload),
        "protected": base64url(raw_protected),
        "header": {k: v for k, v in unprotected.items() if v is not None},
        "signature": base64url(sign(chain[0].key, signed.encode())),
    }
    members |= top or {}
    return json.dumps({k: v for k, v in members.items() if v is not None}).encode()


def cose_header(changes: Mapping[int | str, Node] | None = None) -> Pairs:
    """A right protected header for ES256; `None` takes a parameter out."""
    members: dict[int | str, Node] = {
        1: -7,
        2: [f"{NOTARY}signingScheme"],
        3: PAYLOAD_TYPE,
        f"{NOTARY}signingScheme": "notary.x509",
        f"{NOTARY}signingTime": Tagged(1, int(NOW.timestamp()) - 3600),
    }
    found = members | dict(changes or {})
    return Pairs((k, v) for k, v in found.items() if v is not None)


def make_cose(
    chain: Sequence[Party],
    *,
    protected: Pairs | Raw | None = None,
    payload: Mapping[str, Json] | bytes | None = None,
    header: Mapping[int | str, Node] | None = None,
    message: Mapping[int, Node] | None = None,
) -> bytes:
    """Sign a COSE_Sign1 with the leaf's key, whatever it says.

    `message` replaces items of the array of four after signing; `None` is CBOR's null.
    """
    raw_protected = to_cbor(cose_header() if protected is None else protected)
    raw_payload = _raw(payload if payload is not None else payload_for())
    unprotected = {33: list(ders(chain)), **(header or {})}
    signed = to_cbor(["Signature1", raw_protected, b"", raw_payload])
    items: list[Node] = [
        raw_protected,
        Pairs((k, v) for k, v in unprotected.items() if v is not None),
        raw_payload,
        sign(chain[0].key, signed),
    ]
    for index, item in (message or {}).items():
        items[index] = item
    return b"\xd2" + to_cbor(items)


def sign(key: Key, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        hash_ = {2048: hashes.SHA256(), 3072: hashes.SHA384()}.get(
            key.key_size, hashes.SHA512()
        )
        pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
        return key.sign(message, pss, hash_)
    sizes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    chosen = sizes.get(key.key_size, hashes.SHA256())
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(chosen)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(value: Mapping[str, Json] | bytes) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(dict(value)).encode()


def _extensions(template: Template) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if template.ca is not None:
        constraints = x509.BasicConstraints(template.ca, template.path_length)
        found.append((constraints, template.ca_critical))
    if template.usages is not None:
        bits = {usage: usage in template.usages for usage in USAGES}
        found.append((x509.KeyUsage(**bits), template.usages_critical))
    if template.purposes:
        found.append((x509.ExtendedKeyUsage(template.purposes), False))
    return [*found, *template.extra]
