"""What an enforcerd that was taken over may tell root."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from enforcer.cli.main import main

EVIL = "\x1b]0;all is well\x07\x1b[2J"


class Evil(pb_grpc.AdminServicer):
    """Says what a terminal would take for its own."""

    def Status(  # noqa: N802 - as the API has it
        self, request: pb.StatusRequest, context: grpc.ServicerContext
    ) -> pb.StatusResponse:
        found = pb.Standing(name=EVIL, reference=EVIL, standing=EVIL, message=EVIL)
        return pb.StatusResponse(
            version=EVIL,
            mode=EVIL,
            policy_path=EVIL,
            policy_problem=EVIL,
            notices=[EVIL, EVIL],
            engines=[pb.Engine(kind=EVIL, socket="/nowhere", root=EVIL)],
            doors=[pb.Door(name=EVIL, asked_at=1)],
            sweep=pb.Sweep(at=1, denied=1, found=[found], problems=[EVIL]),
        )


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """The run folder of such a daemon."""
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        server = grpc.server(ThreadPoolExecutor(1))
        pb_grpc.add_AdminServicer_to_server(Evil(), server)
        server.add_insecure_port(f"unix:{folder}/admin.sock")
        server.start()
        yield Path(folder)
        server.stop(None).wait()


@pytest.mark.parametrize("output", ["text", "json"])
def test_nothing_of_it_is_for_a_terminal(
    run_dir: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    """It judges hostile bytes, so that root need not; root's terminal is not its."""
    status = main(["status", "--run-dir", str(run_dir), "--output", output])

    told = capsys.readouterr()
    assert status == 4
    assert "all is well" in told.out
    assert "\x1b" not in told.out + told.err
    assert "\x07" not in told.out + told.err
