"""`cache gc`: drop what is about no image on this host, and was not imported of late.

Which images there are is read from the stores of all engines that enforcer.yaml lists;
where one cannot be read, nothing is dropped (ENF-1405, exit 3).
"""

import argparse

from enforcer.assembly import signature_cache
from enforcer.cli.cache.present import present_images
from enforcer.cli.main import DONE
from enforcer.cli.output import is_json, print_json, settings_of

KEEP_DAYS = 30  # a stick may come that long before its image
MAX_DAYS = 36_500
_DAY_SECONDS = 24 * 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would go, and drop nothing"
    )
    parser.add_argument(
        "--keep-days",
        type=_days,
        default=KEEP_DAYS,
        metavar="N",
        help="keep what was imported within N days (default: %(default)s)",
    )


def asks_nobody(_: argparse.Namespace) -> bool:
    """Whether this needs no internet: it asks this host's engines alone."""
    return True


def run(arguments: argparse.Namespace) -> int:
    """Drop, and say how much."""
    settings = settings_of(arguments)
    gone = signature_cache(settings).gc(
        present_images(settings),
        keep_seconds=arguments.keep_days * _DAY_SECONDS,
        dry_run=arguments.dry_run,
    )
    if is_json(arguments):
        print_json(
            {
                "dropped": not arguments.dry_run,
                "signatures": gone.signatures,
                "contents": gone.contents,
                "strays": gone.strays,
                "files": gone.files,
                "bytes": gone.bytes,
            }
        )
    else:
        verb = "would drop" if arguments.dry_run else "dropped"
        print(
            f"{verb} {gone.signatures} signature(s), {gone.contents} manifest(s) and "
            f"{gone.strays} stray file(s): {gone.files} files, {gone.bytes} bytes"
        )
    return DONE


def _days(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > MAX_DAYS:
        raise argparse.ArgumentTypeError(f"expected days from 0 to {MAX_DAYS}")
    return int(text)
