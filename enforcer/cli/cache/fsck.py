"""`cache fsck`: hash every cached file."""

import argparse

from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import clip
from enforcer.sources.cache import DiskCache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "--repair", action="store_true", help="put the damaged aside, index anew"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check, mend if asked to, and say what was found."""
    cache = DiskCache(settings_of(arguments).cache_dir)
    found = cache.check(repair=arguments.repair)
    if is_json(arguments):
        damaged, lost = list(found.damaged), list(found.lost)
        print_json({"good": found.blobs, "damaged": damaged, "lost": lost})
    else:
        for name in found.damaged:
            print(f"damaged: {clip(name)}" + (" (mended)" if arguments.repair else ""))
        for name in found.lost:
            print(f"lost: {name}; import it again")
        counts = f"{len(found.damaged)} damaged, {len(found.lost)} lost"
        print(f"{found.blobs} good, {counts}")
    is_clean = arguments.repair or not (found.damaged or found.lost)
    return DONE if is_clean else REFUSED
