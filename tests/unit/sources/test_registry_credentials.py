"""The login for a registry: which file, which helper, for exactly which host."""

import base64
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.registry_access import Credential, Secret
from enforcer.sources.registry import credentials
from enforcer.sources.registry.credentials import load_credential
from enforcer.sources.registry.errors import RegistryError
from tests.engines.process import wait_until
from tests.registry.vendors import CANARY, JSON_KEY, login

HOST = "registry.test"


def pair(username: str, password: str = CANARY) -> dict[str, str]:
    """As `docker login` writes it."""
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def config(path: Path, **members: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(members))
    path.chmod(0o600)
    return path


def loaded(
    host: str = HOST, repository: str = "team/app", **environment: str
) -> Credential | None:
    return load_credential(host, repository, environment=environment)


def refused(load: Callable[[], object]) -> str:
    """What is said of a login that cannot be used; never the login."""
    with pytest.raises(RegistryError) as caught:
        load()
    assert caught.value.code == Code.REGISTRY_LOGIN
    assert CANARY not in str(caught.value)
    return caught.value.what


def test_without_any_file_there_is_no_login(tmp_path: Path) -> None:
    assert loaded() is None
    assert loaded(HOME=str(tmp_path), CREDENTIALS_DIRECTORY=str(tmp_path)) is None


def test_the_first_place_that_is_named_decides(tmp_path: Path) -> None:
    """Settings, $REGISTRY_AUTH_FILE, systemd's credential, Docker's own file."""
    places = {
        "settings": tmp_path / "settings.json",
        "variable": tmp_path / "variable.json",
        "systemd": tmp_path / "creds" / "registry-auth",
        "docker": tmp_path / "home" / ".docker" / "config.json",
    }
    for name, path in places.items():
        config(path, auths={HOST: pair(name)})
    whole = {
        "REGISTRY_AUTH_FILE": str(places["variable"]),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "creds"),
        "HOME": str(tmp_path / "home"),
    }

    def who(environment: dict[str, str], auth_file: Path | None = None) -> str:
        found = load_credential(
            HOST, "app", environment=environment, auth_file=auth_file
        )
        return found.username if found else ""

    assert who(whole, places["settings"]) == "settings"
    assert who(whole) == "variable"
    del whole["REGISTRY_AUTH_FILE"]
    assert who(whole) == "systemd"
    config(places["systemd"], auths={"other.test": pair("systemd")})
    assert who(whole) == "docker"
    assert who(whole | {"DOCKER_CONFIG": str(tmp_path)}) == ""


@pytest.mark.parametrize("place", ["settings", "variable"])
def test_a_file_that_is_named_has_to_be_there(tmp_path: Path, place: str) -> None:
    """To go on without it would ask as somebody else than was meant."""
    path = tmp_path / "gone.json"
    named = {"REGISTRY_AUTH_FILE": str(path)} if place == "variable" else {}
    auth_file = path if place == "settings" else None

    what = refused(
        lambda: load_credential(HOST, "x", environment=named, auth_file=auth_file)
    )

    assert what == f"{path} does not exist"


@pytest.mark.parametrize(
    ("key", "host", "is_found"),
    [
        ("registry.test", "registry.test", True),
        ("https://registry.test", "registry.test", True),
        ("https://registry.test/v2/", "registry.test", True),
        ("http://registry.test/v1/", "registry.test", True),
        ("registry.test:5000", "registry.test:5000", True),
        ("registry.test:5000", "registry.test", False),
        ("registry.test", "registry.test:5000", False),
        ("registry.test", "evil-registry.test", False),
        ("registry.test", "registry.test.evil.test", False),
        ("registry.test", "sub.registry.test", False),
        ("*.test", "registry.test", False),
        ("registry.test/team", "registry.test", True),
        ("registry.test/team/app", "registry.test", True),
        ("registry.test/tea", "registry.test", False),
        ("registry.test/team/app/more", "registry.test", False),
        ("[::1]:5000", "[::1]:5000", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("registry-1.docker.io", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("docker.io.evil.test", "docker.io", False),
        ("https://index.docker.io/v1/", "docker.io.evil.test", False),
    ],
)
def test_a_login_is_for_exactly_its_host_and_namespace(
    tmp_path: Path,
    key: str,
    host: str,
    is_found: bool,  # noqa: FBT001
) -> None:
    """CVE-2025-27403: a login for one registry once went to any of a like name."""
    path = config(tmp_path / "c.json", auths={key: pair("acme")})

    found = loaded(host, REGISTRY_AUTH_FILE=str(path))

    assert found == (login("acme") if is_found else None)


def test_the_longest_namespace_wins(tmp_path: Path) -> None:
    """containers-auth.json(5)."""
    keys = ("registry.test/team/app", "registry.test", "registry.test/team")
    logins = {key: pair(key.rpartition("/")[2]) for key in keys}
    path = config(tmp_path / "c.json", auths=logins)

    names = []
    for repository in ("team/app", "team/other", "other"):
        found = loaded(repository=repository, REGISTRY_AUTH_FILE=str(path))
        names.append(found.username if found else "")

    assert names == ["app", "team", "registry.test"]


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        (pair("acme"), login("acme")),
        (pair("_json_key", JSON_KEY), login("_json_key", JSON_KEY)),
        (pair("acme+robot", "a:b:c"), login("acme+robot", "a:b:c")),
        (pair("robot$acme", ""), login("robot$acme", "")),
        ({"username": "acme", "password": CANARY}, login("acme")),
        ({"identitytoken": CANARY}, Credential(identity_token=Secret(CANARY))),
        (
            pair("00000000-0000-0000-0000-000000000000", "")
            | {"identitytoken": CANARY},
            Credential(identity_token=Secret(CANARY)),
        ),
        ({}, None),
    ],
)
def test_logins_are_read_as_docker_writes_them(
    tmp_path: Path, entry: dict[str, str], credential: Credential | None
) -> None:
    path = config(tmp_path / "c.json", auths={HOST: entry}, HttpHeaders={"X": "y"})

    assert loaded(REGISTRY_AUTH_FILE=str(path)) == credential


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"\x00", b'{"auths": []}', b'{"auths": 7}',
        b'{"auths": {"registry.test": 7}}',
        b'{"auths": {"registry.test": {"auth": 7}}}',
        b'{"auths": {"registry.test": {"auth": "%s"}}}' % CANARY.encode(),
        b'{"auths": {"registry.test": {"auth": "Zm9v"}}}',  # "foo", no colon
        b'{"auths": {"registry.test": {"auth": "OmZvbw=="}}}',  # no user
        b'{"auths": {"registry.test": {"auth": "/////w=="}}}',  # no UTF-8
        b'{"auths": {"registry.test": {"username": "a:b", "password": "x"}}}',
        b'{"auths": {"registry.test": {"username": "a"}}}',
        b'{"auths": {"registry.test": {"identitytoken": 7}}}',
        b'{"auths": {}, "auths": {}}', b'{"Auths": {}}',
        b'{"credHelpers": []}', b'{"credHelpers": {"registry.test": 7}}',
        b'{"credHelpers": {"registry.test": "../../bin/sh"}}',
        b'{"credHelpers": {"registry.test": ""}}',
        b'{"credHelpers": {"registry.test": "-x"}}',
        b'{"credsStore": "a b"}', b'{"credsStore": {}}',
        b'{"credsStore": "' + b"x" * 100 + b'"}',
        b" " * (1024 * 1024 + 1),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_no_shrug(tmp_path: Path, raw: bytes) -> None:
    """Going on without a login would look like a registry that refuses."""
    path = tmp_path / "c.json"
    path.write_bytes(raw)
    path.chmod(0o600)

    what = refused(lambda: loaded(REGISTRY_AUTH_FILE=str(path)))

    assert len(what) < 700


def test_a_file_that_others_could_change_is_not_believed(tmp_path: Path) -> None:
    """It names programs that are run, and who is told what."""
    path = config(tmp_path / "c.json", auths={HOST: pair("acme")})
    path.chmod(0o666)

    assert "can be written by" in refused(lambda: loaded(REGISTRY_AUTH_FILE=str(path)))


@pytest.fixture
def helper(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Make `docker-credential-acme` out of a shell script; return an environment."""

    def make(script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "docker-credential-acme"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        (tmp_path / "asked").touch()
        return {"PATH": f"{folder}:/usr/bin:/bin", "ASKED": str(tmp_path / "asked")}

    return make


ANSWER = 'cat > "$ASKED"; echo \'{"ServerURL":"x","Username":"%s","Secret":"%s"}\''


@pytest.mark.parametrize(
    ("members", "host", "asked"),
    [
        ({"credHelpers": {HOST: "acme"}}, HOST, HOST),
        ({"credsStore": "acme"}, HOST, HOST),
        ({"credsStore": "acme", "auths": {HOST: {}}}, HOST, HOST),
        ({"credsStore": "acme"}, "docker.io", "https://index.docker.io/v1/"),
        (
            {"credHelpers": {"https://index.docker.io/v1/": "acme"}},
            "docker.io",
            "https://index.docker.io/v1/",
        ),
        ({"credHelpers": {HOST: "acme"}}, "evil.test", None),
        ({"credHelpers": {"azurecr.io": "acme"}}, "evilazurecr.io", None),
        ({"credHelpers": {"*.azurecr.io": "acme"}}, "x.azurecr.io", None),
        ({"credHelpers": {"azurecr.io": "acme"}}, "azurecr.io.evil.test", None),
        ({"credHelpers": {HOST: "acme"}}, f"{HOST}:5000", None),
        ({"credsStore": "acme", "auths": {HOST: pair("file")}}, HOST, None),
    ],
)
def test_a_helper_is_asked_for_exactly_its_host(
    tmp_path: Path,
    helper: Callable[[str], dict[str, str]],
    members: dict[str, object],
    host: str,
    asked: str | None,
) -> None:
    """Row 57 (CVE-2025-27403): a cloud's helper gives a token to nobody else."""
    environment = helper(ANSWER % ("acme", CANARY))
    path = config(tmp_path / "c.json", **members)

    found = loaded(host, REGISTRY_AUTH_FILE=str(path), **environment)

    assert Path(environment["ASKED"]).read_text() == (asked or "")
    if asked is not None:
        assert found == login("acme")


def test_a_helper_may_have_an_identity_token_or_nothing(
    helper: Callable[[str], dict[str, str]],
) -> None:
    token = helper(ANSWER % ("<token>", CANARY))
    found = load_credential(HOST, "app", environment=token, helper="acme")
    assert found == Credential(identity_token=Secret(CANARY))

    nothing = helper("echo credentials not found in native keychain; exit 1")
    assert load_credential(HOST, "app", environment=nothing, helper="acme") is None


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 3", "failed with status 3"),
        (f"echo {CANARY} >&2; exit 1", "failed with status 1"),
        (f"echo {CANARY}", "printed what is no login"),
        ("true", "printed what is no login"),
        (f'echo \'{{"Username":"a","secret":"{CANARY}"}}\'', "no login"),
        ('echo \'{"Username":"a"}\'', '"Secret" that is missing'),
        ('echo \'{"Username":7,"Secret":"a"}\'', '"Username" that is missing'),
        ('echo \'{"Username":"","Secret":"a"}\'', "a user name that is empty"),
        ('echo \'{"Username":"a:b","Secret":"a"}\'', "holds a colon"),
        ("cat /dev/zero", "no login|failed with status"),
        ("yes '{'", "no login|failed with status"),
        ("kill -9 $$", "failed with status -9"),
    ],
)
def test_what_a_helper_gives_is_checked(
    helper: Callable[[str], dict[str, str]], script: str, says: str
) -> None:
    """Hostile output has a code, and is not repeated: it may be the password."""
    environment = helper(script)

    what = refused(
        lambda: load_credential(HOST, "app", environment=environment, helper="acme")
    )

    assert re.search(says, what), what


def test_a_helper_that_hangs_is_ended(helper: Callable[[str], dict[str, str]]) -> None:
    """And what it started with it."""
    environment = helper('echo $$ > "$ASKED"; sleep 300 & sleep 300')
    started = time.monotonic()

    what = refused(
        lambda: load_credential(
            HOST, "app", environment=environment, helper="acme", helper_seconds=2
        )
    )

    assert "gave no answer within 2 s" in what
    assert time.monotonic() - started < 20  # and not 300
    group = int(Path(environment["ASKED"]).read_text())
    wait_until(lambda: not _lives(group), "all of the helper is gone")


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_helper_that_is_missing_says_so() -> None:
    what = refused(
        lambda: load_credential(HOST, "x", environment={"PATH": "/"}, helper="acme")
    )

    assert "acme cannot be run: No such file or directory" in what


def test_the_secret_is_in_no_argument_and_no_environment(
    helper: Callable[[str], dict[str, str]],
) -> None:
    """The helper gets one word to act, and the host on its standard input."""
    environment = helper('echo "$# $1" > "$ASKED"; echo x')

    refused(lambda: load_credential(HOST, "x", environment=environment, helper="acme"))

    assert Path(environment["ASKED"]).read_text() == "1 get\n"
    assert credentials.HELPER_SECONDS <= 10
