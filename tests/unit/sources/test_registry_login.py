"""Who gets to see a login: the registry, its token service, and nobody else."""

import ipaddress
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from enforcer import net
from enforcer.core.codes import Code
from enforcer.core.collected import Collected
from enforcer.core.registry_access import Access
from enforcer.sources.registry.challenge import Challenge, parse_challenges
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.collect import collect
from enforcer.sources.registry.errors import RegistryError
from tests.registry.fake import FakeRegistry, at
from tests.registry.login import BasicLogin, TokenLogin
from tests.registry.rig import SECONDS, Elsewhere, signatures, take
from tests.registry.server import (
    Reply,
    Seen,
    Server,
    server_context,
    serving,
    throwaway_ca,
)
from tests.registry.vendors import CANARY, login
from tests.unit.sources.signed import image, signature

IMAGE = image("behind a login")
SIGNED = signature(IMAGE.manifest)
HOST, EVIL = "registry.test", "evil.test"
NAMES = (HOST, EVIL, "auth.registry.test", "127.0.0.1", "169.254.169.254")


@dataclass
class There:
    """A registry over TLS whose every name is served by one server."""

    fake: FakeRegistry
    server: Server
    connect: Elsewhere
    access: Access

    def take(self, **changes: object) -> list[Collected]:
        access = replace(self.access, **changes)  # type: ignore[arg-type]
        until = time.monotonic() + SECONDS
        with Registry(access, until, connect=self.connect) as registry:
            return list(collect(registry, "app", "1"))

    def fails(self, code: Code, **changes: object) -> str:
        with pytest.raises(RegistryError) as caught:
            self.take(**changes)
        assert caught.value.code == code, caught.value
        assert CANARY not in str(caught.value)
        return caught.value.what

    def told(self) -> set[str]:
        """The hosts that were told the login, or a token for it."""
        seen = self.server.seen
        return {s.headers["Host"] for s in seen if "Authorization" in s.headers}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    """`registry.test`, that asks for nothing unless the test adds a rule."""
    fake = FakeRegistry()
    fake.push(IMAGE.manifest, "1")
    fake.attach(SIGNED)
    with serving(fake, tls=server_context(tmp_path, *NAMES)) as server:
        elsewhere = Elsewhere(dict.fromkeys(NAMES, server))
        ca = throwaway_ca().pem.decode()
        access = Access(HOST, ca=ca, credential=login("acme"))
        yield There(fake, server, elsewhere, access)


def challenge(text: str) -> Callable[[Seen], Reply | None]:
    """401 to whoever asks the registry without a login."""

    def rule(seen: Seen) -> Reply | None:
        if seen.headers["Host"] != HOST or "Authorization" in seen.headers:
            return None
        return Reply(401, headers={"WWW-Authenticate": text})

    return rule


@pytest.mark.parametrize(
    "realm",
    [
        "https://evil.test/token",
        "https://registry.test.evil.test/token",
        "https://evilregistry.test/token",
        "https://registry.test@evil.test/token",
        "https://169.254.169.254/token",
        "https://127.0.0.1/token",
        "https://127.1/token",
        "https://0x7f000001/token",
        "https://2130706433/token",
        "https://[::1]/token",
        "https://[::ffff:127.0.0.1]/token",
        "http://registry.test/token",
        "http://evil.test/token",
        "http://169.254.169.254/latest/meta-data/",
        "HTTP://registry.test/token",
        "ftp://registry.test/token",
        "file:///etc/shadow",
        "gopher://registry.test/",
        "registry.test/token",
        "/token",
        "//evil.test/token",
        "",
        "https://",
        "https:///token",
        "https://registry.test:0/token",
        "https://registry.test:99999/token",
        "https://registry.test:x/token",
        "https://registry.test\\\\@evil.test/token",
        "https://evil.test/token?x=https://registry.test/",
        "https://evil.test#registry.test",
        "https://registry.test /token",
        "https://registry.test/" + "t" * 9000,
        "https://auth.registry.test/token",
    ],
)
def test_a_token_service_elsewhere_is_never_asked(there: There, realm: str) -> None:
    """Row 55 (CVE-2026-33540 and kin), 62: whoever may write a realm would be told."""
    text = f'Bearer realm="{realm}",service="s"'
    there.fake.rules.append(challenge(text))

    with pytest.raises(RegistryError) as caught:
        there.take()

    assert caught.value.code in (Code.REGISTRY_TOKEN_HOST, Code.REGISTRY_WRONG)
    assert there.told() == set()
    assert there.connect.asked == [f"{HOST}:443"]


def test_the_message_says_how_to_allow_a_token_service(there: There) -> None:
    realm = 'Bearer realm="https://auth.registry.test/token",service="s"'
    there.fake.rules.append(challenge(realm))

    with pytest.raises(RegistryError) as caught:
        there.take()

    assert str(caught.value) == (
        "registry.test/app:1 is to be had with a token of https://auth.registry.test, "
        "which is another host than the registry's. If that is meant, name its host in "
        "tokenHosts of the registry in enforcer.yaml. [ENF-2606]"
    )


def test_a_token_service_that_is_named_is_asked(there: There) -> None:
    """And another port of the registry's own host: TLS says that it is the same."""
    for realm, named in (
        ("https://auth.registry.test/token", ("auth.registry.test",)),
        ("https://auth.registry.test:5001/token", ("auth.registry.test:5001",)),
        ("https://registry.test:5001/token", ()),
    ):
        asks = TokenLogin(HOST, realm, "s", {"acme": CANARY})
        there.fake.rules[:] = [asks]
        assert signatures(there.take(token_hosts=named)) == [SIGNED]


@pytest.mark.parametrize(
    "named", ["registry.test", "auth.registry.test:5001", "test", "*.registry.test"]
)
def test_a_name_allows_exactly_itself(there: There, named: str) -> None:
    realm = 'Bearer realm="https://auth.registry.test/token",service="s"'
    there.fake.rules.append(challenge(realm))

    there.fails(Code.REGISTRY_TOKEN_HOST, token_hosts=(named,))

    assert there.told() == set()


def test_a_self_signed_token_service_is_told_nothing(tmp_path: Path) -> None:
    """CVE-2019-10214 (row 58): TLS counts for the token service as for the registry."""
    stranger = throwaway_ca("C=US,ST=WA,O=stranger,CN=tls")
    asks = TokenLogin(HOST, f"https://{HOST}:5001/token", "s", {"acme": CANARY})
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good = server_context(tmp_path / "good", HOST)
    bad = server_context(tmp_path / "bad", HOST, ca=stranger)
    with (
        serving(FakeRegistry(rules=[asks]), tls=good) as registry,
        serving(asks, tls=bad) as service,  # type: ignore[arg-type]
    ):
        connect = Elsewhere({HOST: registry, f"{HOST}:5001": service})
        ca = throwaway_ca().pem.decode()
        access = Access(HOST, ca=ca, credential=login("acme"))
        with (
            Registry(access, time.monotonic() + SECONDS, connect=connect) as it,
            pytest.raises(RegistryError, match=r"certificate that is not trusted"),
        ):
            it.manifest("app", "1")
        assert service.seen == []


REDIRECTS = {
    "other host": ("https://evil.test/x", True),
    "same host, other port": ("https://registry.test:8443/x", True),
    "downgrade": ("http://registry.test/x", False),
    "downgrade elsewhere": ("http://evil.test/x", False),
    "scheme-relative": ("//evil.test/x", True),
    "login in the URL": ("https://acme:pass@evil.test/x", False),
    "other scheme": ("file:///etc/shadow", False),
    "no URL": ("https://[", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize("what", REDIRECTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_login_goes_along_to_another_origin(
    there: There, what: str, status: int
) -> None:
    """Row 56 (CVE-2020-15157 and kin): scheme, host and port, all three."""
    location, is_followed = REDIRECTS[what]
    there.fake.rules.append(
        lambda seen: None if "/blobs/" not in seen.path else
        Reply(status, headers={"Location": location})
    )  # fmt: skip
    there.fake.rules.insert(
        0,
        lambda seen: Reply(body=SIGNED.envelope) if seen.path == "/x" else None,
    )
    there.fake.rules.insert(1, BasicLogin(HOST, "acme", CANARY))

    items = there.take()

    assert signatures(items) == ([SIGNED] if is_followed else [])
    elsewhere = [seen for seen in there.server.seen if seen.path == "/x"]
    assert len(elsewhere) == is_followed
    assert not any(asked.endswith(":80") for asked in there.connect.asked)
    assert not any("Authorization" in seen.headers for seen in elsewhere)
    assert there.told() == {HOST}


def test_the_login_goes_along_within_the_registry(there: There) -> None:
    """A redirect to its own origin is the registry itself."""
    there.fake.rules.append(BasicLogin(HOST, "acme", CANARY))
    there.fake.rules.append(
        lambda seen: Reply(body=SIGNED.envelope) if seen.path == "/here" else None
    )
    there.fake.rules.append(at("/blobs/", Reply(307, headers={"Location": "/here"})))

    assert signatures(there.take()) == [SIGNED]


@pytest.mark.parametrize("hops", [3, 4])
def test_redirects_are_counted(there: There, hops: int) -> None:
    def hop(seen: Seen) -> Reply | None:
        if "/blobs/" in seen.path:
            return Reply(302, headers={"Location": "/hop/1"})
        if not seen.path.startswith("/hop/"):
            return None
        number = int(seen.path.rpartition("/")[2])
        if number == hops:
            return Reply(body=SIGNED.envelope)
        return Reply(302, headers={"Location": f"/hop/{number + 1}"})

    there.fake.rules.append(hop)

    assert bool(signatures(there.take())) == (hops == 3)


def test_a_login_wanted_elsewhere_is_not_given(there: There) -> None:
    """A challenge by where a blob is kept is nobody's we know."""
    away = Reply(307, headers={"Location": "https://evil.test/x"})
    there.fake.rules.append(at("/manifests/1", away))
    there.fake.rules.append(
        lambda seen: None if seen.path != "/x" else
        Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    )  # fmt: skip

    what = there.fails(Code.REGISTRY_UNAUTHORISED)

    assert "is elsewhere, where a login is wanted" in what
    assert there.told() == set()


def test_a_registry_elsewhere_may_not_send_to_this_host() -> None:
    """SSRF: a redirect to a service on loopback, or a cloud's metadata."""
    with serving(lambda _: Reply()) as secret:
        for place in (secret.host, "169.254.169.254", "[::1]:1", "localhost:1"):
            away = Reply(302, headers={"Location": f"https://{place}/x"})
            fake = FakeRegistry(rules=[at("", away)])
            with serving(fake) as server:
                # a registry of this name, whose address only this test knows
                connect = Elsewhere({"registry.test": server}, others=net.connect)
                access = Access("registry.test:5000", http=True)
                until = time.monotonic() + SECONDS
                with (
                    Registry(access, until, connect=connect) as it,
                    pytest.raises(RegistryError, match=r"which is |is not spoken"),
                ):
                    it.manifest("app", "1")
        assert secret.seen == []


ADDRESSES = ("127.0.0.1", "::1", "10.0.0.1", "93.184.216.34", "169.254.169.254")
OWN, EVERY, NOT_US = "yyyyn", "yynnn", "nnyyn"


@pytest.mark.parametrize(
    ("own", "http", "there", "may"),
    [
        ("registry.test", False, "https://registry.test:8443/x", OWN),
        ("registry.test", False, "https://evil.test/x", NOT_US),
        ("registry.test", False, "https://auth.test/x", OWN),  # it is named
        ("registry.test", True, "http://registry.test:81/x", OWN),
        ("registry.test", True, "http://evil.test/x", "nnnnn"),
        ("registry.test", True, "https://evil.test/x", NOT_US),
        ("localhost:5000", True, "http://evil.test/x", EVERY),
        ("localhost:5000", True, "https://evil.test/x", OWN),
        ("127.0.0.1:5000", True, "https://evil.test/x", OWN),
    ],
)
def test_which_addresses_a_registry_may_send_to(
    tmp_path: Path,
    own: str,
    http: bool,  # noqa: FBT001
    there: str,
    may: str,
) -> None:
    """Rows 55, 59, 62: this host, clouds' metadata, and plain HTTP to strangers."""
    away = FakeRegistry(rules=[at("", Reply(302, headers={"Location": there}))])
    seen: list[str] = []

    def note(host: str, port: int, until: float, refused: net.Rule) -> socket.socket:
        addresses = map(ipaddress.ip_address, ADDRESSES)
        seen.append("".join("n" if refused(one) else "y" for one in addresses))
        raise net.NoConnectionError("is only looked at")

    host = own.partition(":")[0]
    tls = None if http else server_context(tmp_path, host)
    with serving(away, tls=tls) as server:
        port = own.partition(":")[2] or ("80" if http else "443")
        connect = Elsewhere({f"{host}:{port}": server}, others=note)
        ca = "" if http else throwaway_ca().pem.decode()
        access = Access(own, http=http, ca=ca, token_hosts=("auth.test",))
        until = time.monotonic() + SECONDS
        with (
            Registry(access, until, connect=connect) as it,
            pytest.raises(RegistryError, match=r"is only looked at"),
        ):
            it.manifest("app", "1")

    assert seen == [may]


def test_plain_http_is_spoken_to_loopback_or_where_it_is_meant() -> None:
    """Row 59: a registry that is not meant to be plain gets nothing in clear."""
    fake = FakeRegistry()
    fake.push(IMAGE.manifest, "1")
    with serving(fake) as server:
        secure = Access(server.host, http=False)  # there is only plain HTTP
        with pytest.raises(RegistryError, match=r"does not speak TLS to us"):
            take(server, access=secure)
        assert server.seen == []
        assert take(server) != []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Negotiate",
        "Negotiate YII=",
        'Digest realm="x", nonce="y"',
        'Bearer realm="https://registry.test/t", realm="https://evil.test/t"',
        'Bearer realm="https://registry.test/t',
        "Bearer realm=https://registry.test/t",
        'Bearer, ,, realm = "x" y',
        "=",
        "Basic " * 2000,
        'Bearer realm="' + '\\"' * 4000 + '"',
        "a=b, " * 1000,
        "\x7f",
    ],
)
def test_a_challenge_that_cannot_be_read_is_refused(there: There, text: str) -> None:
    there.fake.rules.append(challenge(text))

    there.fails(Code.REGISTRY_WRONG)

    assert there.told() == set()


def test_challenges_are_read_as_they_are_written() -> None:
    """RFC 9110, 11.6.1: several in one header, quoted commas, escapes, any case."""
    text = (
        'NEGOTIATE abc==, bearer Realm="https://r.test/t?a=b,c",SERVICE="a \\"b\\"" '
        ', scope="repository:a:pull,push" , Basic realm="", Other'
    )

    assert parse_challenges(text, "x") == (
        Challenge("negotiate", {}),
        Challenge(
            "bearer",
            {
                "realm": "https://r.test/t?a=b,c",
                "service": 'a "b"',
                "scope": "repository:a:pull,push",
            },
        ),
        Challenge("basic", {"realm": ""}),
        Challenge("other", {}),
    )


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b""),
        Reply(body=b"{}"),
        Reply(body=b"[]"),
        Reply(body=json.dumps({"token": ""}).encode()),
        Reply(body=json.dumps({"token": 7}).encode()),
        Reply(body=json.dumps({"token": "a\r\nX-Evil: 1"}).encode()),
        Reply(body=json.dumps({"token": "a b"}).encode()),
        Reply(body=json.dumps({"token": "\u00e9"}).encode()),
        Reply(body=json.dumps({"token": "x" * 40_000}).encode()),
        Reply(body=b'{"token": "a", "token": "b"}'),
        Reply(body=b" " * 70_000),
        Reply(404),
        Reply(302, headers={"Location": "https://evil.test/token"}),
        Reply(body=b"x", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_what_is_no_token_is_refused(there: There, reply: Reply) -> None:
    """Row 61: nothing of a token may start another header."""
    there.fake.rules.append(
        challenge('Bearer realm="https://registry.test/token",service="s"')
    )
    there.fake.rules.append(at("/token", reply))

    there.fails(Code.REGISTRY_WRONG)

    assert f"{EVIL}:443" not in there.connect.asked


def test_what_a_registry_writes_into_errors_is_not_repeated(there: There) -> None:
    """T-RG-10, row 63: a body may hold escapes, megabytes, or our own password."""
    there.fake.rules.append(BasicLogin(HOST, "acme", CANARY))
    evil = f"\x1b[2J{CANARY}" * 1000
    for status in (400, 403, 404, 409, 500):
        reply = Reply(status, evil.encode(), {"X-Echo": CANARY})
        there.fake.rules[1:] = [at("/manifests/1", reply)]
        with pytest.raises(RegistryError) as caught:
            there.take()
        assert CANARY not in str(caught.value)
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "variable",
    ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "SSL_CERT_FILE", "NETRC",
     "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"],
)  # fmt: skip
def test_the_environment_changes_nothing(
    there: There, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 60: no proxy, CA, key log or login out of it."""
    there.fake.rules.append(BasicLogin(HOST, "acme", CANARY))
    trap = tmp_path / "trap"
    if variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        trap.write_bytes(throwaway_ca().pem)
    elif variable == "NETRC":
        trap.write_text(f"machine {HOST} login acme password {CANARY}\n")
    value = "http://127.0.0.1:9" if "proxy" in variable.lower() else str(trap)
    monkeypatch.setenv(variable, value)

    assert signatures(there.take()) == [SIGNED]
    there.fails(Code.REGISTRY_UNAUTHORISED, credential=None)
    there.fails(Code.REGISTRY_UNREACHABLE, ca="")
    assert variable != "SSLKEYLOGFILE" or not trap.exists()
