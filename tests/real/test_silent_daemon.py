"""enforcerd stopped, killed or hung: nothing starts, and it says so in time."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.process import wait_until
from tests.real.stage import Done, Image, Stage, said

PROMISED_SECONDS = 5.0  # from the user's command to the refusal
GENERATIONS = (
    "gated_containerd",
    "gated_old_containerd",
    "gated_docker",
    "gated_graph_docker",
    "gated_old_docker",
)


@contextlib.contextmanager
def _away(stage: Stage, how: str) -> Iterator[None]:
    """Let the daemon be stopped, killed or hung for a while."""
    host = stage.host
    if how == "hung":
        pid = host.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
        return
    if how == "stopped":
        host.stop()
    else:
        host.kill()
    try:
        yield
    finally:
        host.start()


@dataclass(frozen=True, slots=True)
class _Start:
    """What became of one start, and how long its user waited."""

    done: Done
    seconds: float


def _run(stage: Stage, image: Image) -> _Start:
    began = time.monotonic()
    done = stage.run(image)
    return _Start(done, time.monotonic() - began)


@pytest.mark.parametrize(
    ("how", "code", "advice"),
    [
        ("stopped", "ENF-1601", "systemctl status enforcer"),
        ("killed", "ENF-1601", "systemctl status enforcer"),
        ("hung", "ENF-1602", "systemctl restart enforcer"),
    ],
)
def test_without_an_answer_nothing_starts_until_the_daemon_is_back(
    how: str, code: str, advice: str, request: pytest.FixtureRequest
) -> None:
    """Fail closed, in time, naming the service; then carry on with no restarts.

    All engines at once: each waits for its own daemon, and the waits add up.
    """
    stages: list[Stage] = [request.getfixturevalue(name) for name in GENERATIONS]
    images = [stage.image("hello") for stage in stages]
    for stage, image in zip(stages, images, strict=True):
        stage.sign(image)

    with contextlib.ExitStack() as absences, ThreadPoolExecutor() as threads:
        for stage in stages:
            absences.enter_context(_away(stage, how))
        refusals = list(threads.map(_run, stages, images))
    backs = [_run(stage, image) for stage, image in zip(stages, images, strict=True)]

    for image, refused, back in zip(images, refusals, backs, strict=True):
        assert refused.done.returncode != 0
        assert image.text not in said(refused.done)
        assert "enforcerd" in refused.done.stderr
        assert "nothing starts" in refused.done.stderr
        assert advice in refused.done.stderr
        assert f"[{code}]" in refused.done.stderr
        assert refused.seconds < PROMISED_SECONDS
        assert (back.done.returncode, back.done.stdout) == (0, f"{image.text}\n")


@pytest.mark.parametrize("generation", ["gated_containerd", "gated_docker"])
def test_a_start_during_a_restart_of_the_daemon_waits_for_it(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """An upgrade of enforcer must not cost anybody a container."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)

    with ThreadPoolExecutor(1) as threads, _away(stage, "stopped"):
        waiting = threads.submit(stage.run, image)
        wait_until(lambda: _is_asking(stage), "the gate asks")
    done = waiting.result()

    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")


def _is_asking(stage: Stage) -> bool:
    """Whether a gate of this host is running right now."""
    sock = f"\0{stage.host.run / 'ask.sock'}\0".encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if sock in process.read_bytes():
                return True
    return False


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
