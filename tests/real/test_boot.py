"""A host that boots: Docker brings back what restarts always, and asks only once.

Docker gives a container up that is refused at boot, so the gate has to wait for a
daemon that starts later than the engines do.
"""

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.process import wait_until
from tests.real.stage import Image, Stage, docker_stage

pytestmark = pytest.mark.alone  # it measures deadlines

BOOTS = 20 if os.environ.get("ENFORCER_SOAK") else 6
EARLY = -1.0
SECONDS_LATE = (EARLY, 0.0, 0.5, 1.0, 2.0, 2.5)  # against the engines, in turns


@pytest.fixture(scope="module")
def stage(engines: Path) -> Iterator[Stage]:
    """A Docker of our own: it is stopped over and over."""
    with docker_stage("containerd") as stage:
        yield stage


def _service(stage: Stage, image: Image) -> str:
    name = stage.name("service")
    stage.docker.docker(
        "run", "--detach", "--name", name, "--restart=always",
        "--stop-signal=KILL", image.name,
    )  # fmt: skip
    return name


def _state(stage: Stage, name: str) -> str:
    form = "--format={{.State.Status}} {{.State.Error}}"
    return stage.docker.docker("inspect", form, name).stdout.strip()


def _power_off(stage: Stage) -> None:
    stage.docker.stop()
    stage.docker.containerd.stop()
    stage.host.stop()


def _boot(stage: Stage) -> None:
    stage.docker.containerd.start()
    stage.docker.start()


def _boot_with_daemon(stage: Stage, *, seconds_late: float) -> None:
    """Start the engines, and enforcerd so much later than those."""
    if seconds_late == EARLY:
        stage.host.start()
        _boot(stage)
        return
    later = threading.Timer(seconds_late, stage.host.start)
    later.start()
    _boot(stage)
    later.join()


def test_what_restarts_always_comes_up_if_it_is_signed_and_only_then(
    stage: Stage,
) -> None:
    """However the daemon and the engines race."""
    kept, lost = (stage.image(w, cmd=("/bin/sleep", "600")) for w in ("kept", "lost"))
    for image in (kept, lost):
        stage.sign(image)
    up, down = _service(stage, kept), _service(stage, lost)
    stage.unsign(lost)

    for number, late in zip(range(BOOTS), itertools.cycle(SECONDS_LATE), strict=False):
        before = len(stage.verdicts(lost))
        _power_off(stage)
        _boot_with_daemon(stage, seconds_late=late)
        wait_until(
            lambda: (
                _state(stage, up).startswith("running")
                and len(stage.verdicts(lost)) > before  # noqa: B023 - called here
            ),
            f"boot {number}, daemon {late:g} s late: the signed one is up",
        )
        assert _state(stage, down).startswith("exited")
        assert "[ENF-1001]" in _state(stage, down)

    print(f"{BOOTS} cold starts, daemon early and up to {max(SECONDS_LATE):g} s late")
    assert set(stage.verdicts(kept)) == {(True, "ENF-1000")}
    assert set(stage.verdicts(lost)[1:]) == {(False, "ENF-1001")}
    stage.docker.docker("rm", "--force", up, down)


def test_a_daemon_later_than_the_gate_waits_is_named_in_the_containers_state(
    stage: Stage,
) -> None:
    """Closed, and for an operator to see and mend: Docker does not try again."""
    kept = stage.image("kept", cmd=("/bin/sleep", "600"))
    stage.sign(kept)
    name = _service(stage, kept)

    _power_off(stage)
    _boot(stage)
    wait_until(lambda: "ENF-1601" in _state(stage, name), "Docker gives it up")
    told = _state(stage, name)
    stage.host.start()
    stage.docker.docker("start", name)

    print(told)
    assert told.startswith("exited ")
    assert "[ENF-1601]; next: systemctl status enforcer" in told
    assert _state(stage, name).startswith("running")
    stage.docker.docker("rm", "--force", name)
