"""Revocation evidence by stick: what an archive brings, as far as this host trusts it.

An archive vouches for nothing. A list or answer is kept only where its issuer signed it
for a chain that this host's policy trusts, and only if it is newer than what is kept:
as if it had been fetched (`EvidenceStore.add`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from enforcer.assembly import evidence_store, load_policy
from enforcer.core.collected import Collected, EvidenceFile, Refused
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import Evidence
from enforcer.core.revocation_artifact import parse_evidence_manifest, untrusted_items
from enforcer.intake.chains import cached_chains
from enforcer.ports import PolicyInForce
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache


@dataclass(frozen=True, slots=True)
class Taken:
    """How many pieces were offered, how many kept, and what was refused and why."""

    offered: int
    kept: int
    refused: tuple[Refused, ...]


def take_evidence(
    items: Iterable[Collected], settings: Settings, at: datetime
) -> Taken:
    """Keep what counts; the signatures it is about are in the cache already.

    One file is in memory at a time. Nothing is kept without a usable policy.
    """

    @cache  # once, however many files an archive has; and only if there is one
    def force() -> PolicyInForce:
        return load_policy(settings)

    offered, kept = 0, 0
    refused: list[Refused] = []
    for item in items:
        if not isinstance(item, EvidenceFile):
            continue
        offered += len(item.pieces)
        try:
            kept += _take(item, force, settings, at)
        except EnforcerError as error:
            what = f"revocation evidence {Digest.of(item.manifest)}"
            refused.append(Refused(what, f"{error.what} [{error.code}]"))
    return Taken(offered, kept, tuple(refused))


def _take(
    file: EvidenceFile,
    force: Callable[[], PolicyInForce],
    settings: Settings,
    at: datetime,
) -> int:
    manifest = parse_evidence_manifest(file.manifest)
    about = [manifest.subject.digest] if manifest else []
    offered = Evidence(untrusted_items(file, at))
    chains = cached_chains(DiskCache(settings.cache_dir), force(), at, about)
    return evidence_store(settings).add(chains, offered, at) if chains else 0
