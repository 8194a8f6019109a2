"""Pods are judged again while they run, the pause container as well as the others."""

from collections.abc import Iterator

import pytest

from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.path import Release
from tests.engines.process import wait_until
from tests.real.cri import NAMESPACE, Cri
from tests.real.stage import Image, Stage, containerd_stage
from tests.real.sweeping import SLEEP, hears, status

RELEASES: tuple[Release, ...] = ("forky", "bookworm")


@pytest.fixture(scope="module", params=RELEASES)
def stage(engines: object, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A containerd that serves CRI."""
    with containerd_stage(request.param, cri=True) as stage:
        yield stage


@pytest.fixture(scope="module")
def cri(stage: Stage) -> Iterator[Cri]:
    """A kubelet for it."""
    logs = stage.host.home / "pods"
    logs.mkdir()
    client = Cri(stage.containerd.socket, logs)
    yield client
    client.close()


def _image(stage: Stage, cri: Cri, word: str, name: str | None = None) -> Image:
    image = stage.image(word, name=name, cmd=SLEEP, namespace=NAMESPACE)
    wait_until(lambda: cri.has_image(image.full), "CRI has heard of the image")
    stage.sign(image)
    return image


def _pids(stage: Stage, *ids: str) -> list[bool]:
    tasks = stage.containerd.state / "io.containerd.runtime.v2.task" / NAMESPACE
    return [(tasks / id_ / "init.pid").exists() for id_ in ids]


def test_a_pods_containers_are_reported_by_name_and_stopped(
    stage: Stage, cri: Cri
) -> None:
    """kubelet would start them anew, and is refused by the gate."""
    pause = _image(stage, cri, "pause", SANDBOX_IMAGE)
    app = _image(stage, cri, "app")
    pod_name, name = stage.name("pod"), stage.name("app")
    pod = cri.run_pod(pod_name)
    container = cri.create(pod, name, app.full, called=app.full)
    cri.start(container)

    stage.unsign(app)
    hears(stage, container, "ENF-1001")
    stage.unsign(pause)
    hears(stage, pod, "ENF-1001")
    wait_until(lambda: status(stage)["denied"] == 2, "status has both")
    found = {one["container"]: one["name"] for one in status(stage)["found"]}
    before = _pids(stage, pod, container)
    stage.reconfigure(sweep={"onDenied": "stop", "graceSeconds": 2})
    hears(stage, pod, "ENF-1001", "ENF-2401")
    hears(stage, container, "ENF-1001", "ENF-2401")
    wait_until(
        lambda: _pids(stage, pod, container) == [False, False], "both have ended"
    )
    stage.reconfigure(sweep={"onDenied": "report"})

    assert found == {
        pod: f"default/{pod_name}",
        container: f"default/{pod}/{name}",  # our kubelet gives the id as its name
    }
    assert before == [True, True]
    cri.remove_pod(pod)
