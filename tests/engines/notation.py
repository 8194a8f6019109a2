"""The stock notation, in a configuration folder of its own, with keys made here."""

import datetime
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.engines.path import program
from tests.engines.process import run

Format = Literal["jws", "cose"]
Level = Literal["strict", "permissive", "audit", "skip"]

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Signer:
    """A leaf below a CA of its own, as files: PEM key, chain (leaf first) and CA."""

    name: str
    key: Path
    chain: Path
    ca: Path
    identity: str  # what a trust policy calls it


class Notation:
    """One user of notation. Nothing is signed or trusted until told so.

    The folder has the layout Notation documents (signingkeys.json,
    trustpolicy.json, truststore/x509/ca/STORE/), so it can be given to enforcer
    as `notationConfig` as it is.
    """

    def __init__(self, home: Path) -> None:
        self.config = home / "config"
        self._home = home
        self._keys: list[dict[str, str]] = []
        for name in ("config", "libexec", "cache", "user", "keys"):
            (home / name).mkdir(parents=True)
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home / "user"),
            "XDG_CONFIG_HOME": str(home / "user"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "NOTATION_CONFIG": str(self.config),
            "NOTATION_LIBEXEC": str(home / "libexec"),
            "NOTATION_CACHE": str(home / "cache"),
            "NOTATION_EXPERIMENTAL": "1",  # --oci-layout asks for it
        }

    def add_signer(self, name: str, *, now: datetime.datetime | None = None) -> Signer:
        """Make a key, a chain O=`name`, and list it; the first one is the default."""
        folder = self._home / "keys"
        signer = _write_signer(folder, name, now or datetime.datetime.now(datetime.UTC))
        self._keys.append(
            {"name": name, "keyPath": str(signer.key), "certPath": str(signer.chain)}
        )
        listing = {"default": self._keys[0]["name"], "keys": self._keys}
        _write_json(self.config / "signingkeys.json", listing)
        return signer

    def trust(self, store: str, *signers: Signer) -> None:
        """Put signers' CAs into the trust store `ca:STORE`."""
        folder = self.config / "truststore" / "x509" / "ca" / store
        folder.mkdir(parents=True, exist_ok=True)
        for signer in signers:
            (folder / f"{signer.name}.crt").write_bytes(signer.ca.read_bytes())

    def write_policy(self, *statements: Mapping[str, object]) -> None:
        """Write trustpolicy.json; `statement` makes the parts."""
        policy = {"version": "1.0", "trustPolicies": list(statements)}
        _write_json(self.config / "trustpolicy.json", policy)

    def sign_layout(
        self,
        layout: Path,
        digest: str,
        *,
        key: str | None = None,
        envelope: Format = "jws",
        extra: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Sign a manifest of an OCI layout; the signature is stored in the layout."""
        chosen = ["--key", key] if key else []
        target = f"{layout}@{digest}"
        words = ["sign", "--oci-layout", "--signature-format", envelope]
        return self.notation(*words, *chosen, *extra, target)

    def verify_layout(
        self, layout: Path, digest: str, scope: str, *, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Judge a manifest as if it came from repository `scope`; look at returncode.

        With `check`, a refusal is an EngineError that shows what notation said.
        """
        words = ["verify", "--oci-layout", f"{layout}@{digest}", "--scope", scope]
        return self.notation(*words, check=check)

    def notation(
        self, *words: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run notation with this configuration."""
        return run([program("notation"), *words], env=self.environment, check=check)


def statement(
    name: str,
    *,
    scopes: Sequence[str] = ("*",),
    stores: Sequence[str] = ("ca:test",),
    identities: Sequence[str] = ("*",),
    level: Level = "strict",
) -> dict[str, object]:
    """One entry of a trust policy document."""
    return {
        "name": name,
        "registryScopes": list(scopes),
        "signatureVerification": {"level": level},
        "trustStores": list(stores),
        "trustedIdentities": list(identities),
    }


def _write_signer(folder: Path, name: str, now: datetime.datetime) -> Signer:
    """Make a CA and its leaf.

    Both as signature-specification.md, "Certificate Requirements", wants them.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    ca_name, leaf_name = _subject(name, f"{name} CA"), _subject(name, name)
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    code_signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    leaf = (
        _builder(leaf_name, ca_name, leaf_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(code_signing, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    signer = Signer(
        name,
        folder / f"{name}.key",
        folder / f"{name}.crt",
        folder / f"{name}.ca.crt",
        f"x509.subject: C=US, ST=WA, O={name}",
    )
    signer.key.touch(mode=0o600)
    signer.key.write_bytes(
        leaf_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    signer.chain.write_bytes(leaf.public_bytes(pem) + ca.public_bytes(pem))
    signer.ca.write_bytes(ca.public_bytes(pem))
    return signer


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )


def _subject(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "WA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
