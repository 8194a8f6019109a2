"""`enforcer explain CODE`: what a code means and what to do."""

import argparse

from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json
from enforcer.core.codes import PAGES, Code
from enforcer.core.errors import clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("code", help="such as ENF-1004")


def run(arguments: argparse.Namespace) -> int:
    """Print the code's page."""
    try:
        code = Code(arguments.code.upper())
    except ValueError:
        raise UsageError(
            f'"{clip(arguments.code)}" is no code; expected ENF- and four digits'
        ) from None
    meaning, remedy = PAGES[code]
    if is_json(arguments):
        print_json({"code": str(code), "meaning": meaning, "remedy": remedy})
    else:
        print(f"{code}  {code.name.lower().replace('_', ' ')}")
        print(f"  {meaning}")
        print(f"  {remedy}")
    return DONE
