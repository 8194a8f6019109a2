"""Starts nobody types, and containers older than the policy: Docker's own restarts."""

import os
import signal

import pytest

from tests.engines.process import wait_until
from tests.real.stage import Image, Stage

STORES = pytest.mark.parametrize("generation", ["gated_docker", "gated_graph_docker"])
POLICIES = pytest.mark.parametrize("policy", ["always", "on-failure"])
SLEEP = ("/bin/sleep", "600")


def _stage(generation: str, request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.getfixturevalue(generation)
    return stage


def _asked(stage: Stage, container: str, wanted: str) -> str:
    words = ["inspect", f"--format={{{{{wanted}}}}}", container]
    return stage.docker.docker(*words).stdout.strip()


def _detach(stage: Stage, image: Image, *, restart: str) -> str:
    """Start a container of a signed image that lives until somebody kills it."""
    name = stage.name("service")
    stage.docker.docker(
        "run", "--detach", "--name", name, f"--restart={restart}",
        "--stop-signal=KILL", image.name,
    )  # fmt: skip
    return name


def _crash(stage: Stage, container: str) -> None:
    """Kill its process behind Docker's back, as a fault of its own would."""
    os.kill(int(_asked(stage, container, ".State.Pid")), signal.SIGKILL)


def _is_running(stage: Stage, container: str) -> bool:
    return _asked(stage, container, ".State.Status") == "running"


def _remove(stage: Stage, container: str) -> None:
    stage.docker.docker("rm", "--force", container)


@STORES
def test_an_older_container_is_judged_again_at_every_start(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """It was fine last week; what counts is whether it is fine now."""
    stage = _stage(generation, request)
    image, name = stage.image("hello"), stage.name("old")
    stage.sign(image)
    stage.docker.docker("run", "--name", name, image.name)

    stage.unsign(image)
    done = stage.docker.docker("start", "--attach", name, check=False)

    assert done.returncode == 1
    assert image.text not in done.stdout
    assert f"{image.name} is not signed" in done.stderr
    assert "[ENF-1001]" in done.stderr
    assert stage.verdicts(image) == [(True, "ENF-1000"), (False, "ENF-1001")]
    _remove(stage, name)


@STORES
def test_a_container_made_before_its_image_was_signed_starts_after(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Signing is enough: nothing has to be created again."""
    stage = _stage(generation, request)
    image, name = stage.image("hello"), stage.name("early")
    stage.docker.docker("create", "--name", name, image.name)
    refused = stage.docker.docker("start", "--attach", name, check=False)

    stage.sign(image)
    done = stage.docker.docker("start", "--attach", name, check=False)

    assert refused.returncode == 1
    assert "[ENF-1001]" in refused.stderr
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")
    _remove(stage, name)


@POLICIES
@STORES
def test_a_crashed_container_is_restarted_while_it_is_signed(
    generation: str, policy: str, request: pytest.FixtureRequest
) -> None:
    """The gate is in the way of the restart as well, and must not break it."""
    stage = _stage(generation, request)
    image = stage.image("service", cmd=SLEEP)
    stage.sign(image)
    name = _detach(stage, image, restart=policy)

    _crash(stage, name)
    wait_until(
        lambda: (
            _asked(stage, name, ".RestartCount") == "1" and _is_running(stage, name)
        ),
        "the crashed container runs again",
    )

    assert stage.verdicts(image) == [(True, "ENF-1000")] * 2
    _remove(stage, name)


@POLICIES
@STORES
def test_a_crashed_container_whose_signature_is_gone_stays_down(
    generation: str, policy: str, request: pytest.FixtureRequest
) -> None:
    """No client asks for this start, so only the gate can refuse it."""
    stage = _stage(generation, request)
    image = stage.image("service", cmd=SLEEP)
    stage.sign(image)
    name = _detach(stage, image, restart=policy)
    stage.unsign(image)

    _crash(stage, name)
    wait_until(
        lambda: (
            _asked(stage, name, ".State.Status") == "exited"
            and "ENF-1001" in _asked(stage, name, ".State.Error")
        ),
        "Docker gives the refused container up",
    )

    assert _asked(stage, name, ".State.Pid") == "0"
    verdicts = stage.verdicts(image)
    assert verdicts[0] == (True, "ENF-1000")
    assert set(verdicts[1:]) == {(False, "ENF-1001")}
    _remove(stage, name)


@STORES
def test_a_dockerd_that_starts_again_brings_up_only_what_is_signed(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """A reboot asks nobody; what lost its signature does not come back with it."""
    stage = _stage(generation, request)
    kept, lost = (stage.image(word, cmd=SLEEP) for word in ("kept", "lost"))
    for image in (kept, lost):
        stage.sign(image)
    up, down = (_detach(stage, image, restart="always") for image in (kept, lost))

    stage.unsign(lost)
    stage.docker.restart()
    wait_until(
        lambda: _is_running(stage, up) and len(stage.verdicts(lost)) > 1,
        "dockerd tried both containers",
    )

    assert not _is_running(stage, down)
    assert stage.verdicts(kept) == [(True, "ENF-1000")] * 2
    assert set(stage.verdicts(lost)[1:]) == {(False, "ENF-1001")}

    stage.sign(lost)
    again = stage.docker.docker("start", down, check=False)

    assert again.returncode == 0
    assert _is_running(stage, down)
    for name in (up, down):
        _remove(stage, name)
