"""`cache import REGISTRY/REPOSITORY`: take what a registry holds about an image."""

from enforcer.cli.registry import fetch_collected, registry_reference
from enforcer.core.collected import Collected
from enforcer.settings import Settings


def collect_from_registry(
    text: str, settings: Settings, *, expected: str
) -> tuple[Collected, ...]:
    """Return all of it, so that nothing waits for a network while the cache is locked.

    Raises:
        UsageError: That is no registry's name.
        EnforcerError: It is not to be had; nothing was stored.
    """
    reference = registry_reference(text, expected=expected)
    return fetch_collected(reference, settings)
