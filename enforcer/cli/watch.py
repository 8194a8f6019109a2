"""`enforcer watch`: decisions as they are made, one line each, until Ctrl-C.

Reads the audit log, as `log` does, and so needs no daemon; but it needs root, or the
user that enforcerd runs as. Members of group enforcer are not served: what starts on a
host, and who fails to start what, is for those who keep it. `-o json` and `-o jsonl`
are the same, one object a line, as the log has them.
"""

import argparse
import select
import sys
import time
from collections import deque
from collections.abc import Iterator

from enforcer.audit.follow import Follower
from enforcer.audit.query import Members, Query
from enforcer.audit.reader import Line
from enforcer.cli.entries import (
    TITLE,
    add_filters,
    as_json,
    as_text,
    parse_count,
    query_of,
)
from enforcer.cli.main import DONE
from enforcer.cli.output import settings_of
from enforcer.core.errors import EnforcerError, clip

OUTPUTS = ("text", "json", "jsonl")
LOOK_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_filters(parser)
    parser.add_argument(
        "-n",
        dest="last",
        type=parse_count,
        metavar="N",
        help="begin with the last N that there are",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print decisions until somebody has seen enough."""
    follower = Follower(settings_of(arguments).audit_dir)
    query = query_of(arguments)
    text = arguments.output == "text"
    if text and sys.stdout.isatty():
        print(TITLE)
    show = as_text if text else as_json
    if arguments.last is None:
        follower.skip()
        backlog = deque[Members]()
    else:
        backlog = deque(_matching(follower, query), arguments.last)
    for members in backlog:
        print(show(members), flush=True)
    while not _is_closed():
        for members in _matching(follower, query):
            print(show(members), flush=True)
        time.sleep(LOOK_SECONDS)
    return DONE


def _matching(follower: Follower, query: Query) -> Iterator[Members]:
    for line in follower.new_lines():
        members = _read(line)
        if members is not None and query.wants(members):
            yield members


def _read(line: Line) -> Members | None:
    try:
        return line.members()
    except EnforcerError as error:
        print(f"enforcer: {clip(error.what, limit=300)}", file=sys.stderr)
        return None


def _is_closed() -> bool:
    """Whether nobody reads any more: `watch | head -1` ends, also without a word."""
    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), 0)
    return any(event & ~select.POLLOUT for _, event in waiting.poll(0))
