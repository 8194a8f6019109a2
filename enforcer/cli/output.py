"""How answers look: text for people, JSON for programs."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from enforcer.settings import Settings, load_settings

_COLOURS = {"green": "32", "red": "31", "dim": "2"}


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load enforcer.yaml as the global options say."""
    return load_settings(arguments.config_dir, arguments.state_dir, arguments.run_dir)


def is_json(arguments: argparse.Namespace) -> bool:
    """Whether a program reads this."""
    return bool(arguments.output == "json")


def print_json(value: Mapping[str, object] | Sequence[Mapping[str, object]]) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def coloured(text: str, colour: str) -> str:
    """Colour text on a terminal, unless NO_COLOR is set (no-color.org)."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"
