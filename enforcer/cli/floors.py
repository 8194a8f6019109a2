"""`enforcer floors`: what may only ever deny, and root's recorded reset of it."""

import argparse
import os
import sys

from enforcer.assembly import evidence_store
from enforcer.cli.admin_log import MAX_REASON, record
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import EnforcerError, clip
from enforcer.settings import Settings
from enforcer.sources.revocation.floors import Counts, Floors, FloorsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    words.add_parser("show", help="how much is remembered")
    reset = words.add_parser("reset", help="forget all of it; this may let images in")
    reset.add_argument("--reason", required=True, metavar="TEXT", help="is recorded")


def run(arguments: argparse.Namespace) -> int:
    """Show, or record and forget."""
    settings = settings_of(arguments)
    floors = evidence_store(settings).floors
    if arguments.word == "show":
        counts = floors.count()
        if is_json(arguments):
            print_json(_members(counts))
        else:
            print(_sentence("remembered", counts))
        return DONE
    if not arguments.reason.strip():
        raise UsageError("--reason must say why")
    return _reset(floors, settings, arguments)


def _reset(floors: Floors, settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        counts = floors.count()
    except FloorsError as error:  # what a reset is for
        print(f"enforcer: {clip(error.what, limit=500)}", file=sys.stderr)
        counts = None
    reason = clip(arguments.reason, limit=MAX_REASON)
    # First: what cannot be recorded is not done (law 7).
    told = {"reason": reason, "forgot": None if counts is None else _members(counts)}
    record(settings, "floors reset", **told)
    try:
        floors.reset()
    except EnforcerError:
        record(settings, "floors reset failed", **told)
        raise
    print(f"enforcer: floors reset by uid {os.getuid()}: {reason}", file=sys.stderr)
    if is_json(arguments):
        print_json({"forgot": None if counts is None else _members(counts)})
    elif counts is None:
        print("forgot what could not be read")
    else:
        print(_sentence("forgot", counts))
    return DONE


def _members(counts: Counts) -> dict[str, int]:
    return {"slots": counts.slots, "revocations": counts.revocations}


def _sentence(verb: str, counts: Counts) -> str:
    return (
        f"{verb} how new the evidence in {counts.slots} slot(s) was, and "
        f"{counts.revocations} revocation(s)"
    )
