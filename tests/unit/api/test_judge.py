"""From the sockets to the threads that judge: a failure there keeps nobody waiting."""

import asyncio
import time
from pathlib import Path

import pytest

from enforcer import ttrpc
from enforcer.api.ask import AskHandler
from enforcer.api.judge import Judge
from enforcer.api.services import VerifierService
from enforcer.api.sockets import Door, bind_socket
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.core.codes import Code
from enforcer.gate import ask
from tests.unit.test_admission import World

AT_ONCE_SECONDS = 2.5  # the gate itself would go on asking for four
CONTAINER = ttrpc.encode_fields((1, "c1"), (2, "/bundle"), (3, "/run"), (4, "create"))


def _without_threads(world: World) -> Judge:
    """Make one that gets no thread to judge in, as on a host without processes."""
    judge = Judge(world.admission(), deadline_seconds=3)
    judge.close()
    return judge


@pytest.mark.alone
async def test_without_threads_the_gate_is_refused_at_once(tmp_path: Path) -> None:
    """T-SK-12: a hang-up would have it ask again and again, for four seconds."""
    path = tmp_path / "ask.sock"
    handler = AskHandler(_without_threads(World()))
    listener = bind_socket(path, mode=0o600)
    listener.settimeout(0)
    door = Door(listener, handler, owner_only=True)
    await door.start()
    question = ttrpc.encode_fields((1, "gate"), (4, CONTAINER))
    call = ttrpc.Request(ask.SERVICE, "Verify", question)

    began = time.monotonic()
    answer = await asyncio.to_thread(ask.round_trip, str(path), call)
    door.stop()

    assert time.monotonic() - began < AT_ONCE_SECONDS
    found = pb.VerifyResponse.FromString(answer)
    assert (found.allowed, found.code) == (False, Code.INTERNAL)
    assert "RuntimeError" in found.message


async def test_without_threads_other_programs_are_refused_as_well() -> None:
    """grpcio would tell them that something is unknown."""
    service = VerifierService(_without_threads(World()))
    question = pb.VerifyRequest(reference="app:1", digest="sha256:" + "a" * 64)

    answer = await service.Verify(question, None)  # type: ignore[arg-type]

    assert (answer.allowed, answer.code) == (False, Code.INTERNAL)


async def test_a_refusal_without_threads_counts_as_one() -> None:
    """`enforcer status` must not look as if nobody had asked."""
    judge = _without_threads(World())
    service = VerifierService(judge)

    await service.Verify(pb.VerifyRequest(reference="app:1", digest="x"), None)  # type: ignore[arg-type]

    assert (judge.allowed, judge.denied) == (0, 1)
