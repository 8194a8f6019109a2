"""A hundred signed containers started at once on a daemon that has just begun."""

from collections.abc import Callable

from tests.bench.measure import Group, Probe, interleave, rounds, rows
from tests.bench.stage import SIGNED, Stage
from tests.engines.containerd import Containerd
from tests.engines.crowd import CROWD, start_crowd
from tests.engines.dockerd import Dockerd

ROUNDS = 2  # each takes a minute


def measure(stage: Stage) -> Group:
    """Measure until the last one is up. One that is refused ends the measurement."""
    dockers = stage.dockers["containerd"]
    probes: dict[str, Probe] = {}
    baselines = {}
    for name, gated, bare in (
        ("ctr run", stage.gated, stage.bare),
        ("docker run", dockers.gated, dockers.bare),
    ):
        plain, asked = f"{name}, no gate", f"{name}, gate"
        probes |= {plain: _crowd(bare), asked: _crowd(gated, _cold(stage))}
        baselines[asked] = plain
    samples = interleave(probes, rounds(ROUNDS))
    return Group(f"{CROWD} at once, until the last is up", rows(samples, baselines))


def _cold(stage: Stage) -> Callable[[], None]:
    """Start enforcerd anew."""

    def restart() -> None:
        stage.host.stop()
        stage.host.start()

    return restart


def _crowd(
    engine: Containerd | Dockerd, before: Callable[[], None] | None = None
) -> Probe:
    def probe() -> float:
        if before:
            before()
        crowd = start_crowd(engine, SIGNED)
        if crowd.refusals:
            raise RuntimeError(f"refused: {crowd.refusals[0].strip()}")
        return crowd.seconds * 1000

    return probe
