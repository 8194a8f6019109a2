"""Requests to one registry: login, redirects, waiting and trying again.

Bounds: each request a deadline, redirects, tries and waits a number. The login is told
to the registry's own origin and to nobody it redirects to (CVE-2020-15157 and kin).
"""

import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from enforcer import net
from enforcer.core.codes import Code
from enforcer.core.registry_access import Access
from enforcer.sources.registry.authorization import Authorization
from enforcer.sources.registry.errors import (
    RegistryError,
    late,
    missing,
    unauthorised,
    unreachable,
    wrong,
)
from enforcer.sources.registry.origin import Origin, registry_origin, split_url
from enforcer.sources.registry.patience import wait_seconds
from enforcer.sources.registry.transport import (
    Answer,
    Body,
    Connect,
    Exchange,
    Transport,
)

MAX_REDIRECTS = 3  # a registry, its storage, and one on the way
MAX_WAITS = 3  # for a registry that was asked too often
PAUSE_SECONDS = 0.5  # before what failed on their side is asked once more
REQUEST_SECONDS = 30.0  # for what is small, so that one that drips leaves others time

_PLAIN_REMEDY = (
    "If it speaks TLS, say so by its `ca` or by `http: false` under `registries` in "
    "enforcer.yaml."
)
_FAILURES = frozenset({500, 502, 503, 504})  # that may be over a moment later
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        place: What it is about, for messages.
        url: A path on the registry, or what a Location or Link said.
        scope: What a token has to allow, one or more separated by blanks.
        expect: The statuses the caller wants to see; all others are errors.
        follow: Whether another origin may be gone to, without the login.
        seconds: How long all of it may take; 0 for all the time there is, None for
            what is usual in this session.
    """

    place: str
    url: str
    scope: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    expect: Collection[int] = (200,)
    follow: bool = True
    seconds: float | None = None


def scope_of(repository: str, actions: str = "pull") -> str:
    """Return the scope of a token for a repository: `pull` or `pull,push`."""
    return f"repository:{repository}:{actions}"


class Session:
    """One run with one registry; nothing of it outlives the run."""

    def __init__(
        self,
        access: Access,
        until: float,
        *,
        connect: Connect = net.connect,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        """Ask until then, a time.monotonic(), and no request longer than others."""
        self.host = access.host
        self.origin = registry_origin(access.host, http=access.http)
        self._until = until
        self._usual = request_seconds
        self._transport = Transport(access, self.origin, connect)
        self._login = Authorization(access, self.origin, self._patiently)
        self._not_before: dict[Origin, float] = {}

    def open(self, asked: Asked) -> Answer:
        """Return the answer with one of the expected statuses; to be closed.

        Raises:
            RegistryError: It is missing, unreachable, not for this login, not now
                (`is_final`), or wrong.
        """
        if _left(self._until) <= 0:
            raise late(asked.place, is_final=True)
        seconds = self._usual if asked.seconds is None else asked.seconds
        until = min(self._until, time.monotonic() + seconds) if seconds else self._until
        answer, origin = self._follow(asked, self._login.header(asked.scope), until)
        if answer.status == 401 and origin == self.origin:
            with answer:
                challenge = answer.headers.get("WWW-Authenticate", "")
            header = self._login.answer(asked.scope, challenge, asked.place, until)
            answer, origin = self._follow(asked, header, until)
        if answer.status in asked.expect:
            return answer
        with answer:
            if answer.status == 400 and origin.scheme == "http":
                why = "was answered with status 400 over plain http"
                raise unreachable(asked.place, why, remedy=_PLAIN_REMEDY)
            raise _refusal(answer, asked, is_own=origin == self.origin)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _follow(
        self, asked: Asked, authorization: str, until: float
    ) -> tuple[Answer, Origin]:
        """Ask, and ask where it redirects to; return who answered, too."""
        origin, target = split_url(asked.url, base=f"{self.origin}/")
        for _ in range(MAX_REDIRECTS + 1):
            headers = dict(asked.headers)
            if authorization and origin == self.origin:
                headers["Authorization"] = authorization
            exchange = Exchange(asked.method, target, until, headers, asked.body)
            answer = self._patiently(origin, exchange, asked.place)
            if answer.status not in _REDIRECTS or asked.method not in ("GET", "HEAD"):
                return answer, origin
            with ExitStack() as held:
                held.enter_context(answer)
                there, path = split_url(
                    answer.headers.get("Location", ""), base=f"{origin}{target}"
                )
                if there != origin and not asked.follow:
                    held.pop_all()
                    return answer, origin
                if origin.scheme == "https" and there.scheme == "http":
                    raise wrong(asked.place, "is redirected from https to http")
            origin, target = there, path
        raise wrong(asked.place, f"redirects more than {MAX_REDIRECTS} times")

    def _patiently(self, origin: Origin, exchange: Exchange, place: str) -> Answer:
        """Ask; wait where we are told to, and try what failed over there once more."""
        # What was sent may have been taken in part: only a question is asked again.
        waits, has_failed = 0, exchange.method not in ("GET", "HEAD")
        while True:
            left = self._not_before.get(origin, 0.0) - time.monotonic()
            if left > 0:
                self._wait(left, waits, exchange, place)
            answer = self._transport.exchange(origin, exchange, place)
            if answer.status == 429:
                with answer:
                    seconds = wait_seconds(answer.headers, waits)
                self._not_before[origin] = time.monotonic() + seconds
                waits += 1
            elif answer.status in _FAILURES and not has_failed:
                answer.close()
                has_failed = True
                time.sleep(max(0.0, min(PAUSE_SECONDS, _left(exchange.until))))
            else:
                return answer

    def _wait(self, seconds: float, waits: int, exchange: Exchange, place: str) -> None:
        if seconds >= _left(exchange.until) or waits > MAX_WAITS:
            raise RegistryError(
                place,
                f"is not given now: {self.host} wants not to be asked for another "
                f"{seconds:.0f} s",
                code=Code.REGISTRY_RATE_LIMITED,
                is_final=True,
            )
        time.sleep(seconds)


def _left(until: float) -> float:
    return until - time.monotonic()


def _refusal(answer: Answer, asked: Asked, *, is_own: bool) -> RegistryError:
    """Say what a status that was not expected means.

    The body is not looked at: it may say anything, even what it was told as login.
    """
    status = answer.status
    if status in (401, 403) and not is_own:
        return unauthorised(asked.place, "is elsewhere, where a login is wanted")
    if status in (401, 403):
        return unauthorised(asked.place, f"is not for this login (status {status})")
    if status == 404:
        return missing(asked.place)
    if status >= 500:
        return unreachable(asked.place, f"met an error over there (status {status})")
    return wrong(asked.place, f"was answered with status {status}")
