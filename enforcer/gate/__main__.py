"""What the gate starts: `ask.main`, in a module that Python keeps compiled."""

import sys

sys.path.append(__file__.rsplit("/", 3)[0])  # -I hides it; last, so the library wins

from enforcer.gate.ask import main

sys.exit(main(sys.argv[1:]))
