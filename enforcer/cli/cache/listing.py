"""`cache list`: every cached signature, and where it came from.

`-o json` prints a list of: subject, signature (its envelope), manifest (digests),
mediaType, origins (place and at, the newest first; nobody vouches for them).
"""

import argparse

from enforcer.assembly import signature_cache
from enforcer.cli.main import DONE
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import clip
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.sources.cache import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""


def run(arguments: argparse.Namespace) -> int:
    """Print a line, or an object, a signature."""
    cache = signature_cache(settings_of(arguments))
    if is_json(arguments):
        print_json([_members(entry) for entry in cache.entries()])
        return DONE
    for entry in cache.entries():
        newest = (f"{o.place} at {format_rfc3339(o.at)}" for o in entry.origins[:1])
        shown = (entry.subject, entry.envelope, entry.media_type, *newest)
        print("  ".join(clip(text) for text in shown))
    return DONE


def _members(entry: Entry) -> dict[str, object]:
    return {
        "subject": entry.subject,
        "signature": entry.envelope,
        "manifest": entry.manifest,
        "mediaType": entry.media_type,
        "origins": [
            {"place": origin.place, "at": format_rfc3339(origin.at)}
            for origin in entry.origins
        ],
    }
