"""`cache sync`: fetch revocation evidence for every cached signer."""

import argparse
from datetime import datetime

from enforcer.assembly import evidence_store, load_policy
from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.digest import Digest
from enforcer.core.revocation_chain import AuthenticatedChain, authenticated_chains
from enforcer.ports import PolicyInForce
from enforcer.sources.cache import DiskCache
from enforcer.weigher import MAX_SIGNATURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""


def run(arguments: argparse.Namespace) -> int:
    """Fetch revocation evidence for the signers this host's policy trusts."""
    from enforcer.cli.online import tell_problems  # needs the network's libraries
    from enforcer.sources.revocation.sync import sync

    settings = settings_of(arguments)
    at = HostClock().now()
    force = load_policy(settings)
    chains = cached_chains(DiskCache(settings.cache_dir), force, at)
    done = sync(evidence_store(settings), chains, at)
    tell_problems(done.gathered)
    if is_json(arguments):
        listed = [{"url": p.url, "why": p.because} for p in done.gathered.problems]
        print_json({"chains": len(chains), "kept": done.kept, "problems": listed})
    else:
        print(f"{len(chains)} trusted chain(s), {done.kept} new piece(s) of evidence")
    return REFUSED if done.gathered.problems else DONE


def cached_chains(
    cache: DiskCache, force: PolicyInForce, at: datetime
) -> list[AuthenticatedChain]:
    """Return the chains behind cached signatures that some statement trusts.

    Which name an image will have is not known here, so each statement is tried.
    """
    found: dict[tuple[bytes, ...], AuthenticatedChain] = {}
    for subject in sorted({entry.subject for entry in cache.entries()}):
        content = cache.manifest(Digest.parse(subject))
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
