"""`cache import`: take signatures from a layout or archive."""

import argparse
import sys

from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.targets import split_layout
from enforcer.core.errors import clip
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "source", help="oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST]"
    )


def run(arguments: argparse.Namespace) -> int:
    """Take what the source holds, and tell what was refused."""
    cache = DiskCache(settings_of(arguments).cache_dir)
    transport, _, rest = arguments.source.partition(":")
    if transport not in ("oci-layout", "oci-archive") or not rest:
        raise UsageError(
            f'"{clip(arguments.source)}" cannot be imported; expected oci-layout:DIR '
            "or oci-archive:FILE"
        )
    path, tag, digest = split_layout(rest)
    with open_layout(path, archive=transport == "oci-archive") as layout:
        if tag or digest:
            digest = layout.find(tag=tag, digest=digest).descriptor.digest
        count, refused = cache.add(layout.collect(digest))
    for item in refused:
        why = clip(item.why, limit=500)
        print(f"enforcer: refused {item.what}: {why}", file=sys.stderr)
    if is_json(arguments):
        listed = [{"what": item.what, "why": item.why} for item in refused]
        print_json({"signatures": count, "refused": listed})
    else:
        print(f"imported {count} signature(s) from {layout.name}")
    return REFUSED if refused else DONE
