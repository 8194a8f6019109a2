"""A registry's password is nowhere but where it was put.

It is marked, so that it can be found: in what commands print, in errors and JSON, in
the audit log and every other file, in arguments and environments of all processes, and
in what any of them writes to a file, however short that lives. It is used in pulls that
succeed and in all kinds that fail; the looks are tried on secrets that were planted.
"""

import base64
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.engines.images import write_layout
from tests.engines.path import program
from tests.engines.process import run, wait_until
from tests.engines.registry import running_registry
from tests.engines.tls import make_tls
from tests.engines.watched import Watch
from tests.real.acme import People, policy
from tests.real.canary import IN_FULL, WRITES, Canary
from tests.real.nodes import Node, node
from tests.real.stage import said
from tests.registry.server import Reply, Seen, Server, serving, throwaway_ca
from tests.registry.server import server_context as tls_context

PUSHER = ("pusher", "not-the-marked-one")
USED = "imported 1 signature(s)"
DRIP_SECONDS = 0.2  # between the bytes of an answer that does not end


@dataclass
class Vault:
    """A node that pulls with a marked password, and all that it said."""

    node: Node
    watch: Watch
    canary: Canary
    token: Canary  # what a registry's token server gives out for the password
    registry: str
    image: str
    ca: Path
    auth: Path  # the one file that has it
    said: list[str] = field(default_factory=list)

    def logs_in(self, host: str, **more: object) -> None:
        """Have the host log in to a registry; `more` are keys of enforcer.yaml."""
        entry = {"host": host, "ca": str(self.ca), "authFile": str(self.auth)} | more
        known = {key: value for key, value in entry.items() if value is not None}
        self.node.stage.host.configure(registries=[known])

    def keeps(self, **login: str) -> None:
        """Write the login for every registry here, as Docker does."""
        hosts = self.node.stage.host.settings["registries"]
        assert isinstance(hosts, list)
        self.auth.touch(mode=0o600)
        auths = {entry["host"]: login for entry in hosts}
        self.auth.write_text(json.dumps({"auths": auths}))

    @property
    def helper(self) -> Path:
        """A credential helper, which has it, too."""
        return self.node.programs / "docker-credential-canary"

    def types(self, command: str) -> str:
        """Type a command; return all it printed."""
        done = self.node.types(command, check=False)
        self.said.append(said(done))
        return said(done)

    def asks(self, image: str) -> str:
        """Ask for an image, for people and programs; return all that was printed."""
        words = ("enforcer cache import", "enforcer verify -o json")
        return "\n".join(self.types(f"{word} {image}") for word in words)

    def found(self) -> list[str]:
        """Everywhere either secret is that should not have it."""
        host = self.node.stage.host
        sources = {self.auth, self.helper}
        return [
            place
            for secret in (self.canary, self.token)
            for place in (
                *secret.in_text("\n".join(self.said)),
                *secret.in_files(host.home, but=sources),
                *secret.in_processes(),
                *secret.in_calls(self.watch.lines()),
            )
        ]


@pytest.fixture(scope="module")
def vault(
    engines: Path, people: People, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vault]:
    """Run a registry with a marked password, and a node under strace."""
    home = tmp_path_factory.mktemp("registry")
    tls = make_tls(home, "127.0.0.1")
    canary = Canary("puller")
    watch = Watch(
        tmp_path_factory.mktemp("watched") / "calls", calls=WRITES, more=IN_FULL
    )
    users = dict([PUSHER, (canary.user, canary.password)])
    rules = policy("acme-release", {"all": (["127.0.0.1:0/*"], "acme-release")})
    with (
        running_registry(home, tls=tls, users=users) as registry,
        node("containerd", people, rules, watch=watch) as here,
    ):
        rules = policy("acme-release", {"all": ([f"{registry}/*"], "acme-release")})
        here.called("node", "canary").obeys(rules)
        image = _pushed(home, people, registry, tls.ca)
        auth = here.folder / "auth.json"
        token = Canary("token")
        vault = Vault(here, watch, canary, token, registry, image, tls.ca, auth)
        yield vault
        for words in ("status -o json", "log -o json", "cache list -o json"):
            vault.types(f"enforcer {words}")
        assert vault.found() == []


def _pushed(home: Path, people: People, registry: str, ca: Path) -> str:
    """Push a signed image as somebody else; return its name."""
    digest = write_layout(home / "app", text="this is app", tag="app:1")
    people.notation.sign_layout(home / "app", digest, key="acme-release")
    image = f"{registry}/private/app:1"
    words = ("copy", "--recursive", "--from-oci-layout", "--no-tty")
    login = ("--to-username", PUSHER[0], "--to-password", PUSHER[1])
    run(
        [program("oras"), *words, *login, f"{home / 'app'}@{digest}", image],
        env={"HOME": str(home), "SSL_CERT_FILE": str(ca)},
    )
    return image


def test_a_login_that_is_right(vault: Vault) -> None:
    """The pull works, so the password really was used; without it, it does not."""
    vault.logs_in(vault.registry, authFile=None)
    without = vault.asks(vault.image)
    vault.logs_in(vault.registry)
    vault.keeps(auth=vault.canary.login)
    asked = vault.asks(vault.image)

    assert "[ENF-2603]" in without
    assert USED in asked
    assert '"allowed": true' in asked


def test_a_login_that_is_wrong(vault: Vault) -> None:
    """The registry knows nobody by that name, or that password is another's."""
    vault.logs_in(vault.registry)
    for user in ("nobody", PUSHER[0]):
        login = f"{user}:{vault.canary.password}".encode()
        vault.keeps(auth=base64.b64encode(login).decode())
        assert "[ENF-2603]" in vault.asks(vault.image)


def test_a_server_that_is_not_the_one_we_trust(vault: Vault, tmp_path: Path) -> None:
    """Its certificate is another CA's, so it is told nothing."""
    other = tmp_path / "other.crt"
    other.write_bytes(throwaway_ca("C=US,ST=WA,O=other,CN=tls").pem)
    vault.logs_in(vault.registry, ca=str(other))
    vault.keeps(auth=vault.canary.login)

    assert "[ENF-2602]" in vault.asks(vault.image)


def _echo(seen: Seen, status: int, **headers: str) -> Reply:
    """Tell back all that came, wherever an answer has room for words."""
    told = " ".join(f"{key}: {value}" for key, value in seen.headers.items())
    decoded = " ".join(
        base64.b64decode(word.encode()).decode("latin-1")
        for word in told.split()
        if len(word) % 4 == 0 and len(word) > 40
    )
    detail = {"code": "DENIED", "message": f"{told} {decoded}", "detail": told}
    body = json.dumps({"errors": [detail]}).encode()
    return Reply(status, body, {"X-Told": told, "Warning": f'299 - "{told}"'} | headers)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_a_registry_that_tells_back_what_it_was_told(
    status: int, vault: Vault, tmp_path: Path
) -> None:
    """Its words end in errors, JSON and logs; what we told it must not."""

    def answer(seen: Seen) -> Reply:
        if "Authorization" not in seen.headers:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return _echo(seen, status, **{"Retry-After": "86400"})

    with serving(answer, tls=tls_context(tmp_path)) as server:
        vault.logs_in(server.host)
        vault.keeps(auth=vault.canary.login)
        asked = vault.asks(f"{server.host}/private/app:1")

    assert _told(server, vault.canary)
    assert "[ENF-26" in asked


def _told(server: Server, canary: Canary) -> bool:
    """Whether a server was told the secret: the test is about something."""
    return any(canary.in_text(seen.wire.decode("latin-1")) for seen in server.seen)


def test_a_token_is_as_secret_as_the_password_it_was_given_for(
    vault: Vault, tmp_path: Path
) -> None:
    """The token server's answer is used, refused and told back."""
    place = ""

    def answer(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, json.dumps({"token": vault.token.password}).encode())
        if "Authorization" in seen.headers:
            return _echo(seen, 403)
        realm = f'Bearer realm="https://{place}/token",service="r"'
        return Reply(401, headers={"WWW-Authenticate": realm})

    with serving(answer, tls=tls_context(tmp_path)) as server:
        place = server.host
        vault.logs_in(server.host)
        for login in (
            {"auth": vault.canary.login},
            {"auth": "PHRva2VuPjo=", "identitytoken": vault.canary.password},
        ):
            vault.keeps(**login)
            assert "[ENF-26" in vault.asks(f"{server.host}/private/app:1")

    assert _told(server, vault.canary)
    assert _told(server, vault.token)


def test_another_server_is_not_told(vault: Vault, tmp_path: Path) -> None:
    """A registry may send us elsewhere; the login stays at home."""
    elsewhere: list[Server] = []

    def answer(seen: Seen) -> Reply:
        if "Authorization" not in seen.headers:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return Reply(307, headers={"Location": f"https://{elsewhere[0].host}/v2/x"})

    with (
        serving(lambda seen: _echo(seen, 403), tls=tls_context(tmp_path)) as other,
        serving(answer, tls=tls_context(tmp_path)) as server,
    ):
        elsewhere.append(other)
        vault.logs_in(server.host)
        vault.keeps(auth=vault.canary.login)
        assert "[ENF-26" in vault.asks(f"{server.host}/private/app:1")

    assert _told(server, vault.canary)
    assert not _told(other, vault.canary)


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {"HOST": {"auth": "PASSWORD"}}}',
        '{"auths": {"HOST": {"auth": "LOGIN", "password": "PASSWORD"',
        '{"auths": {"HOST": {"auth": "LOGIN", "auth": "PASSWORD"}}}',
        '{"auths": {"HOST": {"username": "u", "password": ["PASSWORD"]}}}',
        '{"auths": {"HOST": "LOGIN"}, "PASSWORD": "LOGIN"}',
        "LOGIN PASSWORD",
    ],
)
def test_a_file_of_logins_that_is_broken(text: str, vault: Vault) -> None:
    """What is wrong with it is said without quoting it."""
    vault.logs_in(vault.registry)
    text = text.replace("HOST", vault.registry).replace("LOGIN", vault.canary.login)
    vault.auth.write_text(text.replace("PASSWORD", vault.canary.password))

    assert "[ENF-26" in vault.asks(vault.image)


def _helper(vault: Vault, script: str) -> None:
    secret = vault.canary.password
    vault.helper.write_text(f"#!/bin/sh\nsecret={secret}\n{script}\n")
    vault.helper.chmod(0o700)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('echo "{\\"Username\\": \\"puller\\", \\"Secret\\": \\"$secret\\"}"', USED),
        ("echo $secret; echo $secret >&2; exit 1", "[ENF-26"),
        ('echo "{\\"Username\\": \\"puller\\", \\"Secret\\": \\"$secret\\"', "[ENF-26"),
        (
            'echo "{\\"$secret\\": \\"puller\\", \\"Secret\\": [\\"$secret\\"]}"',
            "[ENF-26",
        ),
    ],
    ids=["right", "fails", "half", "wrong"],
)
def test_a_helper_that_keeps_the_login(
    script: str, expected: str, vault: Vault
) -> None:
    """Asked over pipes, so that no process has it in its words."""
    _helper(vault, script)
    vault.logs_in(vault.registry, authFile=None, credentialHelper="canary")

    assert expected in vault.asks(vault.image)


@pytest.mark.parametrize("who", ["command", "fetcher"])
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGINT])
def test_a_crash_in_the_middle_leaves_nothing(
    number: signal.Signals, who: str, vault: Vault, tmp_path: Path
) -> None:
    """Not even the core dump that somebody's shell allows."""
    over = threading.Event()

    def endless() -> Iterator[bytes]:
        while not over.is_set():
            yield b"{"
            over.wait(DRIP_SECONDS)

    def answer(seen: Seen) -> Reply:
        if "Authorization" not in seen.headers:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return Reply(200, body=endless)

    with serving(answer, tls=tls_context(tmp_path)) as server:
        vault.logs_in(server.host)
        vault.keeps(auth=vault.canary.login)
        words = f"ulimit -c unlimited; exec enforcer cache import {server.host}/a/b:1"
        with subprocess.Popen(
            ["/bin/sh", "-c", words],
            env={"PATH": f"{vault.node.programs}:/usr/bin:/bin"},
            cwd=vault.node.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            wait_until(lambda: _told(server, vault.canary), "it was told")
            pid = process.pid if who == "command" else _child(process.pid)
            os.kill(pid, number)
            over.set()  # for a fetcher that has lost its command
            vault.said.append(process.communicate(timeout=30)[0])

    assert process.returncode != 0
    assert not (vault.node.folder / "core").exists()


def _child(pid: int) -> int:
    """Return the one child of a process."""
    (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


def test_the_looks_find_what_is_planted(vault: Vault) -> None:
    """Each place on its own, or all the others would prove nothing."""
    planted = Canary("planted")
    secret = planted.password
    words = ["/bin/sh", "-c", "echo up; read wait", secret]
    home = vault.node.stage.host.home
    encoded = base64.b64encode(f"x{secret}y".encode()).decode()

    vault.node.types(f"/bin/true {secret}")
    vault.node.types(f"MARKED={secret} /bin/true")
    (vault.node.folder / "planted").write_text(encoded)
    vault.node.types("tr x x < planted > short-lived")
    before = planted.in_files(home)
    vault.node.types("rm short-lived planted")
    calls = planted.in_calls(vault.watch.lines())
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"X": encoded}
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"up\n"  # it has its words
        running = planted.in_processes()
        process.stdin.close()

    assert planted.in_text(f'{{"password": "{secret}"}}')
    assert planted.in_text(f"Authorization: Basic {planted.login}")
    assert sorted(Path(path).name for path in before) == ["planted", "short-lived"]
    assert planted.in_files(home) == []
    assert any(line.startswith("execve") and "/bin/true" in line for line in calls)
    assert any(line.startswith("execve") and "MARKED" in line for line in calls)
    assert any(line.startswith("write(1</tmp/") for line in calls)
    assert running == [f"/proc/{process.pid}/{n}" for n in ("cmdline", "environ")]
