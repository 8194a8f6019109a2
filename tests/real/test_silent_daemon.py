"""A daemon that is away for a moment, and a gate that is not there at all."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from enforcer.gate.ask import DEADLINE_SECONDS
from tests.engines.process import wait_until
from tests.real.faults import GENERATIONS, is_asking, killed
from tests.real.stage import Done, Image, Stage, said

SOON_SECONDS = DEADLINE_SECONDS - 0.5  # that long the gate waits, whatever else happens
MAX_TRIES = 10  # a busy machine may take longer to start a daemon


@pytest.mark.alone
@pytest.mark.parametrize("generation", ["gated_containerd", "gated_docker"])
def test_a_start_during_a_restart_of_the_daemon_waits_for_it(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """An upgrade of enforcer must not cost anybody a container."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)

    done, seconds = _started_during_a_restart(stage, image)
    for _ in range(MAX_TRIES):
        if seconds < SOON_SECONDS:
            break
        done, seconds = _started_during_a_restart(stage, image)

    assert seconds < SOON_SECONDS
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")


def _started_during_a_restart(stage: Stage, image: Image) -> tuple[Done, float]:
    """Return what became of it, and when the daemon was back after its beginning."""
    began = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        with killed(stage):
            waiting = threads.submit(stage.run, image)
            wait_until(lambda: is_asking(stage), "the gate asks")
        seconds = time.monotonic() - began
        return waiting.result(), seconds


@pytest.mark.parametrize("state", ["missing", "not executable"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_without_a_usable_gate_nothing_starts(
    generation: str, state: str, request: pytest.FixtureRequest
) -> None:
    """The gate's folder holds the only runc, so losing it refuses everything."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)
    gate = stage.host.gate / "runc"

    if state == "missing":
        gate.unlink()
    else:
        gate.chmod(0o644)
    try:
        refused = stage.run(image)
    finally:
        stage.host.write_gate()
    back = stage.run(image)

    assert refused.returncode != 0
    assert image.text not in said(refused)
    assert "runc" in refused.stderr
    assert stage.verdicts(image) == [(True, "ENF-1000")]
    assert (back.returncode, back.stdout) == (0, f"{image.text}\n")
