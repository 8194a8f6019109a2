"""What a call of CRI costs more through the proxy, with and without a verdict."""

import time
from functools import partial

from tests.bench.measure import (
    Group,
    Probe,
    Row,
    interleave,
    milliseconds_since,
    rounds,
    rows,
    timed,
)
from tests.bench.stage import Stage
from tests.engines.images import describe
from tests.real.cri import Cri, Node, running_node

ROUNDS = 200
VERSION = ("RuntimeService/Version", b"")


def measure(_: Stage) -> Group:
    """Ask on both sockets in turn; a node of its own serves CRI."""
    with running_node("forky") as node, node.pod() as pod:
        image = node.image("bench")
        node.stage.sign(image)
        config = describe(image.layout).config
        ways = {"containerd.sock": node.direct, "cri.sock": node.proxied}
        probes: dict[str, Probe] = {}
        for name, cri in ways.items():
            probes[f"Version, {name}"] = timed(partial(cri.call, *VERSION))
        for name, cri in ways.items():
            probes[f"CreateContainer, {name}"] = _create(node, cri, pod, config)
        baselines = {
            name: name.replace("cri.sock", "containerd.sock")
            for name in probes
            if name.endswith("cri.sock")
        }
        samples = interleave(probes, rounds(ROUNDS))
        made = rows(samples, baselines)
        judged = [d for d in node.stage.host.decisions() if d["asked_by"] == "cri"]
        spent = [d["duration_ms"] for d in judged]
        made.append(Row("inside enforcerd, of CreateContainer", spent))
    return Group("a call of CRI", made)


def _create(node: Node, cri: Cri, pod: str, image: str) -> Probe:
    """Time the creation of a container, not its removal."""

    def probe() -> float:
        name = node.stage.name("bench")
        started = time.perf_counter()
        made = cri.create(pod, name, image)
        spent = milliseconds_since(started)
        node.direct.remove(made)
        return spent

    return probe
