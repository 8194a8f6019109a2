"""`enforcer prove` where pods and pulls are: kubelet's doors, and the verifier's."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.path import REAL_RUNC, Release
from tests.engines.process import wait_until
from tests.real.cri import NAMESPACE, Cri, Node, running_node
from tests.real.proving import MARK, everything, kill_runs, left_behind, listed, prove
from tests.real.stage import Stage, containerd_stage

KILLS = 20 if os.environ.get("ENFORCER_SOAK") else 6
BINDIR = """
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{folder}"
"""
DOORS = {
    "containerd-task",
    "containerd-k8s",
    "containerd-handler:runc",
    "cri-pod",
    "cri-proxy",
}


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def node(engines: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """containerd 2.1 and 1.6 behind gate and proxy, with a signed pause image."""
    with running_node(request.param) as node:
        prove(node.stage)  # the engine makes some of its own folders late
        yield node


def _replaced(stage: Stage) -> None:
    gate = stage.host.gate / "runc"
    gate.unlink()
    gate.symlink_to(REAL_RUNC)


def test_every_door_of_a_node_refuses_and_nothing_stays(node: Node) -> None:
    """Its own pod runs for it, and is gone again."""
    before, before_listed = everything(node.stage), listed(node.stage)

    proof = prove(node.stage)

    assert proof.status == 0, proof
    assert proof.doors_that("refused") == DOORS
    assert {proof.of(door)["code"] for door in DOORS} == {"ENF-1001"}
    assert listed(node.stage) == before_listed
    assert everything(node.stage) - before == set()
    asked = {
        door: next(
            record["asked_by"]
            for record in node.stage.host.decisions()
            if record["id"] == proof.of(door)["decision"]
        )
        for door in DOORS
    }
    assert asked.pop("cri-proxy") == "cri"
    assert set(asked.values()) == {"gate"}


def test_a_node_whose_gate_is_the_real_runc_is_open(node: Node) -> None:
    """All but the proxy's door: that is enforcer's own."""
    before, before_listed = everything(node.stage), listed(node.stage)
    _replaced(node.stage)
    try:
        proof = prove(node.stage)
    finally:
        (node.stage.host.gate / "runc").unlink()
        node.stage.host.write_gate()

    assert proof.status == 5
    assert proof.doors_that("open") == DOORS - {"cri-proxy"}
    assert proof.of("cri-pod")["what"] == "its process ran (exit status 42)"
    assert proof.of("cri-proxy")["result"] == "refused"
    assert listed(node.stage) == before_listed
    assert everything(node.stage) - before == set()


def test_where_the_pods_own_image_is_refused_no_pod_starts(node: Node) -> None:
    """Refused by the gate with a decision, if not about our image."""
    pause = node.image("pause", name=SANDBOX_IMAGE, cmd=("/bin/sleep", "600"))
    try:
        proof = prove(node.stage, "--door", "cri-pod")
    finally:
        node.stage.sign(pause)

    assert proof.status == 0, proof
    assert proof.of("cri-pod")["result"] == "refused"
    assert "pause:1 is not signed" in proof.of("cri-pod")["what"]


@pytest.mark.parametrize("release", ["forky", "bookworm"])
def test_where_the_pause_image_is_not_there_no_pod_can_start(
    engines: Path, release: Release
) -> None:
    """As on a containerd that comes with CRI, and has no kubelet."""
    with containerd_stage(release, cri=True) as stage:
        proof = prove(stage)

    assert proof.status == 0, proof
    assert proof.of("cri-pod")["result"] == "skipped"
    assert "no pod can start here: " in proof.of("cri-pod")["what"]
    assert proof.of("containerd-task")["result"] == "refused"


def test_without_the_proxy_its_door_is_not_live(node: Node) -> None:
    """Nobody listens there, so nothing passes; the gate is still behind."""
    node.proxy.stop()
    node.proxy.socket.unlink(missing_ok=True)
    try:
        proof = prove(node.stage)
    finally:
        node.proxy.open()

    assert proof.status == 0, proof
    assert proof.of("cri-proxy")["result"] == "skipped"


def test_what_a_killed_run_left_on_a_node_is_removed_by_the_next(node: Node) -> None:
    """Its pods, too."""
    before = everything(node.stage) | listed(node.stage)

    kill_runs(node.stage, KILLS)
    proof = prove(node.stage)

    assert proof.status == 0, proof
    assert left_behind(node.stage, before) == set()


def test_what_only_looks_like_ours_is_left_alone_in_containerd_too(node: Node) -> None:
    """A namespace and an image by such a name, without what is in ours."""
    mark = f"{MARK}0123456789abcdef"
    ctr = node.stage.containerd.ctr
    image = node.image("mine")
    name = f"docker.io/library/{mark}:1"
    ctr("images", "tag", image.full, name, namespace=NAMESPACE)
    ctr("namespaces", "create", mark)

    prove(node.stage, "--door", "containerd-task")

    kept = listed(node.stage)
    ctr("namespaces", "remove", mark)
    ctr("images", "remove", "--sync", name, image.full, namespace=NAMESPACE)
    assert f"namespace {mark}" in kept
    assert f"{NAMESPACE} image {name} {image.digest}" in kept


def test_a_handler_that_lost_its_binary_name_is_found(engines: Path) -> None:
    """With the gate in no PATH, its handler then finds the runc that is there."""
    with containerd_stage(cri=True, by_name=True) as stage:
        healthy = prove(
            stage, "--door", "containerd-handler", "--door", "containerd-task"
        )
        (stage.containerd.programs / "runc").symlink_to(REAL_RUNC)
        second = prove(stage, "--door", "containerd-task")
        config = stage.containerd.config.read_text()
        lost = "\n".join(x for x in config.splitlines() if "BinaryName" not in x)
        stage.containerd.config.write_text(lost)
        stage.containerd.stop()
        stage.containerd.start()
        proof = prove(stage, "--door", "containerd-handler")

    assert healthy.status == 0, healthy
    assert healthy.of("containerd-handler:runc")["code"] == "ENF-1001"
    assert healthy.of("containerd-task")["result"] == "skipped"
    assert second.doors_that("open") == {"containerd-task"}
    assert proof.status == 5
    assert proof.doors_that("open") == {"containerd-handler:runc"}


@pytest.fixture(scope="module")
def pulling(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, Path]]:
    """containerd 2.1 with CRI, told to ask our verifier."""
    folder = tmp_path_factory.mktemp("verifiers") / "bin"
    config = BINDIR.format(folder=folder)
    with containerd_stage(cri=True, extra_config=config) as stage:
        stage.host.enforcer("gate", "--bindir", folder)
        prove(stage)
        yield stage, folder


PULLS = ("--door", "containerd-pull", "--door", "cri-pull")
PULL_DOORS = {"containerd-pull", "cri-pull"}


def test_pulls_are_refused_by_the_verifier_and_nothing_stays(
    pulling: tuple[Stage, Path],
) -> None:
    """From a registry that is there for that one image and moment."""
    stage, _ = pulling
    before, before_listed = everything(stage), listed(stage)

    proof = prove(stage, *PULLS)

    assert proof.status == 0, proof
    assert proof.doors_that("refused") == PULL_DOORS
    assert listed(stage) == before_listed
    assert everything(stage) == before


def _emptied(folder: Path) -> None:
    (folder / "00-enforcer").unlink()


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


def _outnumbered(folder: Path) -> None:
    for number in range(10):
        other = folder / f"00-0-{number}"
        other.write_text("#!/bin/sh\nexit 0\n")
        other.chmod(0o755)


@pytest.mark.parametrize("change", [_emptied, _gone, _outnumbered])
def test_pulls_that_nobody_is_asked_about_are_found(
    change: Callable[[Path], None], pulling: tuple[Stage, Path]
) -> None:
    """The image was pulled, and is gone again."""
    stage, folder = pulling
    before_listed = listed(stage)
    change(folder)
    try:
        proof = prove(stage, *PULLS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        stage.host.enforcer("gate", "--bindir", folder)

    assert proof.status == 5
    assert proof.doors_that("open") == PULL_DOORS
    assert f"the verifiers in {folder}" in proof.of("cri-pull")["what"]
    assert listed(stage) == before_listed


def test_a_damaged_verifier_refuses_but_proves_nothing(
    pulling: tuple[Stage, Path],
) -> None:
    """containerd could not run it, so nobody was asked."""
    stage, folder = pulling
    (folder / "00-enforcer").chmod(0o644)
    try:
        proof = prove(stage, *PULLS)
    finally:
        (folder / "00-enforcer").chmod(0o755)

    assert proof.status == 5
    assert proof.doors_that("not proven") == PULL_DOORS


def test_a_setting_that_has_kubelet_pull_past_the_verifier_is_found(
    engines: Path, tmp_path: Path
) -> None:
    """One line in containerd's configuration (facts 0.2)."""
    config = BINDIR.format(folder=tmp_path / "bin")
    config += '[plugins."io.containerd.cri.v1.images"]\n  use_local_image_pull = true\n'
    with containerd_stage(cri=True, extra_config=config) as stage:
        stage.host.enforcer("gate", "--bindir", tmp_path / "bin")
        before_listed = listed(stage)
        proof = prove(stage, *PULLS)
        after_listed = listed(stage)
        cri = Cri(stage.containerd.socket, tmp_path)
        wait_until(
            lambda: cri.call("ImageService/ListImages", b"") == b"", "CRI forgot"
        )
        cri.close()

    assert proof.status == 5
    assert proof.doors_that("open") == {"cri-pull"}
    assert proof.of("containerd-pull")["result"] == "refused"
    assert after_listed - before_listed <= {"namespace k8s.io"}
