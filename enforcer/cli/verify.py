"""`enforcer verify TARGET`: judge one artifact, with or without the daemon."""

import argparse
import contextlib
import re
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from enforcer.cli import lost
from enforcer.cli.content import (
    Read,
    artifact_of,
    content_json,
    content_lines,
    read_content,
)
from enforcer.cli.exec import NOT_RUN, PLACE, ExecError, become, part_of
from enforcer.cli.judging import WhatIf, judge
from enforcer.cli.main import UsageError, complain, status_of
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.cli.target import Target
from enforcer.cli.targets import FORMS, open_target
from enforcer.cli.tree import print_signature
from enforcer.core.decide import Decision
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.record import DecisionRecord, decision_json
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictjson import Json
from enforcer.settings import LEVELS, Settings
from enforcer.weigher import MAX_SIGNATURES, denial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("target", nargs="?", help=FORMS)
    parser.add_argument("--scope", metavar="REF", help="judge under this name")
    parser.add_argument(
        "--with-cache",
        action="store_true",
        help="count the host's cached signatures for a layout or archive, too",
    )
    parser.add_argument(
        "--lost",
        nargs=2,
        metavar=("SRC", "DST"),
        help="instead: which signatures of SRC a promotion to DST left behind",
    )
    use = parser.add_argument_group(
        "use what was verified",
        "CMD is run with the artifact's layer as {}: a sealed copy, /proc/self/fd/N, "
        "of exactly the signed bytes. It takes all words that follow (TARGET may be "
        "the last). Exit: CMD's own; 125 where it was not run, 126 or 127 where it "
        "cannot be or is not there.",
    )
    use.add_argument(
        "--layer", metavar="NAME", default="", help="title, media type or digest"
    )
    use.add_argument("--exec", nargs=argparse.REMAINDER, metavar="CMD")
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


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: what an engine holds, judged from the cache."""
    local = str(arguments.target).startswith(("docker:", "containerd:"))
    return local and not (arguments.online or arguments.plugins or arguments.exec)


def run(arguments: argparse.Namespace) -> int:
    """Judge, print or hand over, and return the exit status."""
    if arguments.lost:
        return _compare(arguments)
    if arguments.exec is None:
        return _tell(arguments)
    try:
        _hand_over(arguments)
    except ExecError as error:
        return complain(str(error), error.status)
    except (EnforcerError, UsageError) as error:
        return complain(str(error), NOT_RUN)
    except OSError as error:
        return complain(f"{error.strerror}: {error.filename}", NOT_RUN)


def _compare(arguments: argparse.Namespace) -> int:
    asked = WhatIf(scope=arguments.scope or "")
    if (_what_if(arguments), arguments.target, arguments.exec) != (asked, None, None):
        raise UsageError("--lost SRC DST takes --scope alone")
    return lost.run(arguments, settings_of(arguments))


def _tell(arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        arguments.wrong_usage("the following arguments are required: target")
    settings = _settings(arguments)
    with open_target(arguments.target, settings, registries=True) as target:
        record, read = _judge(target, settings, arguments)
    if is_json(arguments):
        more: dict[str, Json] = {"artifact": content_json(read)} if read else {}
        print_json(decision_json(record) | more)
    else:
        _print(record.decision, read)
    return status_of(record.decision.code)


def _judge(
    target: Target, settings: Settings, arguments: argparse.Namespace
) -> tuple[DecisionRecord, Read | None]:
    """Judge the manifest; if it is good, so must be an artifact's content."""
    record, _ = judge(target, settings, _what_if(arguments))
    artifact = artifact_of(target)
    if artifact is None or not record.decision.allowed:
        return record, Read(artifact) if artifact else None
    try:
        return record, read_content(artifact, target)
    except EnforcerError as error:
        denied = denial(error.code, f"{target.shown}: {error.what}. {error.remedy}")
        return replace(record, decision=denied), Read(artifact)


def _hand_over(arguments: argparse.Namespace) -> NoReturn:
    """Judge by this host's own policy, and become CMD if it allows."""
    command = arguments.exec
    if arguments.target is None and command:
        arguments.target = command.pop()
    if not any(PLACE in word for word in command):
        raise UsageError(f"--exec takes CMD, with {PLACE} where the bytes go")
    what_if = _what_if(arguments)
    adds_only = replace(what_if, scope="", with_cache=False, user_metadata={})
    if is_json(arguments) or adds_only != WhatIf():
        raise UsageError(
            "--exec goes by this host's policy, plug-ins, evidence and time, and "
            "prints nothing of its own: leave out the other options"
        )
    settings = _settings(arguments)
    with open_target(arguments.target, settings, registries=True) as target:
        part = part_of(target, arguments.layer)
        record, _ = judge(target, settings, what_if)
        if not record.decision.allowed:
            with contextlib.redirect_stdout(sys.stderr):  # CMD's is not ours
                _print(record.decision, None)
            raise SystemExit(NOT_RUN)
        become(command, part, target, arguments.groups)


def _settings(arguments: argparse.Namespace) -> Settings:
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
    return settings


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


def _print(decision: Decision, read: Read | None) -> None:
    said = ("ALLOWED", "green") if decision.allowed else ("DENIED", "red")
    word = coloured(*said)
    print(f"{word}  {decision.message} [{decision.code}]")
    if decision.statement:
        print(f"  statement  {decision.statement}")
    for line in content_lines(read) if read else ():
        print(line)
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
