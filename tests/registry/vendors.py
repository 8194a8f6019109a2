"""The registries people use, by how each wants to be asked (facts, peers.md 3.1).

What they did in 2026; that none has changed since, nothing here can prove.
"""

from dataclasses import dataclass, field, replace

from enforcer.core.registry_access import Access, Credential, Secret
from enforcer.sources.registry.access import plain_access
from tests.registry.fake import FakeRegistry, Rule, at
from tests.registry.login import ANONYMOUS, BasicLogin, Storage, TokenLogin
from tests.registry.server import Reply, Seen

CANARY = "canary-of-a-registry-login"
JSON_KEY = '{"type": "service_account", "key": "' + "AB\\n" * 500 + CANARY + '"}\n'

Login = TokenLogin | BasicLogin


@dataclass(frozen=True)
class Vendor:
    """One registry: the login it takes, and what is odd about it.

    Attributes:
        login: What it asks for.
        credential: What this host has for it.
        told: The hosts that may get to see that.
        storage: Where it keeps its blobs, if elsewhere.
        rules: How else it differs.
    """

    name: str
    login: Login
    credential: Credential | None
    told: frozenset[str]
    repository: str = "acme/app"
    storage: str = ""
    referrers: str = "200"
    tags: bool = False
    rules: tuple[Rule, ...] = field(default=())

    @property
    def host(self) -> str:
        return self.login.host

    def access(self, ca: bytes) -> Access:
        """As for a reference to it, with the CA of this test."""
        known = plain_access(self.host)
        return replace(known, ca=ca.decode(), credential=self.credential)

    def registry(self) -> FakeRegistry:
        """An empty one of this vendor."""
        fake = FakeRegistry(self.repository, self.referrers, self.tags)
        fake.rules += [self.login, *self.rules]
        if self.storage:
            fake.rules.append(Storage(self.host, self.storage, fake.blobs))
        return fake


def login(username: str, password: str = CANARY) -> Credential:
    return Credential(username, Secret(password))


def _tokens(
    name: str,
    host: str,
    realm: str,
    user: str,
    password: str = CANARY,
    service: str = "",
) -> Vendor:
    """A registry that serves tokens itself, under `https://HOST/REALM`."""
    asks = TokenLogin(
        host, f"https://{host}/{realm}", service or host, {user: password}
    )
    return Vendor(name, asks, login(user, password), frozenset({host}))


_ACR = _tokens("ACR", "acme.azurecr.io", "oauth2/token", "acme")
_ACR_TOKENS = TokenLogin(
    "acme.azurecr.io", "https://acme.azurecr.io/oauth2/token", "acme.azurecr.io",
    {"acme": CANARY, ANONYMOUS: ""}, [CANARY],
    life=5, member="access_token", says={"expires_in": 5},
)  # fmt: skip
_ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
_HUB_TOKENS = TokenLogin(
    "registry-1.docker.io", "https://auth.docker.io/token", "registry.docker.io",
    {"acme": CANARY, ANONYMOUS: ""},
)  # fmt: skip
_GHCR_PAGE = "https://github.com/-/v2/acme/app/referrers/sha256:5"


def _no_bearer(seen: Seen) -> Reply | None:
    """ECR knows no tokens; one that comes is an error of ours."""
    is_token = seen.headers.get("Authorization", "").startswith("Bearer")
    return Reply(400) if is_token else None


VENDORS = (
    replace(_ACR, login=_ACR_TOKENS, storage="acme.blob.core.windows.net"),
    replace(
        _ACR,
        name="ACR, identity token",
        login=_ACR_TOKENS,
        credential=Credential(identity_token=Secret(CANARY)),
    ),
    replace(_ACR, name="ACR, anonymous", login=_ACR_TOKENS, credential=None),
    Vendor(
        "ECR",
        BasicLogin(_ECR, "AWS", CANARY, f"https://{_ECR}/"),
        login("AWS"),
        frozenset({_ECR}),
        storage="prod-layer-bucket.s3.eu-west-1.amazonaws.com",
        referrers="405",
        tags=True,
        rules=(_no_bearer,),
    ),
    Vendor(
        "Docker Hub",
        _HUB_TOKENS,
        login("acme"),
        frozenset({"auth.docker.io"}),
        repository="library/app",
        storage="production.cloudflare.docker.com",
    ),
    Vendor(
        "Docker Hub, anonymous",
        _HUB_TOKENS,
        None,
        frozenset(),
        repository="library/app",
        storage="production.cloudflare.docker.com",
    ),
    replace(  # its API does not list what notation wrote as a tag
        _tokens("GCR", "gcr.io", "v2/token", "_json_key", JSON_KEY),
        rules=(at("/referrers/", Reply(200, b"{}", {"Content-Type": "text/html"})),),
        tags=True,
    ),
    replace(  # its API is a page of another host, which wants to be left alone
        _tokens("GHCR", "ghcr.io", "token", "acme"),
        rules=(at("/referrers/", Reply(303, headers={"Location": _GHCR_PAGE})),),
        tags=True,
    ),
    # it merges the tag into its API: everything is listed twice
    replace(_tokens("Quay", "quay.io", "v2/auth", "acme+robot"), tags=True),
    _tokens("ICR", "us.icr.io", "oauth/token", "iamapikey", service="registry"),
    _tokens("DTR", "dtr.acme.test", "auth/token", "acme"),
    _tokens(
        "Harbor", "harbor.acme.test", "service/token", "robot$acme",
        service="harbor-registry",
    ),
    replace(  # by the path of a repository; another method is another host alone
        _tokens("Artifactory", "acme.jfrog.io", "api/docker/local/v2/token", "acme"),
        repository="local/app",
    ),
)  # fmt: skip
