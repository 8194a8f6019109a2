"""`enforcer sign`: which keys are taken, and where the signature goes."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from enforcer.core.signing import generate_test_chain
from enforcer.sources.cache import DiskCache
from tests.engines.images import write_layout
from tests.pki import Key, ca_template, issue, leaf_template, make_chain, pems
from tests.unit.cli.host import SCOPE, Host
from tests.unit.sources import signed
from tests.unit.sources.signed import AT

NONE = serialization.NoEncryption()
ENCRYPTED = serialization.BestAvailableEncryption(b"secret")


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    encryption: serialization.KeySerializationEncryption = NONE,
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def refusal(host: Host, key: bytes, chain: bytes) -> str:
    """Sign with these; return what was said. Nothing may have been stored."""
    (host.root / "k").write_bytes(key)
    (host.root / "c").write_bytes(chain)
    done = host.run(
        "sign", host.target, "--key", host.root / "k", "--cert", host.root / "c",
        "--write-layout",
    )  # fmt: skip
    assert done.status == 1
    assert "[ENF-1208]" in done.err
    assert not (host.root / "state" / "cache").exists()
    return done.err


def test_a_signature_goes_into_the_cache_and_says_its_name(host: Host) -> None:
    text = host.sign()
    found = host.sign("-o", "json").json

    assert text.out.startswith(f"signed {host.layout}@{host.digest.short}")
    assert "is in the cache\n" in text.out
    assert list(found) == ["target", "digest", "mediaType", "signature"]
    assert found["digest"] == str(host.digest)
    entries = list(DiskCache(host.root / "state" / "cache").entries())
    assert found["signature"] in {entry.envelope for entry in entries}
    assert host.verify("--scope", SCOPE).status == 1  # it is not in the layout


def test_an_index_is_signed_with_what_it_lists(host: Host) -> None:
    digest = write_layout(host.root / "i", text="hi", tag="app:1", index=True)
    target = f"oci-layout:{host.root / 'i'}"

    assert host.run("sign", target, *host.keys(), "--write-layout").status == 0

    done = host.run("verify", target, "--scope", SCOPE, "-o", "json")
    assert done.json["subject"] == {"index": digest}
    assert done.status == 0


def test_the_key_and_its_chain_may_be_one_file(host: Host) -> None:
    key, chain, _ = signed.pems("acme")
    (host.root / "both").write_bytes(key + chain)

    done = host.run("sign", host.target, "--key", host.root / "both")

    assert (done.status, done.err) == (0, "")
    alone = host.run("sign", host.target, "--key", host.root / "acme.key")
    assert (alone.status, "[ENF-1208]" in alone.err) == (1, True)


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - what is refused
    ],
)
def test_keys_of_another_kind_are_refused(host: Host, key: Key) -> None:
    said = refusal(host, pem(key), signed.pems("acme")[1])

    assert "RSA with 2048, 3072 or 4096 bits, or ECDSA on P-256, P-384 or P-521" in said


def test_a_key_that_is_not_the_certificates_is_refused(host: Host) -> None:
    said = refusal(host, signed.pems("wabbit")[0], signed.pems("acme")[1])

    assert "the private key is not that of the chain's first certificate" in said


def test_an_encrypted_key_is_refused_and_says_what_is_expected(host: Host) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    said = refusal(host, pem(key, ENCRYPTED), signed.pems("acme")[1])

    assert "Expected unencrypted PEM (PKCS #8)" in said


@pytest.mark.parametrize("raw", [b"", b"junk", signed.pems("acme")[1]])
def test_what_is_no_key_is_refused(host: Host, raw: bytes) -> None:
    refusal(host, raw, signed.pems("acme")[1])


def test_a_chain_out_of_order_or_incomplete_is_refused(host: Host) -> None:
    leaf, middle, root = make_chain()
    for chain in ((leaf, root, middle), (leaf, middle), (middle, leaf, root), (leaf,)):
        refusal(host, leaf.key_pem, pems(chain))
    refusal(host, leaf.key_pem, b"")


def test_a_certificate_that_is_not_valid_now_is_refused(host: Host) -> None:
    key, chain, _ = generate_test_chain("old", at=AT.replace(year=AT.year - 2))

    assert "Sign with a certificate that is valid now" in refusal(host, key, chain)


def test_a_certificate_that_must_not_sign_code_is_refused(host: Host) -> None:
    root = issue(ca_template())
    leaf = issue(leaf_template(), root)

    refusal(host, root.key_pem, pems((root, leaf)))


@pytest.mark.parametrize("missing", ["acme.key", "acme.crt"])
def test_missing_files_are_named(host: Host, missing: str) -> None:
    (host.root / missing).unlink()

    done = host.run("sign", host.target, *host.keys())

    assert done.status == 3
    assert f"{missing} does not exist" in done.err


def test_a_pipe_is_no_key(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    done = host.run("sign", host.target, "--key", tmp_path / "pipe")

    assert (done.status, "is not a regular file" in done.err) == (3, True)


@pytest.mark.parametrize("text", ["", "0h", "24", "1w", "-1h", "9999999d", "1.5h"])
def test_an_expiry_is_a_duration(host: Host, text: str) -> None:
    done = host.run("sign", host.target, *host.keys(), "--expiry", text)

    assert (done.status, "--expiry" in done.err) == (2, True)


def test_only_layout_folders_are_written_to(host: Host) -> None:
    done = host.run("sign", "oci-archive:x", *host.keys(), "--write-layout")

    assert (done.status, "goes with an oci-layout:" in done.err) == (2, True)


def test_reserved_metadata_is_refused(host: Host) -> None:
    done = host.run("sign", host.target, *host.keys(), "-m", "io.cncf.notary.x=y")

    assert (done.status, "must not be named" in done.err) == (1, True)


def test_a_cache_that_cannot_be_written_is_unreachable(host: Host) -> None:
    (host.root / "state" / "cache").touch()

    done = host.run("sign", host.target, *host.keys(), "--write-layout")

    assert (done.status, "[ENF-1402]" in done.err) == (3, True)
    assert host.verify("--scope", SCOPE).status == 1  # and no half of it was done
