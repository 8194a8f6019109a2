"""What the gate and the verifier start, for modules that Python keeps compiled."""

import sys

sys.path.append(__file__.rsplit("/", 3)[0])  # -I hides it; last, so the library wins

if sys.argv[1] == "pull":
    from enforcer.gate.pull import main
else:
    from enforcer.gate.ask import main

sys.exit(main(sys.argv[1:]))
