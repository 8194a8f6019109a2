"""`enforcer gate`: write the gate for this host, to be put in place by hand."""

import argparse
import os
from pathlib import Path

from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import settings_of
from enforcer.files import FileError, write_file
from enforcer.gate.render import render_gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "--runc", type=Path, required=True, help="the real runc, outside every PATH"
    )
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"))
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="where the engines find runc"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the gate, or write it with mode 0755."""
    settings = settings_of(arguments)
    for program in (arguments.runc, arguments.python):
        if not os.access(program, os.X_OK):
            raise FileError(f"{program} is not a program", remedy="Name it absolutely.")
    try:
        text = render_gate(
            runc=arguments.runc,
            python=arguments.python,
            run_dir=settings.run_dir,
            config_dir=settings.config_dir,
            log_dir=settings.log_dir,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arguments.write:
        write_file(arguments.write, text.encode("ascii"), mode=0o755)
        print(f"wrote {arguments.write}")
    else:
        print(text, end="")
    return DONE
