"""`cache sync`: fetch revocation evidence for every cached signer."""

import argparse

from enforcer.assembly import evidence_store, load_policy
from enforcer.audit.clock import HostClock
from enforcer.cli.cache.chains import cached_chains
from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.sources.cache import DiskCache


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
