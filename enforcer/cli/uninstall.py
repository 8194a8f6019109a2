"""`enforcer uninstall`: the undo program that install left, or the same code here."""

import argparse
import os
import sys
from pathlib import Path

from enforcer.files import FileMissingError, read_file
from enforcer.host.install import undo
from enforcer.host.install.look import MAX_PROGRAM_BYTES, PYTHON
from enforcer.host.install.plan import UNINSTALL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--dry-run", action="store_true", help="show all, change none")


def run(arguments: argparse.Namespace) -> int:
    """Become the program that was installed: it knows its own journal best."""
    words = ["--dry-run"] if arguments.dry_run else []
    words += ["--output", arguments.output]
    if _is_there(UNINSTALL):
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), "-I", "-S", str(UNINSTALL), *words])  # noqa: S606
    return undo.main(words)


def _is_there(program: Path) -> bool:
    try:
        read_file(program, max_bytes=MAX_PROGRAM_BYTES, trusted=True, follow=False)
    except FileMissingError:
        return False
    return True
