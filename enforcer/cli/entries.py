"""Decisions of the audit log, one line each: for `log` and `watch`."""

import argparse
import json
import re
from datetime import UTC, datetime, timedelta

from enforcer.audit.query import Members, Query, counted, text, time_of
from enforcer.cli.output import coloured
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.rfc3339 import parse_rfc3339

TITLE = f"{'TIME':20}  {'VERDICT':10}  {'DOOR':6}  {'MS':>6}  IMAGE  WHY"

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare what to look for."""
    which = parser.add_argument_group("which decisions")
    which.add_argument(
        "--image", metavar="PREFIX", default="", help="of a reference or a digest"
    )
    which.add_argument(
        "--signer", default="", help="of the policy, or part of a subject"
    )
    which.add_argument("--code", action="append", default=[], metavar="ENF-NNNN")
    which.add_argument("--asked-by", metavar="DOOR", default="", help="such as gate")
    which.add_argument("--container", metavar="ID", default="")
    verdict = which.add_mutually_exclusive_group()
    verdict.add_argument("--denied", action="store_const", const=False, dest="allowed")
    verdict.add_argument("--allowed", action="store_const", const=True, dest="allowed")


def query_of(arguments: argparse.Namespace) -> Query:
    """Return what `add_filters` was given."""
    return Query(
        since=getattr(arguments, "since", None),
        until=getattr(arguments, "until", None),
        image=arguments.image,
        signer=arguments.signer,
        codes=frozenset(code.upper() for code in arguments.code),
        allowed=arguments.allowed,
        asked_by=arguments.asked_by,
        container=arguments.container,
    )


def parse_moment(given: str) -> datetime:
    """Read RFC 3339, or how long ago: 90s, 10m, 2h, 3d, 1w."""
    ago = _AGO.fullmatch(given)
    try:
        if ago:
            back = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return datetime.now(UTC) - back
        return parse_rfc3339(given)
    except (EnforcerError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f'"{clip(given, limit=40)}" is no time; expected RFC 3339 such as '
            "2026-01-31T12:00:00Z, or how long ago: 10m, 2h, 3d"
        ) from error


def parse_count(given: str) -> int:
    """Read how many lines, at most 99999."""
    if not re.fullmatch("[1-9][0-9]{0,4}", given, re.ASCII):
        raise argparse.ArgumentTypeError("expected a number from 1 to 99999")
    return int(given)


def as_json(line: Members) -> str:
    """Write one decision as one line of printable ASCII."""
    return json.dumps(line, ensure_ascii=True).replace("\x7f", "\\u007f")


def as_text(line: Members) -> str:
    """Write one decision for people, in one line of printable ASCII."""
    at = time_of(line)
    shown = f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else clip(text(line, "time"), limit=20)
    took = line.get("duration_ms")
    ms = f"{took:.1f}" if isinstance(took, (int, float)) else "-"
    door = clip(text(line, "asked_by"), limit=12) or "-"
    return (
        f"{shown:20}  {_verdict(line)}  {door:6}  {ms:>6}  "
        f"{clip(text(line, 'reference'), limit=120) or '-'}  {_why(line)}"
    )


def _verdict(line: Members) -> str:
    if line.get("allowed") is True:
        return f"{'allow':10}"
    monitored = text(line, "mode") == "monitor"
    return coloured(f"{'would deny' if monitored else 'DENY':10}", "red")


def _why(line: Members) -> str:
    code = text(line, "code")
    words = [clip(code, limit=10)]
    if line.get("allowed") is True and (signers := counted(line)):
        words.append("by " + clip(", ".join(signers)))
    elif code in list(Code):
        words.append(Code(code).name.lower().replace("_", " "))
    return "  ".join([*words, clip(text(line, "id"), limit=16)])
