"""Docker asks once when it boots; what it gave up comes up when the cause is gone."""

from collections.abc import Iterator

import pytest

from enforcer.sweep.restarts import LOOK_SECONDS
from tests.engines.dockerd import Store
from tests.engines.process import wait_until
from tests.real.acme import People, sign
from tests.real.authz import AuthzStage
from tests.real.stage import Image, Stage
from tests.real.sweeping import ENGINES, SLEEP, lives, status, swept_stage

UP_SECONDS = 3 * LOOK_SECONDS  # a look and a start, on a busy machine


@pytest.fixture(scope="module", params=["docker", "graph-docker", "old-docker"])
def stage(people: People, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Run a Docker of our own: it is stopped."""
    with swept_stage(ENGINES[request.param](), people.release) as stage:
        yield stage


def _service(stage: Stage, image: Image, policy: str) -> str:
    name = stage.name("service")
    stage.docker.docker(
        "run", "--detach", "--name", name, f"--restart={policy}",
        "--stop-signal=KILL", image.name,
    )  # fmt: skip
    return name


def _error(stage: Stage, name: str) -> str:
    form = "--format={{.State.Status}} {{.State.Error}}"
    return stage.docker.docker("inspect", form, name).stdout.strip()


def _restarts(stage: Stage) -> int:
    """How many containers the daemon has said that it started again."""
    return stage.host.log.count('"code": "ENF-2406"')


def test_what_a_late_daemon_refused_comes_up_and_nothing_else(
    stage: Stage, people: People
) -> None:
    """What nobody signed stays down until somebody does, what was stopped for good."""
    kept, lost = (stage.image(word, cmd=SLEEP) for word in ("kept", "lost"))
    for image in (kept, lost):
        sign(stage, image, people.release)
    always, unless = (_service(stage, kept, p) for p in ("always", "unless-stopped"))
    unsigned = _service(stage, lost, "always")
    by_hand = _service(stage, kept, "unless-stopped")
    stage.docker.docker("stop", by_hand)
    stage.unsign(lost)

    stage.docker.stop()
    stage.host.stop()
    stage.docker.start()
    for name in (always, unless, unsigned):
        wait_until(
            lambda: "[ENF-1601]" in _error(stage, name),  # noqa: B023 - called here
            "Docker gives it up",
        )
    stage.host.start()
    for name in (always, unless):
        wait_until(
            lambda: lives(stage, name),  # noqa: B023 - called here
            "it comes up by itself",
            UP_SECONDS,
        )
    told = _error(stage, unsigned)
    # Docker's answer to the daemon, and what that says then, come a little later.
    wait_until(lambda: _restarts(stage) >= 2, "it says so of both")
    restarted = status(stage)["restarted"]
    sign(stage, lost, people.release)
    wait_until(lambda: lives(stage, unsigned), "it comes up, too", UP_SECONDS)
    wait_until(lambda: _restarts(stage) >= 3, "it says so of all")

    assert told.startswith("exited ")
    assert "[ENF-1601]" in told
    assert restarted == 2
    assert not lives(stage, by_hand)
    assert _restarts(stage) == 3
    stage.docker.docker("rm", "--force", always, unless, unsigned, by_hand)


@pytest.mark.parametrize("store", ["containerd", "graphdriver"])
def test_behind_the_plug_in_what_is_denied_is_stopped_and_comes_back(
    people: People, store: Store
) -> None:
    """dockerd asks the plug-in about the sweep's own calls, too."""
    with swept_stage(AuthzStage(store), people.release) as stage:
        stage.reconfigure(sweep={"onDenied": "stop", "graceSeconds": 1})
        image = stage.image("app", cmd=SLEEP)
        sign(stage, image, people.release)
        name = _service(stage, image, "always")
        wait_until(lambda: status(stage)["running"] == 1, "the sweep knows it")

        stage.unsign(image)
        wait_until(lambda: not lives(stage, name), "it is stopped", UP_SECONDS)
        wait_until(lambda: status(stage)["stopped"] > 0, "status says so")
        stopped = status(stage)["stopped"]
        sign(stage, image, people.release)
        stage.docker.docker("start", name)

        assert stopped == 1
        assert lives(stage, name)
