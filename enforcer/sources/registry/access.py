"""Where the API of a registry is, and which CA is its own."""

import ssl
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.registry_access import Access
from enforcer.files import read_file
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.origin import registry_origin

MAX_CA_BYTES = 1024 * 1024

# Docker Hub's API and its token service have names of their own; so does GitLab's
# token service. All others serve tokens themselves.
_API_HOSTS = dict.fromkeys(("docker.io", "index.docker.io"), "registry-1.docker.io")
_TOKEN_HOSTS = {
    "registry-1.docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}


def plain_access(
    host: str,
    *,
    http: bool | None = None,
    ca: Path | None = None,
    token_hosts: tuple[str, ...] = (),
) -> Access:
    """Return how to reach HOST[:PORT] without a login.

    Where nothing is said, plain HTTP is for this host's loopback alone: nobody is
    between. What is chosen holds; nothing falls back from TLS to HTTP.

    Raises:
        RegistryError: The CA file cannot be used, or that is no host.
    """
    api = _API_HOSTS.get(host.lower(), host.lower())
    if http is None:
        http = ca is None and registry_origin(api, http=True).is_loopback
    known = (*_TOKEN_HOSTS.get(api, ()), *token_hosts)
    return Access(api, http=http, ca=_load_ca(ca) if ca else "", token_hosts=known)


def _load_ca(path: Path) -> str:
    try:
        text = read_file(path, max_bytes=MAX_CA_BYTES, trusted=True).decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except EnforcerError as error:
        raise _unusable(path, error.what) from error
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(path, "it is no PEM of certificates") from error
    return text


def _unusable(path: Path, why: str) -> RegistryError:
    return RegistryError(
        str(path), f"cannot be used as CA: {why}", code=Code.REGISTRY_LOGIN
    )
