"""What the daemon holds: memory and descriptors, idle and after many decisions."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.asking import AskClient, parse_answer, question
from tests.bench.grpc_clients import SyncClient, verify
from tests.bench.measure import Group, Row, rounds
from tests.bench.stage import SIGNED, UNSIGNED, Stage

DECISIONS = 1000  # half of them yes, half of them by gRPC
SETTLE_SECONDS = 1.0  # for start-up, and for closed connections to be noticed


@dataclass(frozen=True, slots=True)
class _Held:
    rss_mib: float
    pss_mib: float
    descriptors: int
    threads: int


def measure(stage: Stage) -> Group:
    """Start the daemon anew and let it decide DECISIONS times, and as often again."""
    stage.host.stop()
    stage.host.start()
    count = rounds(DECISIONS)
    held = {"idle": _look(stage.host.pid)}
    for times in (1, 2):
        _decide(stage, count)
        held[f"after {times * count} decisions"] = _look(stage.host.pid)
    made: list[Row] = []
    for name, attribute, unit in (
        ("RSS", "rss_mib", "MiB"),
        ("PSS", "pss_mib", "MiB"),
        ("descriptors", "descriptors", ""),
        ("threads", "threads", ""),
    ):
        idle: Row | None = None
        for when, found in held.items():
            row = Row(f"{name}, {when}", [getattr(found, attribute)], idle, unit)
            idle = idle or row
            made.append(row)
    return Group("enforcerd's memory (two containerds, policy, cache)", made)


def _decide(stage: Stage, count: int) -> None:
    with _clients(stage) as (gate, grpc_client):
        for number in range(count):
            signed = number % 2 == 0
            if number % 4 < 2:
                gate.connect()
                about = stage.signed if signed else stage.unsigned
                answer = parse_answer(gate.call(question(about)))
            else:
                tag = SIGNED if signed else UNSIGNED
                answer = grpc_client.ask(verify(tag, stage.digests[tag]))
            if answer.allowed is not signed:
                said = f"{answer.message} [{answer.code}]"
                raise RuntimeError(f"decision {number} is wrong: {said}")


@contextlib.contextmanager
def _clients(stage: Stage) -> Iterator[tuple[AskClient, SyncClient]]:
    with contextlib.ExitStack() as stack:
        gate = AskClient(stage.host.run / "ask.sock")
        stack.callback(gate.close)
        grpc_client = SyncClient(stage.host.run / "enforcer.sock")
        stack.callback(grpc_client.close)
        yield gate, grpc_client


def _look(pid: int) -> _Held:
    time.sleep(SETTLE_SECONDS)
    process = Path(f"/proc/{pid}")
    kib = {}
    for line in (process / "smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        kib[name] = int(value)
    return _Held(
        kib["Rss:"] / 1024,
        kib["Pss:"] / 1024,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )
