"""What it costs that the engines are read by another process: the hop, and no more."""

import os
from functools import partial

from enforcer.assembly import engines, resolver
from enforcer.ports import ContainerRef
from enforcer.settings import load_settings
from tests.bench.measure import Group, interleave, rounds, rows, timed
from tests.bench.stage import Stage

ROUNDS = 200
_HERE, _THERE = "what would run, read here", "what would run, asked of the resolver"


def measure(stage: Stage) -> Group:
    """Resolve one container in this process, and through the resolver."""
    host = stage.host
    settings = load_settings(host.config, host.state, host.run)
    about = stage.signed
    container = ContainerRef(
        about.id, str(about.bundle), about.root, "create", os.getpid()
    )
    client = resolver(settings)
    probes = {
        _HERE: timed(partial(engines(settings).resolve, container)),
        _THERE: timed(partial(client.resolve, container)),
    }
    try:
        samples = interleave(probes, rounds(ROUNDS))
    finally:
        client.close()
    return Group("enforcerd to resolver", rows(samples, {_THERE: _HERE}))
