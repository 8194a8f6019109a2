"""`cache sync`: signatures from registries, and evidence about their signers."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.assembly import evidence_store, fetcher, load_policy, signature_cache
from enforcer.audit.clock import HostClock
from enforcer.cli.cache.sync_due import is_due, note
from enforcer.cli.cache.sync_targets import EXPECTED, Targets, add_held, listed
from enforcer.cli.main import DONE, complain
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import EnforcerError
from enforcer.intake.chains import cached_chains
from enforcer.settings import Settings

if TYPE_CHECKING:
    from enforcer.cli.cache.sync_report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "--images", action="store_true", help="ask about all images on this host"
    )
    parser.add_argument(
        "--running", action="store_true", help="ask about what runs, and its like"
    )
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help=f"{EXPECTED}, one a line"
    )
    parser.add_argument(
        "--due",
        action="store_true",
        help="only if sync.every in enforcer.yaml says that it is time",
    )
    parser.add_argument(
        "reference",
        nargs="*",
        help=f"{EXPECTED}; with none of all these: images, what runs and sync.list",
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask registries, then lists and responders; one that fails stops no other."""
    settings = settings_of(arguments)
    at = HostClock().now()
    if arguments.due and not is_due(settings, at):
        return DONE
    is_done = False
    try:
        report = _sync(settings, _targets(arguments, settings), at)
        is_done = report.missed() == DONE
    finally:
        if _is_whole(arguments):
            note(settings, at, is_done=is_done)
    report.complain()
    if is_json(arguments):
        print_json(report.json())
    else:
        report.print()
    if report.failure:
        return complain(str(report.failure), report.status())
    return report.status()


def _is_whole(arguments: argparse.Namespace) -> bool:
    """Whether all is wanted that there is to ask about, as by the timer."""
    some = arguments.images or arguments.running or arguments.list
    return not (some or arguments.reference)


def _targets(arguments: argparse.Namespace, settings: Settings) -> Targets:
    targets = Targets()
    words = list(arguments.reference)
    everything = _is_whole(arguments)
    if everything or arguments.list or words:
        for text in listed(settings, arguments.list, words):
            targets.add(text, settings, named=True)
    images, running = arguments.images or everything, arguments.running or everything
    if images or running:
        add_held(targets, settings, images=images, running=running)
    return targets


def _sync(settings: Settings, targets: Targets, at: datetime) -> "Report":
    # Slow to load: protobuf, and all that judges revocation.
    from enforcer.cli.cache.sync_report import Report
    from enforcer.intake.rounds import ask_all
    from enforcer.sources.revocation.sync import sync

    with fetcher(settings, child=True) as client:
        report = Report(
            targets, ask_all(targets.questions.values(), settings, client, at)
        )
        try:
            chains = cached_chains(signature_cache(settings), load_policy(settings), at)
            report.chains = len(chains)
            report.synced = sync(evidence_store(settings), chains, at, fetcher=client)
        except EnforcerError as error:
            report.failure = error  # what was brought is stored, and is told
    return report
