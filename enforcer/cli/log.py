"""`enforcer log`: what was decided, and whether the record of it is whole.

Reads the audit log itself, rotated files too, so no daemon is needed. `-o json` is one
object a line, as the log has them. `--verify` checks the chain of hashes, and asks a
running enforcerd which line it wrote last: nothing else shows that the end was cut
off. Keep the `head` that it prints elsewhere, and `--head HASH` tells later whether
that line is still there. Exit: 0 whole, 1 broken.
"""

import argparse
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict

from enforcer.api.status_client import fetch_status
from enforcer.audit.chain import ChainReport, check_chain
from enforcer.audit.log import FIRST
from enforcer.audit.query import Members, text
from enforcer.audit.reader import Line, read_log
from enforcer.cli.admin_log import FILE as ADMIN_FILE
from enforcer.cli.entries import (
    add_filters,
    as_json,
    as_text,
    parse_count,
    parse_moment,
    query_of,
)
from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import EnforcerError, clip
from enforcer.settings import Settings

_HASH = re.compile("(?:sha256:)?([0-9a-f]{64})", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    for name in ("--since", "--until"):
        parser.add_argument(
            name, type=parse_moment, metavar="TIME", help="RFC 3339, or 10m, 2h, 3d ago"
        )
    add_filters(parser)
    parser.add_argument(
        "-n", dest="last", type=parse_count, metavar="N", help="the last N only"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--verify", action="store_true", help="check the chain of hashes instead"
    )
    other.add_argument(
        "--admin", action="store_true", help="what root did that may let images in"
    )
    parser.add_argument(
        "--head", metavar="HASH", help="with --verify: a line that must be there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    settings = settings_of(arguments)
    if arguments.head and not arguments.verify:
        raise UsageError("--head goes with --verify")
    if arguments.verify:
        return _verify(settings, arguments)
    query = query_of(arguments)
    show: Callable[[Members], str] = as_json if is_json(arguments) else as_text
    if arguments.admin:
        lines = read_log(settings.log_dir, ADMIN_FILE)
        show = show if is_json(arguments) else _admin_text
    else:
        lines = read_log(settings.audit_dir)
    found = (line for line in _read(lines) if query.wants(line))
    for members in found if arguments.last is None else deque(found, arguments.last):
        print(show(members))
    return DONE


def _read(lines: Iterable[Line]) -> Iterator[Members]:
    """Read lines; say at the end how many could not be."""
    unread: list[str] = []
    count = 0
    for line in lines:
        try:
            members = line.members()
        except EnforcerError as error:
            count += 1
            unread = unread or [error.what]
            continue
        yield members
    if count:
        print(
            f"enforcer: {count} line(s) cannot be read, the first: "
            f"{clip(unread[0], limit=300)}; enforcer log --verify",
            file=sys.stderr,
        )


def _admin_text(line: Members) -> str:
    rest = {k: v for k, v in line.items() if k not in ("time", "what", "uid")}
    uid = line.get("uid")
    words = (text(line, "time"), text(line, "what"), f"uid {uid}", as_json(rest))
    return "  ".join(clip(word, limit=2000) for word in words)


def _verify(settings: Settings, arguments: argparse.Namespace) -> int:
    known = {}
    if arguments.head:
        match = _HASH.fullmatch(arguments.head)
        if match is None:
            raise UsageError(f'"{clip(arguments.head)}" is no sha256 in hexadecimal')
        known[match[1]] = "was asked for"
    head = _daemons_head(settings)
    if head:  # asked before reading: what is written from here on may be there or not
        known[head] = "enforcerd wrote last"
    report = check_chain(settings.audit_dir, known)
    if is_json(arguments):
        print_json(_json(report) | {"daemon_head": head})
    else:
        _print(report, head)
    return REFUSED if report.breaks else DONE


def _daemons_head(settings: Settings) -> str | None:
    """Return the hash of the line the daemon wrote last; None without a daemon."""
    try:
        return str(fetch_status(settings.run_dir).audit_head)
    except EnforcerError:
        return None


def _json(report: ChainReport) -> dict[str, object]:
    members = asdict(report)
    members["breaks"] = [
        {"file": str(one.path), "line": one.line, "what": one.what}
        for one in report.breaks
    ]
    return {"whole": not report.breaks, **members}


def _print(report: ChainReport, head: str | None) -> None:
    for one in report.breaks:
        print(f"BROKEN  {clip(str(one.path))}:{one.line}: {one.what}")
    if report.more:
        print("BROKEN  and in more places")
    size = f"{report.lines} lines in {report.files} file(s)"
    print(f"{'broken' if report.breaks else 'whole'}: {size}")
    if report.begins not in (FIRST, ""):
        print("older lines were rotated away")
    if head is None:
        print("enforcerd cannot be asked what it wrote last: a cut-off end is not seen")
    elif not head:
        print("enforcerd has written nothing since it started")
    print(f"head: {report.head or '(none)'}")
