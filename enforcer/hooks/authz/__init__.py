"""Docker's authorization plug-in: refuses at `docker create`, long before the gate.

The gate alone decides what starts. This door makes the refusal early and readable, and
closes ways around the gate that Docker's API offers: other runtimes, plug-ins, builds.
"""
