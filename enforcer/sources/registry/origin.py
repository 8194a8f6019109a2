"""Origins: scheme, host and port, beyond which no login is ever taken."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from enforcer.sources.registry.errors import wrong

MAX_URL = 8192  # a presigned one has two thousand characters

_PORTS = {"http": 80, "https": 443}
# Nothing of a URL may end a request's line or start another header (CVE-2019-11236).
_PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request goes. `host` is lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return HOST[:PORT] as it stands in a URL and in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether its very name says that it is on this host."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def registry_origin(host: str, *, http: bool) -> Origin:
    """Return where the registry HOST[:PORT] has its API."""
    return _origin(urlsplit(f"{'http' if http else 'https'}://{host}"))


def split_url(url: str, *, base: str = "") -> tuple[Origin, str]:
    """Split a URL, relative to `base`, into its origin and what to ask there.

    Of one that is refused no more than its origin is told: the rest may be a secret.

    Raises:
        RegistryError: It is no http or https URL, or holds a login.
    """
    if len(url) > MAX_URL or not _PLAIN.fullmatch(url):
        raise wrong("a URL that was given to go to", "is empty, too long or none")
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
    except ValueError:
        raise wrong("a URL that was given to go to", "is none") from None
    if "@" in parts.netloc:
        raise wrong("a URL that was given to go to", "holds a login")
    origin = _origin(parts)
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _origin(parts: SplitResult) -> Origin:
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _PORTS or port == 0:
        raise wrong("a URL that was given to go to", "is no http or https one")
    return Origin(parts.scheme, host.lower(), port or _PORTS[parts.scheme])
