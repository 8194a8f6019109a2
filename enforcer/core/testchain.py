"""A certificate chain to try signing with. Not for production: nobody keeps its CA."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enforcer.core.errors import MalformedError, clip

VALIDITY = timedelta(days=365)
MAX_COMMON_NAME = 64  # X.520's ub-common-name


def generate_test_chain(
    common_name: str, *, at: datetime
) -> tuple[bytes, bytes, bytes]:
    """Return PEM: a private key, its chain (leaf, root), and the root alone.

    The leaf is `C=US, ST=WA, O=enforcer test, CN=<common_name>`, P-256, valid for a
    year from `at`. The root's key is forgotten at once.

    Raises:
        MalformedError: The name is empty, too long, or not printable.
    """
    if not 1 <= len(common_name) <= MAX_COMMON_NAME or not common_name.isprintable():
        raise MalformedError(
            f'"{clip(common_name)}" cannot be a certificate\'s common name',
            remedy=f"Expected 1 to {MAX_COMMON_NAME} printable characters.",
        )
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _name("enforcer test root", common_name)
    leaf_name = _name("enforcer test", common_name)
    root = _builder(root_name, root_name, root_key.public_key(), at, ca=True)
    leaf = _builder(leaf_name, root_name, leaf_key.public_key(), at, ca=False)
    leaf = leaf.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
    )
    root_pem, leaf_pem = _signed(root, root_key), _signed(leaf, root_key)
    return _key_pem(leaf_key), leaf_pem + root_pem, root_pem


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(organization: str, common_name: str) -> x509.Name:
    parts = (
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.STATE_OR_PROVINCE_NAME, "WA"),
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.COMMON_NAME, common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    *,
    ca: bool,
) -> x509.CertificateBuilder:
    starts = at.replace(microsecond=0)
    constraints = x509.BasicConstraints(ca=ca, path_length=0 if ca else None)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key)
    return (
        x509.CertificateBuilder(issuer, subject, key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + VALIDITY)
        .add_extension(constraints, critical=True)
        .add_extension(_usage(ca=ca), critical=True)
        .add_extension(identifier, critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
