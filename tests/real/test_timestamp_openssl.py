"""Requests and answers of `openssl ts`: RFC 3161 as somebody else has read it."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from enforcer.core.timestamp import parse_tst_info, verify_countersignature
from enforcer.sources.tsa import request_timestamp
from tests.pki import Party, ca_template, issue, pems, rsa_key
from tests.tsa import long_lived, tsa_template
from tests.tsa_server import Reply, Served, serve

SIGNED = b"the primitive signature"
CONFIGURATION = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
clock_precision_digits = 3
ordering = yes
tsa_name = yes
ess_cert_id_chain = {chain}
ess_cert_id_alg = {hash}
"""


class OpenSsl:
    """A TSA made of `openssl ts -reply`, over an intermediate CA."""

    def __init__(self, folder: Path, *, hash_name: str, chain: str) -> None:
        self.folder = folder
        root = issue(long_lived(ca_template("C=US,ST=WA,O=tsa,CN=root")))
        middle = issue(long_lived(ca_template("C=US,ST=WA,O=tsa,CN=middle")), root)
        clock = issue(long_lived(tsa_template()), middle, key=rsa_key(2048))
        self.chain: tuple[Party, ...] = (clock, middle, root)
        (folder / "key.pem").write_bytes(clock.key_pem)
        (folder / "clock.pem").write_bytes(clock.pem)
        (folder / "chain.pem").write_bytes(pems((middle, root)))
        (folder / "serial").write_text("01\n")
        text = CONFIGURATION.format(folder=folder, hash=hash_name, chain=chain)
        (folder / "tsa.cnf").write_text(text)

    def answer(self, request: bytes) -> Reply:
        (self.folder / "request.tsq").write_bytes(request)
        self.run("-reply", "-config", "tsa.cnf", "-queryfile", "request.tsq",
                 "-signer", "clock.pem", "-inkey", "key.pem", "-chain", "chain.pem",
                 "-out", "answer.tsr")  # fmt: skip
        return Reply((self.folder / "answer.tsr").read_bytes())

    def run(self, *words: str) -> str:
        done = subprocess.run(
            ["openssl", "ts", *words],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout


@pytest.fixture(params=[("sha256", "no"), ("sha512", "yes")], ids=["plain", "chain"])
def tsa(request: pytest.FixtureRequest, tmp_path: Path) -> OpenSsl:
    """Name only the signer's certificate, or all of the chain, by another hash."""
    hash_name, chain = request.param
    return OpenSsl(tmp_path, hash_name=hash_name, chain=chain)


@pytest.fixture
def served(tsa: OpenSsl) -> Iterator[Served]:
    """Serve it over HTTP."""
    with serve(tsa.answer) as server:
        yield server


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_openssl_answers_what_we_ask_and_we_believe_it(
    tsa: OpenSsl, served: Served, hash_name: str
) -> None:
    """Neither side is ours: the request is read, the token made, by OpenSSL."""
    roots, at = (tsa.chain[-1].der,), datetime.now(UTC)

    token = request_timestamp(served.url, SIGNED, hash_name, roots=roots, at=at)

    found = verify_countersignature(token, SIGNED, roots)
    assert found.chain.der == tuple(party.der for party in tsa.chain)
    assert (found.not_after - found.not_before).total_seconds() == 3
    assert parse_tst_info(token).policy == "1.2.3.4"


def test_openssl_reads_the_request_as_it_was_meant(
    tsa: OpenSsl, served: Served
) -> None:
    """Version 1, the digest, a nonce, and that certificates are wanted."""
    roots = (tsa.chain[-1].der,)
    request_timestamp(served.url, SIGNED, "sha256", roots=roots, at=datetime.now(UTC))

    shown = tsa.run("-query", "-in", "request.tsq", "-text")

    assert "Version: 1\nHash Algorithm: sha256\n" in shown
    assert "Policy OID: unspecified\nNonce: 0x" in shown
    assert "Certificate required: yes\nExtensions:" in shown
