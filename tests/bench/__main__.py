"""`make bench`: medians and ratios of what enforcer costs, on private real engines."""

import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import grpc

from tests.bench import (
    algorithms,
    cri,
    crowds,
    decisions,
    hop,
    memory,
    ready,
    scale,
    spawns,
    starts,
    sweeps,
)
from tests.bench.measure import Group
from tests.bench.stage import Stage
from tests.bench.table import render
from tests.engines.images import BUSYBOX
from tests.engines.path import ENGINES, REAL_RUNC
from tests.engines.process import EngineError

SECTIONS: dict[str, Callable[[Stage], Group]] = {
    "starts": starts.measure,
    "crowds": crowds.measure,
    "decisions": decisions.measure,
    "hop": hop.measure,
    "cri": cri.measure,
    "spawns": spawns.measure,
    "sweeps": sweeps.measure,
    "memory": memory.measure,
    "ready": ready.measure,
    "algorithms": algorithms.measure,
    "scale": scale.measure,
}


def main(names: list[str]) -> int:
    """Measure all sections, or those named; return the exit status."""
    problem = _problem(names)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    chosen = {name: SECTIONS[name] for name in names} or SECTIONS
    began, groups, status = time.monotonic(), list[Group](), 0
    try:
        with Stage(docker=bool({"starts", "crowds"} & set(chosen))) as stage:
            for name, measure in chosen.items():
                print(f"measuring {name} ...", file=sys.stderr)
                groups.append(measure(stage))
    except KeyboardInterrupt:
        print("interrupted; everything is removed", file=sys.stderr)
        status = 130
    except (EngineError, grpc.RpcError, RuntimeError, OSError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        status = 1
    if groups:
        print(_about(time.monotonic() - began))
        print(render(groups))
    return status


def _problem(names: list[str]) -> str:
    """Say why nothing can be measured here, or nothing."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        return f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}"
    if os.geteuid() != 0:
        return "make bench starts real engines and must be run as root"
    needed = (ENGINES / "VERSIONS", REAL_RUNC, BUSYBOX)
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        return f"missing: {', '.join(missing)}; run: make engines"
    return ""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop once; what removes the engines must not be stopped half-way."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _about(seconds: float) -> str:
    """Say where and how this was measured, as no figure means anything without."""
    load = Path("/proc/loadavg").read_text().split()[0]
    return (
        f"{os.cpu_count()} CPUs, load {load}, Python {platform.python_version()}, "
        f"{seconds:.0f} s. Rows of a group took turns; ratios are of medians."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
