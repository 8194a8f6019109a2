"""The chains behind cached signatures: whose evidence is wanted, kept or handed on."""

from collections.abc import Iterable
from datetime import datetime

from enforcer.core.digest import Digest
from enforcer.core.revocation_chain import AuthenticatedChain, authenticated_chains
from enforcer.ports import PolicyInForce
from enforcer.sources.cache import DiskCache
from enforcer.weigher import MAX_SIGNATURES


def cached_chains(
    cache: DiskCache,
    force: PolicyInForce,
    at: datetime,
    subjects: Iterable[Digest] | None = None,
) -> list[AuthenticatedChain]:
    """Return the chains behind cached signatures that some statement trusts.

    All of them, or those about some subjects. Which name an image will have is not
    known here, so each statement is tried.
    """
    found: dict[tuple[bytes, ...], AuthenticatedChain] = {}
    if subjects is None:
        subjects = {Digest.parse(entry.subject) for entry in cache.entries()}
    for subject in sorted(set(subjects)):
        content = cache.manifest(subject)
        if content is None:
            continue
        about = (content.descriptor,)
        for statement in force.policy.trusts:
            trusted = force.stores.fingerprints(statement.trust_stores)
            signatures, _ = cache.signatures_about(
                about, trusted=trusted, limit=MAX_SIGNATURES
            )
            for one in signatures:
                for chain in authenticated_chains(
                    one, about, statement, force.stores, at
                ):
                    found[chain.chain.der] = chain
    return list(found.values())
