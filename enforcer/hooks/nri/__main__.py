"""`python -m enforcer.hooks.nri`."""

import sys

from enforcer.hooks.nri.plugin import main

if __name__ == "__main__":
    sys.exit(main())
