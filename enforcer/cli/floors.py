"""`enforcer floors`: what may only ever deny, and root's recorded reset of it."""

import argparse
import json
import os
import sys
from pathlib import Path

from enforcer.assembly import evidence_store
from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.files import make_folder
from enforcer.settings import Settings
from enforcer.sources.revocation.floors import Counts, Floors, FloorsError

MAX_REASON = 1000  # characters: a sentence or two, and a ticket


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
    log = settings.log_dir / "admin.jsonl"
    _record(log, "floors reset", counts, reason)
    try:
        floors.reset()
    except EnforcerError:
        _record(log, "floors reset failed", counts, reason)
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


def _record(path: Path, what: str, counts: Counts | None, reason: str) -> None:
    """Append one line; the audit log has one writer, the daemon, so not there."""
    members = {
        "time": format_rfc3339(HostClock().now()),
        "what": what,
        "reason": reason,
        "uid": os.getuid(),
        "forgot": None if counts is None else _members(counts),
    }
    line = json.dumps(members, ensure_ascii=True).encode() + b"\n"
    make_folder(path.parent)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # A pipe without a reader is an error, and does not hold us up.
        handle = os.open(path, flags | os.O_NONBLOCK, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as file:
            os.fchmod(handle, 0o600)
            if file.write(line) != len(line):
                raise OSError(0, "no space for a whole line")
            os.fsync(handle)
    except OSError as error:
        raise EnforcerError(
            f"{path} cannot be written: {error.strerror}; nothing was reset",
            remedy="Free space on that disk, or remove what is there.",
            code=Code.AUDIT_UNAVAILABLE,
        ) from error
