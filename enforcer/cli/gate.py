"""`enforcer gate`: write the gate, or the verifier of pulls, for this host."""

import argparse
import os
from pathlib import Path

from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import settings_of
from enforcer.files import FileError, make_folder, write_file
from enforcer.gate.render import render_gate, render_verifier

VERIFIER = "00-enforcer"  # containerd asks in the order of names, and ten at the most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--runc", type=Path, help="the real runc, outside every PATH")
    what.add_argument(
        "--bindir",
        type=Path,
        metavar="DIR",
        help=f"write {VERIFIER} into DIR, containerd's bin_dir, instead of the gate",
    )
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"))
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="where the engines find runc"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the gate, or write it or the verifier with mode 0755."""
    settings = settings_of(arguments)
    for program in filter(None, (arguments.runc, arguments.python)):
        if not os.access(program, os.X_OK):
            raise FileError(f"{program} is not a program", remedy="Name it absolutely.")
    folders = {
        "python": arguments.python,
        "run_dir": settings.run_dir,
        "config_dir": settings.config_dir,
        "log_dir": settings.log_dir,
    }
    place = arguments.write
    try:
        if arguments.bindir:
            text = render_verifier(**folders)
            make_folder(arguments.bindir, mode=0o755)
            place = arguments.bindir / VERIFIER
        else:
            text = render_gate(runc=arguments.runc, **folders)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if place:
        write_file(place, text.encode("ascii"), mode=0o755)
        print(f"wrote {place}")
    else:
        print(text, end="")
    return DONE
