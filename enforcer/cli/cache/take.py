"""`cache import`: take signatures from a layout, an archive or a registry."""

import argparse
import sys

from enforcer.cli.cache.take_registry import collect_from_registry
from enforcer.cli.main import DONE, REFUSED
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.targets import split_layout
from enforcer.core.errors import clip
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout

FORMS = (
    "oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST] or "
    "REGISTRY/REPOSITORY[:TAG][@DIGEST]"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument("source", help=FORMS)


def run(arguments: argparse.Namespace) -> int:
    """Take what the source holds, and tell what was refused."""
    settings = settings_of(arguments)
    cache = DiskCache(settings.cache_dir)
    transport, _, rest = arguments.source.partition(":")
    if transport not in ("oci-layout", "oci-archive") or not rest:
        items = collect_from_registry(arguments.source, settings, expected=FORMS)
        count, refused = cache.add(items)
        name = arguments.source
    else:
        path, tag, digest = split_layout(rest)
        with open_layout(path, archive=transport == "oci-archive") as layout:
            if tag or digest:
                digest = layout.find(tag=tag, digest=digest).descriptor.digest
            count, refused = cache.add(layout.collect(digest))
            name = layout.name
    for item in refused:
        why = clip(item.why, limit=500)
        print(f"enforcer: refused {item.what}: {why}", file=sys.stderr)
    if is_json(arguments):
        listed = [{"what": item.what, "why": item.why} for item in refused]
        print_json({"signatures": count, "refused": listed})
    else:
        print(f"imported {count} signature(s) from {name}")
    return REFUSED if refused else DONE
