"""The matrix of facts/hooks.md, section 1: every way in, on every engine.

A cell is claimed, and then an image is refused there while nobody signed it, and
starts once somebody did; or it has a test of its own; or it is not claimed, and then
README.md says so. What an engine does not have has no cell.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.entry_paths import (
    Outcome,
    compose_up,
    create_and_start,
    restart,
    restart_monitor,
    restore,
    run,
    run_by_id,
    run_in_k8s,
    runtime_runc,
    runtime_shim,
    swarm_task,
)
from tests.real.stage import Image, Signing, Stage, said

CONTAINERDS = ("containerd", "old_containerd")
DOCKERS = ("docker", "graph_docker", "old_docker")
NEW_DOCKERS = ("docker", "graph_docker")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A way in that is tried here; what the image is and who signs it differs."""

    start: Callable[[Stage, Image], Outcome]
    engines: tuple[str, ...]
    top: str = "manifest"
    by: Signing = "notation"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A way in that has a test of its own: it takes a kubelet, or a switch."""

    path: str
    test: str


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """A way in that stays open; what README.md says about it."""

    path: str
    line: str


MATRIX: list[Claimed | Elsewhere | NotClaimed] = [
    Claimed(run, (*CONTAINERDS, *DOCKERS)),
    Claimed(run, ("containerd", "docker", "graph_docker"), by="enforcer"),
    Claimed(run, ("containerd", "graph_docker"), by="notation-cose"),
    Claimed(run, ("containerd", *DOCKERS), top="index"),
    Claimed(run, ("containerd", "old_containerd", "docker"), "index", "enforcer"),
    Claimed(run, ("docker",), "index", "notation-cose"),
    Claimed(run_in_k8s, CONTAINERDS),
    Claimed(run_in_k8s, ("containerd",), top="index"),
    Claimed(run_by_id, NEW_DOCKERS),
    Claimed(create_and_start, DOCKERS),
    Claimed(restart, DOCKERS),
    Claimed(runtime_runc, DOCKERS),
    Claimed(runtime_shim, NEW_DOCKERS),
    Claimed(compose_up, NEW_DOCKERS),
    Claimed(swarm_task, ("lone_docker",)),
    Claimed(restore, ("lone_docker",)),
    Claimed(restart_monitor, CONTAINERDS),
    Elsewhere("ctr run --rootfs", f"{__name__}:test_a_bare_root_file_system_never"),
    Elsewhere("restart policies", "test_docker_lifecycle:test_a_crashed_container"),
    Elsewhere("boot of dockerd", "test_boot:test_what_restarts_always"),
    Elsewhere("RUN of BuildKit", "test_builds:test_a_run_step_is_refused"),
    Elsewhere("RUN, builds: allow", "test_builds:test_with_builds_allowed"),
    Elsewhere("RUN of the legacy builder", "test_builds:test_a_run_step_of_the_legacy"),
    Elsewhere("CRI pod sandbox", "test_kubernetes:test_a_pod_starts_once"),
    Elsewhere("CRI container", "test_kubernetes:test_a_container_of_a_pod"),
    Elsewhere("CRI image volume", "test_kubernetes:test_an_image_volume"),
    Elsewhere("docker --mount type=image", "test_image_mounts:test_an_unsigned_image"),
    Elsewhere("a tag moved after create", "test_moved_content:test_a_container_whose"),
    Elsewhere("a manifest edited on disk", "test_moved_content:test_an_edited_blob"),
    Elsewhere("ctr images pull", "test_bindir:test_an_image_is_pulled_once"),
    Elsewhere("CRI PullImage, verifier", "test_bindir:test_kubelet_pulls_an_image"),
    Elsewhere("CRI PullImage, cri.sock", "test_cri_pull:test_an_unsigned_image_is"),
    Elsewhere("CRI CreateContainer", "test_cri_proxy:test_an_unsigned_image_is_refu"),
    Elsewhere("CRI mounts, cri.sock", "test_cri_proxy:test_an_unsigned_image_is_not"),
    Elsewhere("docker create", "test_docker_authz:test_an_unsigned_image_is_refused"),
    Elsewhere("docker --runtime other", "test_docker_authz:test_another_runtime_is"),
    Elsewhere("docker service create", "test_docker_authz:test_services_of_a_swarm"),
    Elsewhere("docker plugin install", "test_docker_authz:test_docker_plugins_are"),
    Elsewhere("docker build as a whole", "test_docker_authz:test_builds_follow"),
    Elsewhere("NRI, containerd 2.4", "test_nri_validates:test_an_unsigned_container"),
    NotClaimed("docker pull, ctr images pull --local", "pulls that ask no verifier"),
    NotClaimed("docker load, commit, push", "`docker load`, `commit`, `push`"),
    NotClaimed("ctr run --runc-binary", "a runc named by absolute path"),
    NotClaimed("crun, gVisor, Kata", "other runtimes (crun, gVisor, Kata)"),
    NotClaimed("an engine in a container", "engines that run inside a container"),
    NotClaimed("docker cp, docker exec", "`docker cp` and `docker exec`"),
    NotClaimed("a snapshot edited", "files edited in a snapshot"),
    NotClaimed("-v /var/lib/docker:/x", "the host's own folders mounted"),
    NotClaimed("memory in a checkpoint", "what the memory of a checkpoint holds"),
    NotClaimed("vfs, btrfs, zfs", "storage other than overlay"),
]
CELLS = [
    pytest.param(row, engine, id=f"{engine}-{row.start.__name__}-{row.top}-{row.by}")
    for row in MATRIX
    if isinstance(row, Claimed)
    for engine in row.engines
]


@pytest.mark.parametrize(("row", "engine"), CELLS)
def test_an_image_starts_once_it_is_signed(
    row: Claimed, engine: str, request: pytest.FixtureRequest
) -> None:
    """The promise, for each door of each engine, in the words its user gets."""
    stage: Stage = request.getfixturevalue(f"gated_{engine}")
    namespace = "k8s.io" if row.start is run_in_k8s else "default"
    image = stage.image("hello", index=row.top == "index", namespace=namespace)

    before = len(stage.host.decisions())
    unsigned = row.start(stage, image)
    between = len(stage.host.decisions())
    stage.sign(image, by=row.by)
    signed = row.start(stage, image)

    assert not unsigned.started
    assert image.text not in unsigned.told
    assert "is not signed" in unsigned.told
    assert "[ENF-1001]" in unsigned.told
    assert signed.started, signed.told
    codes = [record["code"] for record in stage.host.decisions()[before:]]
    assert set(codes[: between - before]) == {"ENF-1001"}
    assert set(codes[between - before :]) == {"ENF-1000"}


@pytest.mark.parametrize("row", [r for r in MATRIX if isinstance(r, Elsewhere)])
def test_what_is_claimed_elsewhere_is_tested_there(row: Elsewhere) -> None:
    """A test that was renamed away must not leave a hole in the matrix."""
    module, _, beginning = row.test.rpartition(":")
    found = importlib.import_module(f"tests.real.{module.removeprefix('tests.real.')}")

    assert any(name.startswith(beginning) for name in vars(found)), row.path


@pytest.mark.parametrize("row", [r for r in MATRIX if isinstance(r, NotClaimed)])
def test_what_is_not_claimed_is_said_to_the_reader(row: NotClaimed) -> None:
    """Who relies on this has to know where it ends."""
    text = Path("README.md").read_text()
    _, _, rest = text.partition("\nNot covered:\n")
    listed = " ".join(rest.partition("\n## ")[0].split())

    assert row.line in listed, row.path


def test_a_refused_client_exits_as_for_any_failure(
    gated_containerd: Stage, gated_docker: Stage
) -> None:
    """Scripts look at the status; people read what to do next."""
    done = [
        stage.run(stage.image("hello")) for stage in (gated_containerd, gated_docker)
    ]

    assert [d.returncode for d in done] == [1, 125]
    for each in done:
        assert "[ENF-1001]; next: enforcer explain 0" in each.stderr


@pytest.mark.parametrize("generation", ["gated_containerd", "gated_old_containerd"])
def test_a_bare_root_file_system_never_starts(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """`ctr run --rootfs` names no image, so nobody can have signed it."""
    stage: Stage = request.getfixturevalue(generation)
    engine = stage.containerd
    folder = stage.host.home / stage.name("rootfs")
    (folder / "bin").mkdir(parents=True)
    name = engine.container_id(stage.name("bare"))

    done = engine.ctr("run", "--rm", "--rootfs", folder, name, "/bin/true", check=False)

    assert done.returncode == 1
    assert "bare root file system" in done.stderr
    assert "[ENF-1102]" in done.stderr
    (record,) = [r for r in stage.host.decisions() if r["container"] == name]
    assert (record["allowed"], record["code"]) == (False, "ENF-1102")


@pytest.mark.parametrize(
    "generation", ["gated_containerd", "gated_docker", "gated_graph_docker"]
)
def test_a_signature_of_a_stranger_is_refused_by_name(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Signed is not enough; the reader learns who signed and who should have."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image, signer=stage.host.stranger)

    done = stage.run(image)

    assert done.returncode != 0
    assert image.text not in said(done)
    assert "O=stranger" in done.stderr
    assert "ca:acme" in done.stderr
    assert "[ENF-1004]" in done.stderr
    assert stage.verdicts(image) == [(False, "ENF-1004")]
