"""`cache sync`, as far as revocation goes: fetch everything, keep what counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.sources.revocation.gather import Fetcher, Gathered, Limits, gather
from enforcer.sources.revocation.store import EvidenceStore


@dataclass(frozen=True, slots=True)
class Synced:
    """How many pieces were new, and which URLs gave nothing of use."""

    kept: int
    gathered: Gathered


def sync(
    store: EvidenceStore,
    chains: Sequence[AuthenticatedChain],
    at: datetime,
    *,
    fetcher: Fetcher,
    limits: Limits | None = None,
) -> Synced:
    """Fetch everything about these chains, and keep it.

    Raises:
        EnforcerError: It cannot be kept.
    """
    known = store.load(chains, at)
    gathered = gather(
        chains, at, known=known, thorough=True, fetcher=fetcher, limits=limits
    )
    return Synced(store.add(chains, gathered.evidence, at), gathered)
