"""`enforcer cache`: fill and keep the signature cache. Needs no daemon."""

import argparse
import importlib
from typing import Any

# word -> the module that does it, and its line in --help
_WORDS = {
    "import": ("take", "take signatures from a layout, an archive or a registry"),
    "export": ("export", "write signatures, and images with them, for other hosts"),
    "list": ("listing", "every cached signature"),
    "remove": ("remove", "forget signatures"),
    "sync": ("sync", "ask registries, then lists and responders of revocation"),
    "fsck": ("fsck", "hash every cached file"),
    "gc": ("gc", "drop what is about no image on this host"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    for word, (module, line) in _WORDS.items():
        leaf = words.add_parser(word, help=line, description=line, allow_abbrev=False)
        _module(module).add_arguments(leaf)


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: no, unless the word says so."""
    module, _ = _WORDS[arguments.word]
    word = getattr(_module(module), "asks_nobody", None)
    return bool(word and word(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    module, _ = _WORDS[arguments.word]
    return int(_module(module).run(arguments))


def _module(name: str) -> Any:
    return importlib.import_module(f"enforcer.cli.cache.{name}")
