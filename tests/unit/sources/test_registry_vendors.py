"""The ten registries people use: each is asked as it wants, and only it is told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.collected import Collected
from enforcer.core.registry_access import Access, Secret
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.collect import collect
from enforcer.sources.registry.errors import RegistryError
from tests.registry.login import TokenLogin
from tests.registry.rig import SECONDS, Elsewhere, refused, signatures
from tests.registry.server import Server, server_context, serving, throwaway_ca
from tests.registry.vendors import CANARY, VENDORS, Vendor, login
from tests.unit.sources.signed import image, signature

IMAGE = image("at a vendor")
SIGNED = signature(IMAGE.index)
BY_NAME = {vendor.name: vendor for vendor in VENDORS}


@pytest.fixture(params=BY_NAME)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return BY_NAME[request.param]


@contextmanager
def at_vendor(vendor: Vendor, folder: Path) -> Iterator[tuple[Server, Elsewhere]]:
    """The vendor's registry and its other hosts, all by one server with their names."""
    fake = vendor.registry()
    fake.push(IMAGE.index, "1")
    fake.push(IMAGE.manifest)
    fake.attach(SIGNED)
    realm = vendor.login.realm if isinstance(vendor.login, TokenLogin) else ""
    service = realm.removeprefix("https://").partition("/")[0]
    names = [n for n in (vendor.host, service, vendor.storage, "github.com") if n]
    with serving(fake, tls=server_context(folder, *names)) as server:
        yield server, Elsewhere(dict.fromkeys(names, server))


def taken(access: Access, repository: str, there: Elsewhere) -> list[Collected]:
    with Registry(access, time.monotonic() + SECONDS, connect=there) as registry:
        return list(collect(registry, repository, "1"))


def hosts_told(server: Server, secret: bytes) -> set[str]:
    """Hosts that some bytes were sent to."""
    return {s.headers["Host"] for s in server.seen if secret in s.wire}


def test_each_gives_its_signatures_and_no_other_host_is_told(
    vendor: Vendor, tmp_path: Path
) -> None:
    """T-RG-2: 0 credential bytes to a foreign origin, over the whole wire."""
    with at_vendor(vendor, tmp_path) as (server, there):
        items = taken(vendor.access(throwaway_ca().pem), vendor.repository, there)

    assert signatures(items) == [SIGNED]
    assert refused(items) == []
    authorised = {
        seen.headers["Host"] for seen in server.seen if "Authorization" in seen.headers
    }
    assert authorised <= {vendor.host} | vendor.told
    if vendor.credential is None:
        assert not any(
            "Basic" in s.headers.get("Authorization", "") for s in server.seen
        )
        return
    password = vendor.credential.password.text or CANARY
    told = hosts_told(server, _basic(vendor)) | hosts_told(server, CANARY.encode())
    assert told == vendor.told
    assert "github.com:443" not in there.asked
    assert password not in repr(vendor.access(b""))


def _basic(vendor: Vendor) -> bytes:
    from tests.registry.login import basic

    who = vendor.credential
    assert who is not None
    return basic(who.username, who.password.text).partition(" ")[2].encode()


def test_one_token_serves_a_whole_run(tmp_path: Path) -> None:
    """Every request with a token request before it would be refused soon (429)."""
    vendor = BY_NAME["Harbor"]
    with at_vendor(vendor, tmp_path) as (server, there):
        taken(vendor.access(throwaway_ca().pem), vendor.repository, there)

    assert server.paths().count("/service/token") == 1
    token = next(s for s in server.seen if s.path == "/service/token")
    assert token.query == {
        "service": ["harbor-registry"],
        "scope": ["repository:acme/app:pull"],
    }


@pytest.mark.parametrize("says", [{}, {"expires_in": 1_000_000}, {"expires_in": "x"}])
def test_a_token_that_ends_is_had_anew_once(
    says: dict[str, object], tmp_path: Path
) -> None:
    """ACR's last seconds; a service whose clock is wrong says any life it likes."""
    harbor = BY_NAME["Harbor"]
    assert isinstance(harbor.login, TokenLogin)
    short = replace(harbor.login, says={"expires_in": 1, **says}, issued={})
    vendor = replace(harbor, login=short)
    access = vendor.access(throwaway_ca().pem)
    with (
        at_vendor(vendor, tmp_path) as (server, there),
        Registry(access, time.monotonic() + SECONDS, connect=there) as registry,
    ):
        registry.manifest(vendor.repository, "1")
        for token in short.issued:  # over there; here it may seem good still
            short.issued[token] = short.issued[token][0], 0.0
        for _ in range(5):
            registry.manifest(vendor.repository, "1")

    assert server.paths().count("/service/token") == 2


@pytest.mark.parametrize("name", ["ACR", "ECR", "Docker Hub", "Harbor", "GCR"])
def test_a_wrong_password_is_unauthorised_and_not_tried_again(
    name: str, tmp_path: Path
) -> None:
    """A password that is tried often locks its user out."""
    vendor = replace(BY_NAME[name], credential=login("acme", CANARY + "x"))
    with at_vendor(vendor, tmp_path) as (server, there):
        with pytest.raises(RegistryError) as caught:
            taken(vendor.access(throwaway_ca().pem), vendor.repository, there)
        told = [s for s in server.seen if "Authorization" in s.headers]

    assert caught.value.code == Code.REGISTRY_UNAUTHORISED
    assert CANARY not in str(caught.value)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["ECR", "Harbor"])
def test_without_a_login_it_says_what_to_do(name: str, tmp_path: Path) -> None:
    vendor = replace(BY_NAME[name], credential=None)
    with (
        at_vendor(vendor, tmp_path) as (_, there),
        pytest.raises(RegistryError, match=r"`docker login`.*ENF-2603"),
    ):
        taken(vendor.access(throwaway_ca().pem), vendor.repository, there)


def test_a_private_ca_counts_for_its_registry_and_the_systems_do_not(
    tmp_path: Path,
) -> None:
    """DTR: a CA of its own. One by anybody else is refused before a login is sent."""
    vendor = BY_NAME["DTR"]
    stranger = throwaway_ca("C=US,ST=WA,O=stranger,CN=tls")
    with at_vendor(vendor, tmp_path) as (server, there):
        for ca in (b"", stranger.pem):
            with pytest.raises(RegistryError) as caught:
                taken(vendor.access(ca), vendor.repository, there)
            assert caught.value.code == Code.REGISTRY_UNREACHABLE
            assert "a certificate that is not trusted here" in caught.value.what
            assert "`ca`" in caught.value.remedy
        assert server.seen == []


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    """T-RG-11: who was connected to has to be who was meant."""
    vendor = BY_NAME["DTR"]
    with at_vendor(vendor, tmp_path) as (server, _):
        access = replace(vendor.access(throwaway_ca().pem), host="evil.acme.test")
        there = Elsewhere({"evil.acme.test": server})
        with pytest.raises(RegistryError, match=r"certificate that is not trusted"):
            taken(access, vendor.repository, there)
        assert server.seen == []


def test_secrets_are_not_shown() -> None:
    """Row 63: not by repr, nor as part of anything that holds one."""
    access = Access("registry.test", credential=login("acme"))

    assert CANARY not in f"{access!r} {access} {access.credential!r} {Secret(CANARY)}"
    assert not Secret()
