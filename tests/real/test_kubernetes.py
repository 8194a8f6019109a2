"""What kubelet starts: the pause container of a pod, and the containers in it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.images import describe
from tests.engines.path import Release
from tests.engines.process import wait_until
from tests.real.cri import Cri, CriError
from tests.real.stage import Image, Stage, containerd_stage

NAMESPACE = "k8s.io"
Words = tuple[str, ...] | None


SETUPS: dict[str, tuple[Release, bool]] = {
    "2.1-PATH": ("forky", False),
    "2.1-BinaryName": ("forky", True),
    "1.6-PATH": ("bookworm", False),
}


@pytest.fixture(scope="module", params=SETUPS)
def stage(engines: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A containerd that serves CRI, and finds the gate one way or the other."""
    release, by_name = SETUPS[request.param]
    with containerd_stage(release, cri=True, by_name=by_name) as stage:
        yield stage


@pytest.fixture(scope="module")
def cri(stage: Stage) -> Iterator[Cri]:
    """A kubelet for it."""
    logs = stage.host.home / "pods"
    logs.mkdir()
    client = Cri(stage.containerd.socket, logs)
    yield client
    client.close()


@pytest.fixture(scope="module")
def pause(stage: Stage, cri: Cri) -> Image:
    """The image of every pod's first container, not signed yet."""
    return _image(stage, cri, "pause", name=SANDBOX_IMAGE)


@pytest.fixture
def pod(stage: Stage, cri: Cri, pause: Image) -> Iterator[str]:
    """A running pod, whose pause image is signed."""
    stage.sign(pause)
    pod = cri.run_pod(stage.name("pod"))
    yield pod
    cri.remove_pod(pod)


def _image(
    stage: Stage, cri: Cri, word: str, *, name: str | None = None, cmd: Words = None
) -> Image:
    cmd = ("/bin/sleep", "600") if name else cmd
    image = stage.image(word, name=name, cmd=cmd, namespace=NAMESPACE)
    wait_until(lambda: cri.has_image(image.full), "CRI has heard of the image")
    return image


def test_a_pod_starts_once_its_pause_image_is_signed(
    stage: Stage, cri: Cri, pause: Image
) -> None:
    """Kubernetes runs it on every node, and nobody looks at it."""
    stage.host.enforcer("cache", "remove", pause.digest, check=False)

    with pytest.raises(CriError) as caught:
        cri.run_pod(stage.name("pod"))
    stage.sign(pause)
    pod = cri.run_pod(stage.name("pod"))
    cri.remove_pod(pod)

    assert "pause:1 is not signed" in str(caught.value)
    assert "[ENF-1001]" in str(caught.value)
    assert set(stage.verdicts(pause)) == {(False, "ENF-1001"), (True, "ENF-1000")}


@pytest.mark.parametrize("named_by", ["name", "id"])
def test_a_container_of_a_pod_starts_once_its_image_is_signed(
    named_by: str, stage: Stage, cri: Cri, pod: str
) -> None:
    """kubelet names images by the id it resolved; the verdict is by their names."""
    image = _image(stage, cri, "app")
    asked = describe(image.layout).config if named_by == "id" else image.full
    early, late = stage.name("app"), stage.name("app")

    refused = cri.create(pod, early, asked, called=image.full)
    with pytest.raises(CriError) as caught:
        cri.start(refused)
    stage.sign(image)
    cri.start(cri.create(pod, late, asked, called=image.full))
    wait_until(lambda: image.text in cri.output(late), "the container has run")

    assert "is not signed" in str(caught.value)
    assert "[ENF-1001]" in str(caught.value)
    assert image.text not in cri.output(early)
    codes = {r["container"]: r["code"] for r in stage.host.decisions()}
    assert codes[refused] == "ENF-1001"


def test_the_name_a_user_typed_does_not_vouch_for_another_image(
    stage: Stage, cri: Cri, pod: str
) -> None:
    """It is a claim of whoever calls (facts/hooks.md, 0.3); the id is what runs."""
    good, evil = (_image(stage, cri, word) for word in ("good", "evil"))
    stage.sign(good)
    name = stage.name("app")

    claimed = cri.create(pod, name, describe(evil.layout).config, called=good.full)
    with pytest.raises(CriError) as caught:
        cri.start(claimed)

    assert "[ENF-1001]" in str(caught.value)
    assert evil.text not in cri.output(name)


def test_the_pause_image_is_offered_to_be_exempted(stage: Stage, pause: Image) -> None:
    """By digest, to paste; nothing is exempt because somebody asked."""
    done = stage.host.enforcer("policy", "system-images", "-o", "json")

    found = json.loads(done.stdout)["exempt"]
    if stage.containerd.release == "bookworm":  # 1.6 marks none of its own
        assert found == []
        return
    assert [(item["digest"], item["role"]) for item in found] == [
        (pause.digest, "sandbox")
    ]
    assert pause.full in found[0]["reason"]
    text = stage.host.enforcer("policy", "system-images").stdout
    assert text.splitlines()[0].startswith("# Nothing is changed.")
    assert yaml.safe_load(text)["exempt"][0]["digest"] == pause.digest


@pytest.mark.parametrize("named_by", ["name", "id"])
def test_an_image_volume_of_a_pod_is_judged_as_well(
    named_by: str, stage: Stage, cri: Cri, pod: str
) -> None:
    """KEP-4639 brings files in without running their image."""
    if stage.containerd.release == "bookworm":
        pytest.skip("containerd 1.6 has no image volumes")
    words = ("/bin/cat", "/mnt/0/message")
    good, evil = (_image(stage, cri, word, cmd=words) for word in ("good", "evil"))
    stage.sign(good)
    asked = describe(evil.layout).config if named_by == "id" else evil.full
    early, late = stage.name("app"), stage.name("app")

    refused = cri.create(pod, early, good.full, mounts=[asked])
    with pytest.raises(CriError) as caught:
        cri.start(refused)
    stage.sign(evil)
    cri.start(cri.create(pod, late, good.full, mounts=[asked]))
    wait_until(lambda: evil.text in cri.output(late), "the container has run")

    assert f"{evil.full} mounted at /mnt/0 is not signed" in str(caught.value)
    assert "[ENF-1001]" in str(caught.value)
    assert evil.text not in cri.output(early)
