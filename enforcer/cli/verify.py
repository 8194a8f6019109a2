"""`enforcer verify TARGET`: judge one artifact, with or without the daemon."""

import argparse
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from enforcer.cli.judging import WhatIf, judge
from enforcer.cli.main import status_of
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.cli.targets import FORMS, open_target
from enforcer.cli.tree import print_signature
from enforcer.core.errors import MalformedError, clip
from enforcer.core.record import DecisionRecord, decision_json
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.settings import LEVELS
from enforcer.weigher import MAX_SIGNATURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("target", help=FORMS)
    parser.add_argument("--scope", metavar="REF", help="judge under this name")
    parser.add_argument(
        "--with-cache",
        action="store_true",
        help="count the host's cached signatures for a layout or archive, too",
    )
    what_if = parser.add_argument_group("what if (releases nothing)")
    policies = what_if.add_mutually_exclusive_group()
    policies.add_argument("--notation-config", type=Path, metavar="DIR")
    policies.add_argument("--policy", type=Path, metavar="FILE/DIR")
    what_if.add_argument("--at", type=_time, metavar="TIME", help="RFC 3339")
    what_if.add_argument(
        "-m",
        "--user-metadata",
        action="append",
        type=parse_pair,
        metavar="K=V",
        default=[],
    )
    what_if.add_argument("--max-signatures", type=_positive, default=MAX_SIGNATURES)
    what_if.add_argument(
        "--plugins", type=Path, metavar="DIR", help="trust Notation's plug-ins there"
    )
    what_if.add_argument(
        "--online",
        action="store_true",
        help="ask lists and responders of revocation first; nothing is kept",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge, print, and return the exit status."""
    settings = settings_of(arguments)
    if arguments.notation_config:
        settings = replace(
            settings,
            notation_config=arguments.notation_config,
            # somebody asks about their own policy
            notation=replace(settings.notation, allow_levels=LEVELS),
        )
    if arguments.policy:
        settings = replace(settings, notation_config=None, policy_dir=arguments.policy)
    with open_target(arguments.target, settings) as target:
        record, _ = judge(target, settings, _what_if(arguments))
    if is_json(arguments):
        print_json(decision_json(record))
    else:
        _print(record)
    return status_of(record.decision.code)


def _what_if(arguments: argparse.Namespace) -> WhatIf:
    return WhatIf(
        scope=arguments.scope or "",
        with_cache=arguments.with_cache,
        own_policy=bool(arguments.notation_config or arguments.policy),
        at=arguments.at,
        user_metadata=dict(arguments.user_metadata),
        max_signatures=arguments.max_signatures,
        plugins=arguments.plugins,
        online=arguments.online,
    )


def _print(record: DecisionRecord) -> None:
    decision = record.decision
    said = ("ALLOWED", "green") if decision.allowed else ("DENIED", "red")
    word = coloured(*said)
    print(f"{word}  {decision.message} [{decision.code}]")
    if decision.statement:
        print(f"  statement  {decision.statement}")
    for report in decision.signatures:
        print_signature(report)


def _time(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except MalformedError as error:
        raise argparse.ArgumentTypeError(f"{error.what}. {error.remedy}") from error


def parse_pair(text: str) -> tuple[str, str]:
    """Read KEY=VALUE from the command line."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f'"{clip(text)}" is not KEY=VALUE')
    return name, value


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError("expected a number from 1 to 99999")
    return int(text)
