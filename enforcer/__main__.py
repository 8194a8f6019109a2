"""`python -m enforcer` is the command line; `python -m enforcer.daemon` the daemon."""

import sys

from enforcer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
