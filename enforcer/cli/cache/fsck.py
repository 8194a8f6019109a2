"""`cache fsck`: hash every cached file, and compare the index with what they say."""

import argparse

from enforcer.assembly import signature_cache
from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "--repair", action="store_true", help="put the damaged aside, index anew"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check, mend if asked to, and say what was found."""
    cache = signature_cache(settings_of(arguments))
    found = cache.check(repair=arguments.repair)
    if is_json(arguments):
        print_json(
            {
                "good": found.blobs,
                "damaged": list(found.damaged),
                "lost": list(found.lost),
                "unnamed": list(found.unnamed),
            }
        )
    else:
        for name in found.damaged:
            print(f"damaged: {clip(name)}" + (" (mended)" if arguments.repair else ""))
        for name in found.lost:
            print(f"lost: {name}; import it again")
        for name in found.unnamed:
            print(f"unnamed: {name}" + (" (mended)" if arguments.repair else ""))
        counts = (
            f"{len(found.damaged)} damaged, {len(found.lost)} lost, "
            f"{len(found.unnamed)} unnamed"
        )
        print(f"{found.blobs} good, {counts}")
    is_clean = arguments.repair or not (found.damaged or found.lost or found.unnamed)
    return DONE if is_clean else REFUSED
