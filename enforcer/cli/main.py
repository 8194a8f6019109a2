"""`enforcer`: the words of the command line, and the exit status of each outcome."""

import argparse
import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from enforcer import __version__
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

# Exit statuses (design section 7).
DONE, REFUSED, USAGE, UNREACHABLE, MISCONFIGURED, FAILED = 0, 1, 2, 3, 4, 5
INTERRUPTED = 130  # as shells count Ctrl-C

_STATUS = {
    Code.ALLOWED: DONE,
    Code.SKIPPED: DONE,
    Code.BUILD_ALLOWED: DONE,
    Code.EXEMPT: DONE,
    Code.BREAK_GLASS: DONE,
    Code.CONTENT_MISSING: UNREACHABLE,
    Code.NO_RECORD: UNREACHABLE,
    Code.ENGINE_UNKNOWN: UNREACHABLE,
    Code.ENGINE_UNREACHABLE: UNREACHABLE,
    Code.CACHE_UNAVAILABLE: UNREACHABLE,
    Code.IMAGES_UNKNOWN: UNREACHABLE,
    Code.TSA_UNREACHABLE: UNREACHABLE,
    Code.DAEMON_UNREACHABLE: UNREACHABLE,
    Code.DECISION_UNKNOWN: UNREACHABLE,
    Code.PROVE_NO_ENGINE: UNREACHABLE,
    Code.REFERENCE_INVALID: USAGE,
    Code.TIME_UNKNOWN: MISCONFIGURED,
    Code.POLICY_MISSING: MISCONFIGURED,
    Code.POLICY_INVALID: MISCONFIGURED,
    Code.TRUST_STORE_MISSING: MISCONFIGURED,
    Code.TRUST_STORE_INVALID: MISCONFIGURED,
    Code.FILE_NOT_TRUSTED: MISCONFIGURED,
    Code.LEVEL_NOT_ALLOWED: MISCONFIGURED,
    Code.SETTINGS_INVALID: MISCONFIGURED,
    Code.EXPORT_INCOMPLETE: UNREACHABLE,
    Code.EXPORT_FAILED: UNREACHABLE,
    Code.EXPORT_NOTHING: UNREACHABLE,
    Code.FETCHER_UNREACHABLE: UNREACHABLE,
    Code.FETCHER_SILENT: UNREACHABLE,
    Code.FETCHER_BUSY: UNREACHABLE,
    Code.INSTALL_ENGINE_MISSING: UNREACHABLE,
    Code.COPY_INCOMPLETE: UNREACHABLE,
    Code.COPY_LIST_CHANGED: UNREACHABLE,
    Code.INSTALL_SETTINGS: MISCONFIGURED,
    Code.REGISTRY_MISSING: UNREACHABLE,
    Code.REGISTRY_UNREACHABLE: UNREACHABLE,
    Code.REGISTRY_UNAUTHORISED: UNREACHABLE,
    Code.REGISTRY_RATE_LIMITED: UNREACHABLE,
    Code.REGISTRY_TOKEN_HOST: MISCONFIGURED,
    Code.REGISTRY_LOGIN: MISCONFIGURED,
}

# verb -> the module that does it, and its line in --help
_VERBS = {
    "verify": "judge one artifact with the host's policy",
    "sign": "sign a local image or artifact into the cache",
    "copy": "copy an artifact with all its signatures between registries and layouts",
    "cache": "fill and keep the signature cache",
    "trust": "trust stores and trying-out certificates",
    "policy": "lint, explain, import the host policy; break-glass",
    "floors": "what may only ever deny, and root's reset of it",
    "prove": "send an unsigned image down every door; say what happened",
    "status": "what the daemon enforces right now",
    "explain": "why an image may start or not, or what a code means",
    "log": "what was decided, and whether the record of it is whole",
    "watch": "decisions as they are made",
    "doctor": "what is amiss on this host, and what mends it",
    "gate": "write the gate for this host",
    "install": "put enforcer in front of this host's engines",
    "uninstall": "take enforcer off this host, every byte as before",
}

_OUTPUTS = ("text", "json")  # unless a verb's module says otherwise


class UsageError(Exception):
    """The words of the command line do not go together."""


def status_of(code: Code) -> int:
    """Return the exit status for a decision or error with this code."""
    return _STATUS.get(code, REFUSED)


def main(argv: list[str] | None = None, *, alone: bool = False) -> int:
    """Run one verb and return its exit status; errors go to standard error.

    `alone`: this process is there for nothing else, and ends with it.
    """
    for stream in (sys.stdout, sys.stderr):  # a path may hold what cannot be encoded
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    groups = os.getgroups()
    with contextlib.suppress(OSError):  # only root may, and needs none: `as_owner`
        os.setgroups([])
    arguments = _parser().parse_args(argv)
    arguments.groups = groups
    verb = _module(arguments, alone=alone)
    try:
        status = int(verb.run(arguments))
        sys.stdout.flush()
    except EnforcerError as error:
        return complain(str(error), status_of(error.code))
    except UsageError as error:
        return complain(str(error), USAGE)
    except BrokenPipeError:  # `| head` has seen enough; the exit status is pipe's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return complain(f"{error.strerror}: {error.filename}", UNREACHABLE)
    return status


def _module(arguments: argparse.Namespace, *, alone: bool) -> ModuleType:
    """Load a verb's module; `alone`, give up the internet if it says it needs none."""
    verb = importlib.import_module(f"enforcer.cli.{arguments.verb}")
    if alone and hasattr(verb, "asks_nobody") and verb.asks_nobody(arguments):
        from enforcer.no_internet import give_up_internet  # most verbs load no socket

        give_up_internet()
    return verb


def complain(text: str, status: int) -> int:
    """Print an error and return the exit status it was given."""
    print(f"enforcer: {clip(text, limit=8000)}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="enforcer",
        description="Only signed images start on this host.",
        epilog="exit: 0 allowed or done, 1 not allowed, 2 usage, 3 target or daemon "
        "unreachable, 4 policy, settings or trust store unusable, 5 doctor or prove "
        "failed",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    _add_common(parser, None)
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="VERB", parser_class=_VerbParser
    )
    for name, line in _VERBS.items():
        verb = verbs.add_parser(name, help=line, description=line, allow_abbrev=False)
        verb.verb = name
    return parser


class _VerbParser(argparse.ArgumentParser):
    """Learns its arguments when its verb is called: importing all takes 100 ms."""

    verb = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.verb:
            module = importlib.import_module(f"enforcer.cli.{self.verb}")
            module.add_arguments(self)
            self.verb = ""
            for leaf in _leaves(self):
                outputs = getattr(module, "OUTPUTS", _OUTPUTS)
                _add_common(leaf, argparse.SUPPRESS, outputs)
        return super().parse_known_args(args, namespace)


def _leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of a verb's own words, or the verb's parser itself."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return [parser, *action.choices.values()]
    return [parser]


def _add_common(
    parser: argparse.ArgumentParser,
    default: object,
    outputs: tuple[str, ...] = _OUTPUTS,
) -> None:
    """Accept the global options here, before or after the verb."""
    group = parser.add_argument_group("everywhere")
    for name in ("config", "state", "run"):
        group.add_argument(f"--{name}-dir", type=Path, metavar="DIR", default=default)
    group.add_argument(
        "-o",
        "--output",
        choices=outputs,
        default=default if default is argparse.SUPPRESS else "text",
    )
