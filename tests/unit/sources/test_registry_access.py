"""From a reference and enforcer.yaml to how a registry is reached."""

from pathlib import Path

import pytest

from enforcer.assembly import access_for
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.reference import parse_reference
from enforcer.core.registry_access import Access
from enforcer.settings import SettingsError, load_settings
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.origin import registry_origin, split_url
from tests.registry.server import throwaway_ca
from tests.registry.vendors import CANARY, login
from tests.unit.sources.signed import compact
from tests.unit.sources.test_registry_credentials import config, pair


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here is logged in anywhere."""
    for name in ("REGISTRY_AUTH_FILE", "CREDENTIALS_DIRECTORY", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def access(
    folder: Path, reference: str, *registries: dict[str, object]
) -> tuple[Access, str]:
    document = {"apiVersion": "enforcer/v1", "registries": list(registries)}
    (folder / "enforcer.yaml").write_bytes(compact(document))
    return access_for(load_settings(folder), parse_reference(reference))


HUB = ("auth.docker.io",)


@pytest.mark.parametrize(
    ("reference", "host", "repository", "http", "token_hosts"),
    [
        ("docker.io/app", "registry-1.docker.io", "library/app", False, HUB),
        ("docker.io/team/app", "registry-1.docker.io", "team/app", False, HUB),
        ("index.docker.io/app", "registry-1.docker.io", "library/app", False, HUB),
        ("docker.io:443/app", "docker.io:443", "app", False, ()),
        ("docker.io.evil.test/app", "docker.io.evil.test", "app", False, ()),
        ("registry.gitlab.com/a/b", "registry.gitlab.com", "a/b", False,
         ("gitlab.com",)),
        ("registry.test/app", "registry.test", "app", False, ()),
        ("registry.test/library/app", "registry.test", "library/app", False, ()),
        ("REGISTRY.Test:5000/app", "registry.test:5000", "app", False, ()),
        ("localhost/app", "localhost", "app", True, ()),
        ("localhost:5000/app", "localhost:5000", "app", True, ()),
        ("127.0.0.1:5000/app", "127.0.0.1:5000", "app", True, ()),
        ("127.9.9.9/app", "127.9.9.9", "app", True, ()),
        ("[::1]:5000/app", "[::1]:5000", "app", True, ()),
        ("10.0.0.1:5000/app", "10.0.0.1:5000", "app", False, ()),
        ("localhost.test/app", "localhost.test", "app", False, ()),
        ("[2001:db8::1]/app", "[2001:db8::1]", "app", False, ()),
    ],
)  # fmt: skip
def test_a_reference_says_where_to_ask(
    tmp_path: Path,
    reference: str,
    host: str,
    repository: str,
    http: bool,  # noqa: FBT001
    token_hosts: tuple[str, ...],
) -> None:
    """T-RG-6; plain HTTP only where nobody is between (row 59)."""
    expected = Access(host, http=http, token_hosts=token_hosts)

    assert access(tmp_path, reference) == (expected, repository)


def test_what_the_settings_say_of_a_registry_holds(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(throwaway_ca().pem)
    auth = config(tmp_path / "a.json", auths={"registry.test:5000": pair("acme")})
    listed: dict[str, object] = {
        "host": "registry.test:5000",
        "ca": str(ca),
        "authFile": str(auth),
        "tokenHosts": ["auth.test", "auth.test:5001"],
    }

    found, repository = access(tmp_path, "registry.test:5000/team/app:1", listed)
    other, _ = access(tmp_path, "registry.test/app", listed)

    assert repository == "team/app"
    assert found == Access(
        "registry.test:5000",
        ca=throwaway_ca().pem.decode(),
        token_hosts=("auth.test", "auth.test:5001"),
        credential=login("acme"),
    )
    assert other == Access("registry.test")


def test_http_is_what_the_settings_say(tmp_path: Path) -> None:
    plain: dict[str, object] = {"host": "registry.test", "http": True}
    secure: dict[str, object] = {"host": "localhost:5000", "http": False}

    assert access(tmp_path, "registry.test/app", plain)[0].http
    assert not access(tmp_path, "registry.test:5000/app", plain)[0].http
    assert not access(tmp_path, "localhost:5000/app", secure)[0].http


def test_a_mirror_is_asked_in_a_registrys_place(tmp_path: Path) -> None:
    """Harbor's proxy projects: another host, a folder in front, its own login."""
    auth = config(
        tmp_path / "a.json",
        auths={"harbor.test": pair("robot$acme"), "docker.io": pair("hub")},
    )
    hub: dict[str, object] = {"host": "docker.io", "mirror": "harbor.test/dockerhub"}
    harbor: dict[str, object] = {"host": "harbor.test", "authFile": str(auth)}

    found, repository = access(tmp_path, "docker.io/app:1", hub, harbor)

    assert (found.host, repository) == ("harbor.test", "dockerhub/library/app")
    assert found.credential == login("robot$acme")


@pytest.mark.parametrize(
    "content", [b"", b"no PEM", b"\xff", b"-----BEGIN CERTIFICATE-----\nAA==\n", None]
)
def test_a_ca_that_cannot_be_used_says_so(
    tmp_path: Path, content: bytes | None
) -> None:
    """Going on with the system's would believe others than was meant."""
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_bytes(content)
    listed: dict[str, object] = {"host": "registry.test", "ca": str(ca)}

    with pytest.raises(RegistryError) as caught:
        access(tmp_path, "registry.test/app", listed)

    assert caught.value.code == Code.REGISTRY_LOGIN
    assert str(ca) in caught.value.what


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, '"host" is missing'),
        ({"host": "Registry.test"}, "is not a lower-case HOST[:PORT]"),
        ({"host": "https://registry.test"}, "is not a lower-case HOST[:PORT]"),
        ({"host": "registry.test/app"}, "is not a lower-case HOST[:PORT]"),
        ({"host": "registry.test\n"}, "is not a lower-case HOST[:PORT]"),
        ({"host": 7}, "is not a lower-case HOST[:PORT]"),
        ({"host": "r.test", "http": "true"}, "is not true or false"),
        ({"host": "r.test", "http": True, "ca": "/c"}, "http and ca exclude"),
        ({"host": "r.test", "ca": "c.pem"}, "is not an absolute path"),
        ({"host": "r.test", "mirror": "https://m.test"}, "HOST[:PORT][/PREFIX]"),
        ({"host": "r.test", "mirror": "m.test/../x"}, "HOST[:PORT][/PREFIX]"),
        ({"host": "r.test", "authFile": "/a", "credentialHelper": "b"}, "exclude"),
        ({"host": "r.test", "credentialHelper": "../sh"}, "is not a name"),
        ({"host": "r.test", "tokenHosts": "a.test"}, "expected a list"),
        ({"host": "r.test", "tokenHosts": ["*"]}, "is not a lower-case HOST"),
        ({"host": "r.test", "insecure": True}, 'unknown key "insecure"'),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, members: dict[str, object], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        access(tmp_path, "registry.test/app", members)

    assert says in caught.value.what
    assert "enforcer.yaml:1" in caught.value.what


def test_a_registry_is_listed_once(tmp_path: Path) -> None:
    one: dict[str, object] = {"host": "r.test"}
    with pytest.raises(SettingsError, match=r"r\.test is there twice"):
        access(tmp_path, "r.test/app", one, one)


def test_a_login_in_a_file_is_nowhere_but_in_the_access(tmp_path: Path) -> None:
    auth = config(tmp_path / "a.json", auths={"r.test": pair("acme")})
    listed: dict[str, object] = {"host": "r.test", "authFile": str(auth)}

    found, _ = access(tmp_path, "r.test/app", listed)

    assert found.credential is not None
    assert found.credential.password.text == CANARY
    assert CANARY not in repr(found)


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("https://R.Test/a?b=c", "", ("https://r.test", "/a?b=c")),
        ("https://r.test", "", ("https://r.test", "/")),
        ("https://r.test:443/a", "", ("https://r.test", "/a")),
        ("http://r.test:443/a", "", ("http://r.test:443", "/a")),
        ("http://[::1]:5000/a", "", ("http://[::1]:5000", "/a")),
        ("/a", "https://r.test/b/c", ("https://r.test", "/a")),
        ("a", "https://r.test/b/c", ("https://r.test", "/b/a")),
        ("../../a", "https://r.test/b/c", ("https://r.test", "/a")),
        ("?a", "https://r.test/b/c", ("https://r.test", "/b/c?a")),
        ("//e.test/a", "https://r.test/", ("https://e.test", "/a")),
        ("https://r.test/a#fragment", "", ("https://r.test", "/a")),
    ],
)
def test_urls_are_split_into_origin_and_target(
    url: str, base: str, expected: tuple[str, str]
) -> None:
    origin, target = split_url(url, base=base)

    assert (str(origin), target) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "a b", "/a\r\nX: y", "https://r.test/\n", "https://u:p@r.test/",
        "https://", "https:///a", "ftp://r.test/", "javascript:x", "https://[/",
        "https://r.test:0/", "https://r.test:70000/", "https://r.test:x/",
        "https://\u00e9.test/", "https://r.test/" + "a" * 8192, "\x00",
    ],
)  # fmt: skip
def test_what_is_no_url_to_go_to_is_refused(url: str) -> None:
    """Row 61: no URL ends a request's line; rows 55, 56: none brings a login."""
    with pytest.raises(EnforcerError):
        split_url(url, base="")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert registry_origin("r.test:5000", http=False) != registry_origin(
        "r.test:5000", http=True
    )
    assert registry_origin("r.test", http=False) == registry_origin(
        "r.test:443", http=False
    )
