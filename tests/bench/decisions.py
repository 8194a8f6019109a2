"""What a decision costs on a connection, against a call that does nothing."""

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.asking import NO_SUCH_METHOD, AskClient, parse_answer, question
from tests.bench.grpc_clients import AioClient, SyncClient, check, verify
from tests.bench.measure import Group, Probe, Row, interleave, rounds, rows, timed
from tests.bench.stage import SIGNED, Stage

ROUNDS = 100
LINE_BYTES = 1800  # of the audit log: an allow with one signature


def measure(stage: Stage) -> Group:
    """Ask about the signed image through both doors, connected and connecting."""
    run = stage.host.run
    before = len(stage.host.decisions())
    with contextlib.ExitStack() as stack:
        aio = AioClient(run / "enforcer.sock")
        stack.callback(aio.close)
        blocking = SyncClient(run / "enforcer.sock")
        stack.callback(blocking.close)
        gate = AskClient(run / "ask.sock")
        stack.callback(gate.close)
        _require_yes(stage, gate, blocking)
        decide = verify(SIGNED, stage.digests[SIGNED])
        ask = question(stage.signed)
        pairs: list[tuple[str, Probe, Probe]] = [
            ("ttrpc", partial(gate.warm, NO_SUCH_METHOD), partial(gate.warm, ask)),
            (
                "ttrpc, connecting",
                partial(gate.cold, NO_SUCH_METHOD),
                partial(gate.cold, ask),
            ),
        ]
        for name, client in (("grpc.aio", aio), ("grpc", blocking)):
            warm, cold = client.warm, client.cold
            pairs += [
                (name, partial(warm, check), partial(warm, decide)),
                (f"{name}, connecting", partial(cold, check), partial(cold, decide)),
            ]
        probes: dict[str, Probe] = {}
        baselines = {}
        for name, nothing, decision in pairs:
            probes |= {f"{name}: no-op": nothing, f"{name}: decision": decision}
            baselines[f"{name}: decision"] = f"{name}: no-op"
        probes["connect and close, ask.sock"] = timed(partial(_touch, run / "ask.sock"))
        sync = stack.enter_context(_disk(stage.host.state / "bench"))
        probes[f"write {LINE_BYTES} bytes, fsync"] = sync
        made = rows(interleave(probes, rounds(ROUNDS)), baselines)
    return Group(
        "decision about a signed image (one Python client, one call at a time)",
        [*made, *_inside(stage, before)],
    )


def _require_yes(stage: Stage, gate: AskClient, client: SyncClient) -> None:
    """Do not measure how fast something else than a yes comes."""
    gate.connect()
    for answer in (
        parse_answer(gate.call(question(stage.signed))),
        client.ask(verify(SIGNED, stage.digests[SIGNED])),
    ):
        if not answer.allowed:
            said = f"{answer.message} [{answer.code}]"
            raise RuntimeError(f"the signed image is refused: {said}")


def _touch(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[Probe]:
    """The least that an audit line on the disk can cost."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write() -> None:
        os.write(handle, b"x" * LINE_BYTES)
        os.fsync(handle)

    try:
        yield timed(write)
    finally:
        os.close(handle)


def _inside(stage: Stage, before: int) -> list[Row]:
    """What enforcerd noted down itself: judging, without thread, socket and disk."""
    found = stage.host.decisions()[before:]
    return [
        Row(
            f"inside enforcerd, judging: {shown}",
            [line["duration_ms"] for line in found if line["asked_by"] == door],
        )
        for door, shown in (("gate", "ttrpc"), ("bench", "grpc"))
    ]
