"""`python -m enforcer` is the command line; `python -m enforcer.daemon` the daemon."""

import sys

from enforcer.cli.main import main


def command() -> int:
    """Be the command line, and have this process to oneself."""
    return main(alone=True)


if __name__ == "__main__":
    sys.exit(command())
