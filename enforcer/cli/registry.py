"""What a registry holds about an image, for the verbs that take one."""

import time
from collections.abc import Iterator

from enforcer.assembly import access_for, fetcher
from enforcer.cli.main import UsageError
from enforcer.core.collected import Collected
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import Reference, parse_reference
from enforcer.settings import Settings

BLOB_SECONDS = 3600.0  # a firmware of gigabytes over a slow line
COLLECT_SECONDS = 120.0  # an index of twenty platforms takes a hundred requests


def registry_reference(text: str, *, expected: str) -> Reference:
    """Read `REGISTRY/REPOSITORY[:TAG][@DIGEST]` from the command line.

    Raises:
        UsageError: It names no registry, or is none of what is `expected`.
    """
    try:
        reference = parse_reference(text)
    except EnforcerError as error:
        raise UsageError(f"{error.what}; expected {expected}") from error
    if not reference.host:
        raise UsageError(f'"{clip(text)}" names no registry; expected {expected}')
    return reference


def fetch_collected(reference: Reference, settings: Settings) -> tuple[Collected, ...]:
    """Return what the registry holds about the image, which comes first.

    Raises:
        EnforcerError: Not all of it is to be had; see `sources.registry.collect`.
    """
    from enforcer.intake.registry import fetch  # protobuf takes its time

    with fetcher(settings, child=True) as client:
        found = fetch(reference, settings, client, seconds=COLLECT_SECONDS)
    if found.problem is not None:
        raise found.problem
    return found.items


def fetch_blob(
    reference: Reference, settings: Settings, named: Descriptor
) -> Iterator[bytes]:
    """Yield a blob a part at a time; count on it only once it has ended.

    Raises:
        RegistryError: It is not to be had, or is another.
    """
    from enforcer.sources.registry.client import Registry

    access, repository = access_for(settings, reference)
    with Registry(access, time.monotonic() + BLOB_SECONDS) as registry:
        yield from registry.stream(repository, named)
