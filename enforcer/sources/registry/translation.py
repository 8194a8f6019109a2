"""What a connection raises, in our words: mostly that a registry is out of reach."""

import contextlib
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException

from urllib3.exceptions import HTTPError

from enforcer import net
from enforcer.core.errors import clip
from enforcer.sources.registry.errors import RegistryError, late, unreachable

_TLS_REMEDY = (
    "Check this host's clock; a registry with a CA of its own needs `ca`, one without "
    "TLS `http: true`, under `registries` in enforcer.yaml."
)


@contextlib.contextmanager
def translated(place: str, until: float) -> Iterator[None]:
    """Turn what a connection raises into a RegistryError.

    A connection that was cut looks like one that ended, so the time decides.
    """
    try:
        yield
    except RegistryError:
        raise
    except (OSError, HTTPError, HTTPException, ValueError) as error:
        if time.monotonic() >= until:
            raise late(place) from error
        raise _translation(place, error) from error
    if time.monotonic() >= until:
        raise late(place)


def _translation(place: str, error: Exception) -> RegistryError:
    if isinstance(error, net.NoConnectionError):
        return unreachable(place, error.because)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"has a certificate that is not trusted here: {error.verify_message}"
        return unreachable(place, clip(why), remedy=_TLS_REMEDY)
    if isinstance(error, ssl.SSLError):
        why = clip(f"does not speak TLS to us: {error.reason}")
        return unreachable(place, why, remedy=_TLS_REMEDY)
    if isinstance(error, TimeoutError):
        return unreachable(place, "was not answered in time")
    why = f"broke off: {type(error).__name__}: {error}"
    return unreachable(place, clip(why))
