"""What is said in `Authorization`: a login, or a token that was had for one.

Docker's token authentication and its OAuth2 form. Who gets to see the login is decided
here: the registry itself, and a token service that is the registry's own host or that
is allowed by name (a registry may name any: CVE-2026-33540 and kin).
"""

import base64
import re
import time
from collections.abc import Callable
from urllib.parse import urlencode

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.registry_access import Access
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.sources.registry.challenge import Challenge, parse_challenges
from enforcer.sources.registry.errors import RegistryError, unauthorised, wrong
from enforcer.sources.registry.origin import Origin, split_url
from enforcer.sources.registry.transport import Answer, Exchange

MAX_ANSWER_BYTES = 64 * 1024
LIFE_SECONDS = 60  # of a token that does not say: "token specification", expires_in
MARGIN_SECONDS = 2  # it has to arrive before it ends
TOKEN_SECONDS = 20.0  # to wait for a token service

_TOKEN = re.compile(r"[!-~]{1,32768}")  # some name a hundred repositories

Send = Callable[[Origin, Exchange, str], Answer]


class Authorization:
    """The login of one run: challenges met, and tokens while they last."""

    def __init__(self, access: Access, own: Origin, send: Send) -> None:
        """Answer for `own`, the registry; tokens are had with `send`."""
        self._access = access
        self._own = own
        self._send = send
        self._basic = ""
        self._tokens: dict[str, tuple[str, float]] = {}

    def header(self, scope: str) -> str:
        """Return what to say for this scope without having been asked, or ""."""
        token, ends = self._tokens.get(scope, ("", 0.0))
        return token if time.monotonic() < ends else self._basic

    def answer(self, scope: str, challenge: str, place: str, until: float) -> str:
        """Return what to say to a 401 with this WWW-Authenticate.

        `scope` is what is wanted, and never what the registry proposes.

        Raises:
            RegistryError: There is no login, or nobody to be told it.
        """
        asked = {c.scheme: c for c in reversed(parse_challenges(challenge, place))}
        if "bearer" in asked:
            self._tokens.pop(scope, None)
            return self._token(scope, asked["bearer"], place, until)
        credential = self._access.credential
        if "basic" not in asked:
            raise wrong(place, "wants a login of no kind known here")
        if credential is None or not credential.username:
            raise unauthorised(place, "wants a login, and this host has none for it")
        self._basic = _basic(credential.username, credential.password.text)
        return self._basic

    def _token(self, scope: str, challenge: Challenge, place: str, until: float) -> str:
        origin, target = self._service(challenge, place)
        asked = self._exchange(target, scope, challenge, until)
        service = f"the token service of {self._access.host}"
        with self._send(origin, asked, service) as answer:
            if answer.status in (400, 401, 403):
                whom = "this login" if self._access.credential else "anonymous users"
                raise unauthorised(place, f"is refused to {whom} by {service}")
            if answer.status != 200:
                raise wrong(service, f"answered {answer.status}")
            token, life = _parse(answer.read(MAX_ANSWER_BYTES), service)
        header = f"Bearer {token}"
        margin = min(MARGIN_SECONDS, life / 2)
        self._tokens[scope] = header, time.monotonic() + life - margin
        return header

    def _service(self, challenge: Challenge, place: str) -> tuple[Origin, str]:
        """Return whom to ask for a token, if they may be told a login."""
        realm = challenge.parameters.get("realm", "")
        origin, target = split_url(realm)
        same = origin.host == self._own.host and origin.scheme == "https"
        named = origin.authority in self._access.token_hosts
        # Over plain HTTP nobody vouches for a host, so only the registry itself.
        if origin == self._own or same or (named and origin.scheme == "https"):
            return origin, target
        raise RegistryError(
            place,
            f"is to be had with a token of {clip(str(origin))}, which is another host "
            "than the registry's",
            code=Code.REGISTRY_TOKEN_HOST,
        )

    def _exchange(
        self, target: str, scope: str, challenge: Challenge, until: float
    ) -> Exchange:
        until = min(until, time.monotonic() + TOKEN_SECONDS)
        credential = self._access.credential
        service = challenge.parameters.get("service", "")
        asked = [("service", service)] * bool(service)
        if credential and credential.identity_token:
            token = credential.identity_token.text
            members = {"grant_type": "refresh_token", "client_id": "enforcer"}
            form = [
                *members.items(),
                *asked,
                ("scope", scope),
                ("refresh_token", token),
            ]
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return Exchange("POST", target, until, kind, urlencode(form).encode())
        query = urlencode([*asked, *(("scope", one) for one in scope.split(" "))])
        headers = {}
        if credential and credential.username:
            login = _basic(credential.username, credential.password.text)
            headers["Authorization"] = login
        joint = "&" if "?" in target else "?"
        return Exchange("GET", f"{target}{joint}{query}", until, headers)


def _basic(username: str, password: str) -> str:
    pair = base64.b64encode(f"{username}:{password}".encode())
    return f"Basic {pair.decode('ascii')}"


def _parse(raw: bytes, service: str) -> tuple[str, int]:
    """Return the token of an answer, and for how many seconds it is good.

    Its "issued_at" is by another's clock, so the time counts from now.
    """
    try:
        value = parse_json(raw, what="it", max_bytes=MAX_ANSWER_BYTES)
        members = require_object(value, what="it")
    except EnforcerError as error:
        raise wrong(service, "gave no JSON object") from error
    token = members.get("token") or members.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise wrong(service, "gave no token")
    return token, _life(members.get("expires_in"))


def _life(value: Json) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and isinstance(value, int) and value > 0 else LIFE_SECONDS
