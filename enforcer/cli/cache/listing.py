"""`cache list`: every cached signature."""

import argparse

from enforcer.cli.main import DONE
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.errors import clip
from enforcer.sources.cache import DiskCache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""


def run(arguments: argparse.Namespace) -> int:
    """Print a line, or an object, a signature."""
    cache = DiskCache(settings_of(arguments).cache_dir)
    entries = list(cache.entries())
    if is_json(arguments):
        print_json(
            [
                {
                    "subject": e.subject,
                    "signature": e.envelope,
                    "manifest": e.manifest,
                    "mediaType": e.media_type,
                }
                for e in entries
            ]
        )
        return DONE
    for entry in entries:
        shown = (entry.subject, entry.envelope, entry.media_type)
        print("  ".join(clip(text) for text in shown))
    return DONE
