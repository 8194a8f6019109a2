"""`cache remove`: forget signatures."""

import argparse

from enforcer.assembly import signature_cache
from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.targets import parse_digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument("digest", nargs="+", help="of a signature or of its subject")


def run(arguments: argparse.Namespace) -> int:
    """Remove, and say how many."""
    cache = signature_cache(settings_of(arguments))
    digests = [parse_digest(text) for text in arguments.digest]
    count = sum(cache.remove(digest) for digest in digests)
    if is_json(arguments):
        print_json({"removed": count})
    else:
        print(f"removed {count} signature(s)")
    return DONE if count else REFUSED
