"""`python -m enforcer` is the command line; `python -m enforcer.daemon` the daemon."""

import resource
import sys

from enforcer.cli.main import main


def command() -> int:
    """Be the command line, and have this process to oneself."""
    # A core dump would have keys and logins in it, and stay where somebody worked.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    return main(alone=True)


if __name__ == "__main__":
    sys.exit(command())
