"""What registries hold about an image: through the fetcher, into the cache."""

from dataclasses import dataclass
from datetime import datetime

from enforcer.assembly import access_for, signature_cache
from enforcer.core.collected import EvidenceFile, Origin, Refused
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.reference import Reference
from enforcer.core.registry_access import Credential
from enforcer.core.subject import Content
from enforcer.intake.evidence import take_evidence
from enforcer.settings import Settings
from enforcer.sources.fetcher import Fetched, FetcherClient, Wanted


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a question to a registry.

    Attributes:
        subjects: What those are about: the reference's content, and what it lists.
        signatures: How many were stored.
        evidence: How many pieces of revocation evidence were new, and count.
        refused: What the registry offered that was not taken.
        problem: Why it may hold more; None where that is all.
    """

    subjects: tuple[Digest, ...]
    signatures: int
    evidence: int
    refused: tuple[Refused, ...]
    problem: EnforcerError | None


def fetch(
    reference: Reference,
    settings: Settings,
    client: FetcherClient,
    *,
    seconds: float,
    login: Credential | None = None,
) -> Fetched:
    """Return what its registry holds about a reference; nothing is stored.

    `login` is used instead of what is configured, unless a mirror is asked.

    Raises:
        EnforcerError: The registry's or the fetcher's error, where nothing came.
    """
    access, repository = access_for(settings, reference, login)
    named = str(reference.digest or reference.tag or "latest")
    return client.fetch_signatures(Wanted(access, repository, named, seconds))


def bring(
    reference: Reference,
    settings: Settings,
    client: FetcherClient,
    at: datetime,
    *,
    seconds: float,
    login: Credential | None = None,
) -> Brought:
    """Store what its registry holds about a reference.

    All of it is had before the cache is locked: nobody waits for a network meanwhile.

    Raises:
        EnforcerError: Nothing came, or nothing could be stored.
    """
    found = fetch(reference, settings, client, seconds=seconds, login=login)
    kept = (item for item in found.items if not isinstance(item, EvidenceFile))
    origin = Origin(reference.repository(local=False), at)
    count, refused = signature_cache(settings).add(kept, origin=origin)
    taken = take_evidence(found.items, settings, at)
    contents = (item for item in found.items if isinstance(item, Content))
    subjects = tuple(content.descriptor.digest for content in contents)
    return Brought(
        subjects, count, taken.kept, (*refused, *taken.refused), found.problem
    )
