"""`verify` and `cache import` of what is in a registry: five failures, five steps."""

import json
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from enforcer.core.codes import PAGES, Code
from enforcer.core.collected import SignatureFile
from tests.engines.process import wait_until
from tests.registry.fake import FakeRegistry, at, manifest_reply
from tests.registry.login import BasicLogin
from tests.registry.server import Reply, Seen, Server
from tests.unit.cli.host import Host
from tests.unit.sources.signed import compact, describe, image, signature
from tests.unit.sources.test_registry_credentials import config, pair

IMAGE = image("on sale")
SIGNED = signature(IMAGE.index)


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is logged in anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)


@pytest.fixture
def fake() -> FakeRegistry:
    """A registry with an image, `app:1`, that acme signed."""
    registry = FakeRegistry()
    registry.push(IMAGE.index, "1")
    registry.push(IMAGE.manifest)
    registry.attach(SIGNED)
    return registry


def cached(host: Host) -> list[str]:
    blobs = host.root / "state" / "cache" / "blobs" / "sha256"
    return sorted(path.name for path in blobs.iterdir()) if blobs.exists() else []


def test_an_image_is_judged_by_what_its_registry_has_about_it(
    host: Host, fake: FakeRegistry, server: Server
) -> None:
    """Its name is known, so nobody has to say --scope; nothing is stored."""
    name = f"{server.host}/app:1"

    done = host.run("verify", name, "-o", "json")

    assert done.status == 0, done.err
    assert done.json["code"] == "ENF-1000"
    assert done.json["reference"] == name
    assert done.json["subject"]["index"] == str(IMAGE.index.descriptor.digest)
    assert cached(host) == []

    fake.about.clear()  # a mirror that strips signatures
    done = host.run("verify", name)
    assert (done.status, "ENF-1001" in done.out) == (1, True)


def test_the_cache_counts_only_if_asked_for(
    host: Host, fake: FakeRegistry, server: Server
) -> None:
    """As for a layout: who asks about a place wants to know what is in it."""
    name = f"{server.host}/app:1"
    assert host.run("cache", "import", name).status == 0
    fake.about.clear()

    assert host.run("verify", name).status == 1
    assert host.run("verify", name, "--with-cache").status == 0


def test_an_explicit_digest_is_judged_by_itself(host: Host, server: Server) -> None:
    """The index is signed, the manifest it lists is not; the tag is ignored."""
    digest = IMAGE.manifest.descriptor.digest

    done = host.run("verify", f"{server.host}/app:1@{digest}", "-o", "json")

    assert (done.status, done.json["code"]) == (1, "ENF-1001")
    assert done.json["subject"]["manifest"] == str(digest)


def test_the_scope_of_a_registrys_image_is_its_name(host: Host, server: Server) -> None:
    name = f"{server.host}/app:1"
    host.policy(scope=f"{server.host}/app")
    assert host.run("verify", name).status == 0

    host.policy(scope="registry.example/app")
    done = host.run("verify", name)
    assert (done.status, "ENF-1002" in done.out) == (1, True)
    assert host.run("verify", name, "--scope", "registry.example/app").status == 0


def test_a_registrys_signatures_are_imported(host: Host, server: Server) -> None:
    done = host.run("cache", "import", f"{server.host}/app:1")

    assert (done.status, done.err) == (0, "")
    assert done.out == f"imported 1 signature(s) from {server.host}/app:1\n"
    listed = host.run("cache", "list", "-o", "json").json
    assert [e["subject"] for e in listed] == [str(IMAGE.index.descriptor.digest)]


def test_what_a_registry_has_is_exported_without_its_layers(
    host: Host, server: Server, tmp_path: Path
) -> None:
    """For a stick, from a host that keeps nothing itself: --help says so."""
    name, archive = f"{server.host}/app:1", f"oci-archive:{tmp_path}/app.tar"

    refused = host.run("cache", "export", "--with-image", name, archive)
    done = host.run("cache", "export", name, archive)

    assert (refused.status, "with --with-image name docker:" in refused.err) == (
        2,
        True,
    )
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("exported 1 name(s), no image, 1 signature(s)")
    assert cached(host) == []
    assert host.run("cache", "import", archive).status == 0
    listed = host.run("cache", "list", "-o", "json").json
    assert [e["subject"] for e in listed] == [str(IMAGE.index.descriptor.digest)]


def test_what_is_refused_is_told_and_the_rest_is_taken(
    host: Host, fake: FakeRegistry, server: Server
) -> None:
    """A stranger's junk beside good signatures costs an exit status, no signature."""
    other = signature(image("of somebody else").manifest)
    fake.attach(other)
    fake.about[str(IMAGE.index.descriptor.digest)] += fake.about.pop(
        str(image("of somebody else").manifest.descriptor.digest)
    )

    done = host.run("cache", "import", f"{server.host}/app:1")

    assert done.status == 1
    assert "refused sha256:" in done.err
    assert "and listed for another" in done.err
    assert done.out.startswith("imported 1 signature(s)")


def test_more_than_fits_into_an_answer_costs_none_of_what_does(
    host: Host, fake: FakeRegistry, server: Server
) -> None:
    """Whoever may push could keep everybody from importing, with two large files."""
    fake.about.clear()
    for filler in (b"1", b"2"):
        envelope = filler * (30 * 1024 * 1024)
        members = json.loads(SIGNED.manifest)
        members["layers"] = [describe(members["layers"][0]["mediaType"], envelope)]
        fake.attach(SignatureFile(compact(members), envelope))
    fake.attach(SIGNED)

    done = host.run("cache", "import", f"{server.host}/app:1")

    assert done.status == 1
    assert re.fullmatch(
        r"enforcer: refused sha256:\w+: has 3\d+ bytes, and no more than 2\d+ are left "
        r"to take\n",
        done.err,
    )
    assert done.out.startswith("imported 2 signature(s)")
    assert host.run("verify", f"{server.host}/app:1", "-o", "json").json["allowed"]


LIE = manifest_reply(
    IMAGE.index, Docker_Content_Digest=str(IMAGE.manifest.descriptor.digest)
)
LOGIN = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
ELSEWHERE = Reply(
    401, headers={"WWW-Authenticate": 'Bearer realm="https://evil.test/t",service="x"'}
)
FAILURES = {
    Code.REGISTRY_MISSING: (Reply(404), 3, "push it first"),
    Code.REGISTRY_UNREACHABLE: (Reply(503), 3, "then try again"),
    Code.REGISTRY_UNAUTHORISED: (LOGIN, 3, "`docker login`"),
    Code.REGISTRY_RATE_LIMITED: (
        Reply(429, headers={"Retry-After": "3600"}),
        3,
        "Try again after that time",
    ),
    Code.REGISTRY_WRONG: (LIE, 1, "suspect what is between"),
    Code.REGISTRY_TOKEN_HOST: (ELSEWHERE, 4, "tokenHosts"),
}


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("verb", [("verify",), ("cache", "import")])
def test_each_failure_has_a_code_a_step_and_no_effect(
    host: Host, fake: FakeRegistry, server: Server, code: Code, verb: tuple[str, ...]
) -> None:
    """Missing, unreachable, unauthorised, rate-limited and wrong, and two more."""
    reply, status, step = FAILURES[code]
    host.sign()
    before = cached(host)
    fake.rules.append(at("", reply))

    done = host.run(*verb, f"{server.host}/app:1")

    assert done.status == status, done.err
    assert done.err.startswith(f"enforcer: {server.host}/app:1 ")
    assert done.err.endswith(f"[{code}]\n")
    assert step in done.err
    assert done.out == ""
    assert cached(host) == before
    assert PAGES[code][1] in " ".join(host.run("explain", code).out.split())


def test_a_login_that_cannot_be_read_is_a_code_of_its_own(
    host: Host, server: Server, tmp_path: Path
) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text("{")
    auth.chmod(0o600)
    registry = {"host": server.host, "authFile": str(auth)}
    host.settings(notationConfig=str(host.notation), registries=[registry])

    done = host.run("cache", "import", f"{server.host}/app:1")

    assert (done.status, "[ENF-2607]" in done.err) == (4, True)
    assert server.seen == []


@pytest.mark.parametrize(
    "text",
    [
        "app:1", "library/app", "registry.example/App:1", "registry.example/app:",
        "registry.example/app@sha256:123", "registry.example/a b", "dockr:a/b",
        "docker:", "registry.example/../x", "registry.example/app:\x1b[2J", "", ":",
        "https://registry.example/app",
    ],
)  # fmt: skip
def test_what_names_no_registry_is_a_usage_error(host: Host, text: str) -> None:
    for verb in (("verify",), ("cache", "import")):
        done = host.run(*verb, text)
        assert done.status == 2
        assert "REGISTRY/REPOSITORY[:TAG][@DIGEST]" in done.err
        assert done.err.replace("\n", "").isprintable()


def test_only_verify_asks_a_registry(host: Host, server: Server) -> None:
    """`policy show` and `sign` take such a name for something on this host."""
    name = f"{server.host}/app:1"

    shown = host.run("policy", "show", name)
    signing = host.run("sign", name, *host.keys())

    assert shown.status == 0
    assert signing.status == 2
    assert server.seen == []


@contextmanager
def held(fake: FakeRegistry) -> Iterator[threading.Event]:
    """The registry has been asked, and does not answer before the block ends."""
    asked, go_on = threading.Event(), threading.Event()

    def wait(seen: Seen) -> Reply | None:
        if seen.headers.get("Authorization"):
            asked.set()
            go_on.wait(30)
        return None

    fake.rules.append(wait)
    try:
        yield asked
    finally:
        go_on.set()


def test_while_a_registry_is_slow_the_cache_is_free_and_no_password_is_seen(
    host: Host, fake: FakeRegistry, server: Server, tmp_path: Path
) -> None:
    """Canary: not in any argument or environment, of whatever process asks."""
    canary = secrets.token_hex(16)
    fake.rules.append(BasicLogin(server.host, "acme", canary))
    auth = config(tmp_path / "auth.json", auths={server.host: pair("acme", canary)})
    registry = {"host": server.host, "authFile": str(auth)}
    host.settings(notationConfig=str(host.notation), registries=[registry])
    words = [sys.executable, "-m", "enforcer", *host.folders()]
    command = [*words, "cache", "import", f"{server.host}/app:1"]

    with held(fake) as asked:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_until(asked.is_set, "the registry is asked")
        host.sign()  # nobody has the cache locked
        told = [
            (pid, name)
            for pid in Path("/proc").glob("[0-9]*")
            for name in ("cmdline", "environ")
            if canary.encode() in _read(pid / name)
        ]
    out, err = process.communicate(timeout=60)

    assert told == []
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"imported 1 signature(s)")
    files = [path for path in host.root.rglob("*") if path.is_file()]
    assert not any(canary.encode() in path.read_bytes() for path in files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone, or not ours to see
