"""What a container's start costs more with the gate: ctr run and docker run."""

import itertools
from collections.abc import Callable

from tests.bench.measure import Group, Probe, Row, interleave, rounds, rows, timed
from tests.bench.stage import SIGNED, STORES, Stage
from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.images import full_name

ROUNDS = 15


def measure(stage: Stage) -> Group:
    """Start and remove a container of the signed image, over and over."""
    before = len(stage.host.decisions())
    probes: dict[str, Probe] = {}
    baselines = {}
    for name, gated, bare in _commands(stage):
        plain, asked = f"{name}, no gate", f"{name}, gate"
        probes |= {plain: timed(bare), asked: timed(gated)}
        baselines[asked] = plain
    samples = interleave(probes, rounds(ROUNDS))
    made = rows(samples, baselines)
    return Group("container start to end (echo)", [*made, *_inside(stage, before)])


def _commands(
    stage: Stage,
) -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    found = [("ctr run", _ctr_run(stage.gated), _ctr_run(stage.bare))]
    for store in STORES:
        pair = stage.dockers[store]
        name = f"docker run ({store})"
        found.append((name, _docker_run(pair.gated), _docker_run(pair.bare)))
    return found


def _ctr_run(engine: Containerd) -> Callable[[], object]:
    numbers = itertools.count()

    def start() -> object:
        name = engine.container_id(f"run{next(numbers)}")
        return engine.ctr("run", "--rm", full_name(SIGNED), name)

    return start


def _docker_run(engine: Dockerd) -> Callable[[], object]:
    return lambda: engine.docker("run", "--rm", "--network=none", SIGNED)


def _inside(stage: Stage, before: int) -> list[Row]:
    """The part of the gated starts that enforcerd noted down as its own."""
    found = stage.host.decisions()[before:]
    ours = stage.gated.home.name
    by_docker = [d["duration_ms"] for d in found if not d["container"].startswith(ours)]
    by_ctr = [d["duration_ms"] for d in found if d["container"].startswith(ours)]
    return [
        Row("inside enforcerd, of ctr run", by_ctr),
        Row("inside enforcerd, of docker run", by_docker),
    ]
