"""Evidence for one run of `verify --online`: asked for now, kept nowhere."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

from enforcer.core.errors import clip
from enforcer.core.evidence import Evidence
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.sources.fetcher import FetcherClient
from enforcer.sources.revocation.gather import Gathered, gather
from enforcer.sources.revocation.store import EvidenceStore


class OnlineEvidence:
    """What this host holds, and what lists and responders say right now."""

    def __init__(
        self, store: EvidenceStore, fetcher: Callable[[], FetcherClient]
    ) -> None:
        """Take what is held here, and what asks others for more."""
        self._store = store
        self._fetcher = fetcher

    def load(self, chains: Sequence[AuthenticatedChain], at: datetime) -> Evidence:
        """Ask, and return everything; who did not answer is told on standard error."""
        known = self._store.load(chains, at)
        with self._fetcher() as client:
            found = gather(chains, at, fetcher=client)
        tell_problems(found)
        return known.merged(found.evidence)

    def time_floor(self) -> datetime | None:
        """Return the newest time this host has proof of."""
        return self._store.time_floor()


def tell_problems(found: Gathered) -> None:
    """Print who did not answer, and why."""
    for problem in found.problems:
        line = f"{problem.url} gave nothing of use: {problem.because}"
        print(f"enforcer: {clip(line, limit=500)}", file=sys.stderr)
