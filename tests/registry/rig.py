"""A registry run against one or more fake servers: what it gives, and what it costs."""

import socket
import time
from collections.abc import Mapping

from enforcer import net
from enforcer.core.collected import Collected, Refused, SignatureFile
from enforcer.core.registry_access import Access
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.collect import Limits, collect
from enforcer.sources.registry.transport import Connect
from tests.registry.fake import REPOSITORY
from tests.registry.server import Server

SECONDS = 20.0  # for a test's whole run; none needs a tenth


def take(
    server: Server,
    reference: str = "1",
    *,
    seconds: float = SECONDS,
    limits: Limits | None = None,
    access: Access | None = None,
    request_seconds: float = SECONDS,
) -> list[Collected]:
    """Collect from a fake registry over plain HTTP."""
    chosen = access or Access(server.host, http=True)
    until = time.monotonic() + seconds
    with Registry(chosen, until, request_seconds=request_seconds) as registry:
        return list(collect(registry, REPOSITORY, reference, limits))


def contents(items: list[Collected]) -> list[Content]:
    return [item for item in items if isinstance(item, Content)]


def signatures(items: list[Collected]) -> list[SignatureFile]:
    return [item for item in items if isinstance(item, SignatureFile)]


def refused(items: list[Collected]) -> list[str]:
    return [item.why for item in items if isinstance(item, Refused)]


class Elsewhere:
    """Connects names to servers of this test instead of looking them up.

    The address is 127.0.0.1 then, whatever the rules say of it.
    """

    def __init__(
        self, servers: Mapping[str, Server], *, others: Connect | None = None
    ) -> None:
        """Know these names alone, or connect to any other by `others`."""
        self._servers = servers
        self._others = others
        self.asked: list[str] = []

    def __call__(
        self, host: str, port: int, until: float, refused: net.Rule
    ) -> socket.socket:
        self.asked.append(f"{host}:{port}")
        server = self._servers.get(f"{host}:{port}") or self._servers.get(host)
        if server is None and self._others:
            return self._others(host, port, until, refused)
        if server is None:
            raise net.NoConnectionError("cannot be resolved: no such test host")
        return socket.create_connection(("127.0.0.1", server.port), 5)
