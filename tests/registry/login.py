"""How registries ask for a login: tokens that end, scopes, and Basic."""

import base64
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.registry.server import Reply, Seen

ANONYMOUS = ""


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@dataclass
class TokenLogin:
    """A registry's challenge and its token service, each at its own host.

    Attributes:
        host: The registry; all of `/v2/` there needs a token, but for the realm.
        realm: The URL of the token service.
        users: Who may have a token, and by which password; ANONYMOUS by none.
        identities: Identity tokens that are good for a token, too (OAuth2).
        life: Seconds a token is good for, and said to be unless `says` differs.
        member: What the token is called in the answer.
    """

    host: str
    realm: str
    service: str
    users: Mapping[str, str] = field(default_factory=dict)
    identities: Sequence[str] = ()
    life: float = 300
    says: Mapping[str, object] | None = None
    member: str = "token"
    issued: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __call__(self, seen: Seen) -> Reply | None:
        """As a rule of a `FakeRegistry`."""
        realm_host, _, path = self.realm.removeprefix("https://").partition("/")
        host = seen.headers.get("Host", "")
        if host == realm_host and seen.path == f"/{path}":
            return self._token(seen)
        if host == self.host and not self._is_allowed(seen):
            challenge = f'Bearer realm="{self.realm}",service="{self.service}"'
            # A registry may propose any scope; ours is the one that counts.
            more = ',scope="repository:*:*"'
            return Reply(401, headers={"WWW-Authenticate": challenge + more})
        return None

    def _is_allowed(self, seen: Seen) -> bool:
        said = seen.headers.get("Authorization", "")
        scope, ends = self.issued.get(said.removeprefix("Bearer "), ("", 0.0))
        repository = (
            seen.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
        )
        return scope == f"repository:{repository}:pull" and time.monotonic() < ends

    def _token(self, seen: Seen) -> Reply:
        if seen.method == "POST":
            asked = parse_qs(seen.body.decode())
            known = asked.get("refresh_token", [""])[0] in self.identities
            known = known and asked.get("grant_type") == ["refresh_token"]
        else:
            asked = seen.query
            said = seen.headers.get("Authorization", "")
            known = said in [basic(*pair) for pair in self.users.items() if pair[0]]
            known = known or (not said and ANONYMOUS in self.users)
        if not known or asked.get("service") != [self.service]:
            return Reply(401, b'{"details":"incorrect username or password"}')
        token = secrets.token_urlsafe(24)
        self.issued[token] = asked["scope"][0], time.monotonic() + self.life
        answer = {self.member: token, "expires_in": int(self.life), **(self.says or {})}
        body = json.dumps(answer).encode()
        return Reply(body=body, headers={"Content-Type": "application/json"})


@dataclass
class BasicLogin:
    """A registry that takes name and password itself, and nothing else."""

    host: str
    username: str
    password: str
    realm: str = "registry"

    def __call__(self, seen: Seen) -> Reply | None:
        said = seen.headers.get("Authorization", "")
        if seen.headers.get("Host") != self.host or said == basic(
            self.username, self.password
        ):
            return None
        challenge = f'Basic realm="{self.realm}",service="registry"'
        return Reply(401, headers={"WWW-Authenticate": challenge})


@dataclass
class Storage:
    """Where a registry keeps blobs: it redirects there, with a signed URL.

    As Azure and S3 do, it refuses whoever brings a login of another place.
    """

    registry: str
    host: str
    blobs: Mapping[str, bytes]

    def __call__(self, seen: Seen) -> Reply | None:
        where, digest = seen.headers.get("Host"), seen.path.rpartition("/")[2]
        if where == self.registry and "/blobs/" in seen.path:
            url = f"https://{self.host}/store/{digest}?X-Signature=of-a-while"
            return Reply(307, headers={"Location": url})
        if where != self.host:
            return None
        if "Authorization" in seen.headers:
            return Reply(400, b"InvalidAuthenticationInfo")
        return Reply(body=self.blobs[digest])
