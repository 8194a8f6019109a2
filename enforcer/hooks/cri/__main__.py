"""`python -m enforcer.hooks.cri`."""

import sys

from enforcer.hooks.cri.serve import main

if __name__ == "__main__":
    sys.exit(main())
