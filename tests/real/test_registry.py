"""A real registry with TLS and a login; images pushed by oras, signed by notation."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.enforced import EnforcedHost
from tests.engines.images import describe, write_layout
from tests.engines.notation import Format
from tests.engines.oras import Oras
from tests.engines.path import program
from tests.engines.process import run
from tests.engines.registry import running_registry
from tests.engines.tls import Tls, make_tls

CANARY = "canary-of-a-real-registry"  # the password
USER = "acme"


@dataclass(frozen=True)
class Shop:
    """A registry, those who push to it, and a host that may pull."""

    registry: str
    tls: Tls
    oras: Oras
    host: EnforcedHost
    auth_file: Path
    home: Path

    def image(self, name: str, text: str, *, index: bool = True) -> str:
        """Push an image with oras; return its digest."""
        layout = self.home / f"{name}-{text}"
        write_layout(layout, text=text, tag="app:1", index=index)
        digest = describe(layout).top
        ca = ("--to-ca-file", self.tls.ca, "--to-registry-config", self.auth_file)
        target = f"{self.registry}/{name}:1"
        self.oras.oras("cp", "--from-oci-layout", f"{layout}@{digest}", *ca, target)
        return digest

    def sign(
        self, name: str, digest: str, by: str = "acme", kind: Format = "jws"
    ) -> None:
        """Sign it where it is, with notation."""
        words = ("sign", "--key", by, "--signature-format", kind)
        home = {"HOME": str(self.home), "SSL_CERT_FILE": str(self.tls.ca)}
        command = [program("notation"), *words, f"{self.registry}/{name}@{digest}"]
        # as a user who has logged in: ~/.docker/config.json is where it looks
        run(command, env=self.host.notation.environment | home)

    def settle(self, **members: object) -> None:
        """Say in enforcer.yaml how the host reaches the registry."""
        right = {"ca": str(self.tls.ca), "authFile": str(self.auth_file)}
        chosen = {k: v for k, v in (right | members).items() if v is not None}
        self.host.configure(registries=[{"host": self.registry, **chosen}])

    def enforcer(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.host.enforcer(*words, check=False)
        assert "Traceback" not in done.stderr
        assert CANARY not in done.stdout + done.stderr
        return done

    def cached(self) -> list[str]:
        """Every file of the cache, by name; and that none has the password."""
        files = [p for p in (self.host.state / "cache").rglob("*") if p.is_file()]
        assert not any(CANARY.encode() in path.read_bytes() for path in files)
        return sorted(p.name for p in files if p.parent.name == "sha256")


@pytest.fixture(scope="module")
def shop(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One registry and one host for this module; each test has its own repository."""
    home = tmp_path_factory.mktemp("shop")
    home.chmod(0o755)
    for name in ("registry", "oras", ".docker"):
        (home / name).mkdir()
    tls = make_tls(home, "127.0.0.1")
    users = {USER: CANARY}
    host = EnforcedHost()
    with running_registry(home / "registry", tls=tls, users=users) as address:
        auth_file = home / ".docker" / "config.json"
        command: list[str | Path] = [program("oras"), "login", "--ca-file", tls.ca]
        command += ["--registry-config", auth_file]
        command += ["-u", USER, "--password-stdin", address]
        run(command, env={"PATH": "/usr/bin:/bin", "HOME": str(home)}, stdin=CANARY)
        oras = Oras(home / "oras")
        shop = Shop(address, tls, oras, host, auth_file, home)
        try:
            shop.settle()
            yield shop
        finally:
            host.close()


def test_what_is_signed_in_a_registry_counts_on_this_host(shop: Shop) -> None:
    """Logged in as oras left it, a CA of its own, and no Referrers API."""
    digest = shop.image("counts", "signed")
    name = f"{shop.registry}/counts:1"

    unsigned = shop.enforcer("verify", name)
    assert (unsigned.returncode, "ENF-1001" in unsigned.stdout) == (1, True)
    shop.sign("counts", digest)
    shop.sign("counts", digest, kind="cose")
    judged = shop.enforcer("verify", name, "-o", "json")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    found = json.loads(judged.stdout)
    assert found["subject"]["index"] == digest
    assert found["reference"] == name

    done = shop.enforcer("cache", "import", name)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"imported 2 signature(s) from {name}\n"
    layout = f"oci-layout:{shop.home / 'counts-signed'}"
    words = ("verify", layout, "--with-cache", "--scope", name)
    assert shop.enforcer(*words).returncode == 0
    listed = shop.enforcer("cache", "list").stdout
    assert listed.count(digest) == 2


def test_a_verdict_does_not_store_anything(shop: Shop) -> None:
    digest = shop.image("verdict", "one")
    shop.sign("verdict", digest)
    before = shop.cached()

    assert shop.enforcer("verify", f"{shop.registry}/verdict:1").returncode == 0

    assert shop.cached() == before


def test_a_strangers_signature_is_had_and_does_not_count(shop: Shop) -> None:
    """By tag and digest; the digest is what counts."""
    digest = shop.image("stranger", "theirs", index=False)
    shop.sign("stranger", digest, by="stranger")

    done = shop.enforcer("verify", f"{shop.registry}/stranger:moved@{digest}")

    assert (done.returncode, "ENF-1004" in done.stdout) == (1, True), done.stdout


def test_what_else_is_about_an_image_is_passed_over(shop: Shop) -> None:
    """A bill of materials that oras attached is no signature, and no error."""
    digest = shop.image("sbom", "bill")
    shop.sign("sbom", digest)
    login = ("--ca-file", str(shop.tls.ca), "--registry-config", str(shop.auth_file))
    named = f"{shop.registry}/sbom@{digest}"
    kind = ("--artifact-type", "application/spdx+json")
    shop.oras.attach(named, "sbom.json", b"{}", *kind, *login)

    done = shop.enforcer("cache", "import", f"{shop.registry}/sbom:1")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("imported 1 signature(s)")


FAILURES: dict[str, tuple[dict[str, object], str, str, str]] = {
    "missing tag": ({}, "kept:2", "ENF-2601", "push it first"),
    "missing repository": ({}, "nothing:1", "ENF-2601", "push it first"),
    "nobody logged in": ({"authFile": None}, "kept:1", "ENF-2603", "docker login"),
    "another CA": ({"ca": None, "http": False}, "kept:1", "ENF-2602", "needs `ca`"),
    "plain http": ({"ca": None}, "kept:1", "ENF-2602", "If it speaks TLS"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_each_failure_has_its_code_and_next_step_and_changes_nothing(
    shop: Shop, what: str
) -> None:
    """Must hold: a code, a next step, and no effect on what is cached."""
    members, named, code, step = FAILURES[what]
    before = shop.cached()
    name = f"{shop.registry}/{named}"
    if "kept" in named and not (shop.home / "kept-image").exists():
        shop.image("kept", "image")
    shop.settle(**members)
    try:
        for words in (("cache", "import", name), ("verify", name)):
            done = shop.enforcer(*words)
            assert f"[{code}]" in done.stderr, done.stderr
            assert step in done.stderr
            assert name in done.stderr
            assert done.returncode == 3
    finally:
        shop.settle()
    assert shop.cached() == before


def test_a_wrong_password_is_told_apart_from_a_registry_that_is_gone(
    shop: Shop, tmp_path: Path
) -> None:
    """And a registry that stopped from one that never was there."""
    wrong = tmp_path / "config.json"
    wrong.write_text(shop.auth_file.read_text().replace('"auth": "', '"auth": "AAAA'))
    wrong.chmod(0o600)
    shop.settle(authFile=str(wrong))
    try:
        done = shop.enforcer("verify", f"{shop.registry}/kept:1")
    finally:
        shop.settle()
    assert "[ENF-2603]" in done.stderr

    (tmp_path / "gone").mkdir()
    with running_registry(tmp_path / "gone") as gone:
        pass
    done = shop.enforcer("verify", f"{gone}/app:1")
    assert "Connection refused" in done.stderr
    assert "[ENF-2602]" in done.stderr
    done = shop.enforcer("verify", "no-such-registry.invalid/app:1")
    assert "cannot be resolved" in done.stderr
    assert "[ENF-2602]" in done.stderr


def test_a_registry_needs_to_be_named(shop: Shop) -> None:
    """A bare name is an image of an engine to everybody else."""
    for name in ("app:1", "library/app", "dockr:app"):
        done = shop.enforcer("verify", name)
        assert done.returncode == 2
        assert "REGISTRY/REPOSITORY" in done.stderr
