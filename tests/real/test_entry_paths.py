"""Every way to start a container: refused while nobody signed the image, then not."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.real.stage import Done, Image, Signing, Stage, said

REFUSED, SIGNED = (False, "ENF-1001"), (True, "ENF-1000")


def _run(stage: Stage, image: Image) -> Done:
    return stage.run(image)


def _run_in_k8s(stage: Stage, image: Image) -> Done:
    return stage.run(image, namespace="k8s.io")


def _create_and_start(stage: Stage, image: Image) -> Done:
    name = stage.name("made")
    stage.docker.docker("create", "--name", name, image.name)
    return stage.docker.docker("start", "--attach", name, check=False)


def _run_by_id(stage: Stage, image: Image) -> Done:
    wanted = ["image", "inspect", "--format={{.Id}}", image.name]
    name = stage.docker.docker(*wanted).stdout.strip()
    return stage.docker.docker("run", "--rm", name, check=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One way in, what the image is, who signs it, and how the client says no."""

    stage: str
    start: Callable[[Stage, Image], Done]
    refused_with: int
    top: str = "manifest"
    by: Signing = "notation"

    def __str__(self) -> str:
        how = self.start.__name__.strip("_")
        return f"{self.stage.removeprefix('gated_')}-{how}-{self.top}-{self.by}"


ROWS = [
    Row("gated_containerd", _run, 1),
    Row("gated_containerd", _run, 1, top="index"),
    Row("gated_containerd", _run, 1, by="enforcer"),
    Row("gated_containerd", _run, 1, top="index", by="enforcer"),
    Row("gated_containerd", _run, 1, by="notation-cose"),
    Row("gated_containerd", _run_in_k8s, 1),
    Row("gated_containerd", _run_in_k8s, 1, top="index"),
    Row("gated_old_containerd", _run, 1),
    Row("gated_old_containerd", _run, 1, top="index", by="enforcer"),
    Row("gated_old_containerd", _run_in_k8s, 1),
    Row("gated_docker", _run, 125),
    Row("gated_docker", _run, 125, top="index"),
    Row("gated_docker", _run, 125, by="enforcer"),
    Row("gated_docker", _run, 125, top="index", by="enforcer"),
    Row("gated_docker", _run, 125, top="index", by="notation-cose"),
    Row("gated_docker", _create_and_start, 1),
    Row("gated_graph_docker", _run, 125),
    Row("gated_graph_docker", _run, 125, top="index"),
    Row("gated_graph_docker", _run, 125, by="enforcer"),
    Row("gated_graph_docker", _run, 125, by="notation-cose"),
    Row("gated_graph_docker", _create_and_start, 1, top="index"),
    Row("gated_old_docker", _run, 125),
    Row("gated_old_docker", _run, 125, top="index"),
    Row("gated_old_docker", _run, 125, by="enforcer"),
    Row("gated_old_docker", _create_and_start, 1),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_image_starts_once_it_is_signed(
    row: Row, request: pytest.FixtureRequest
) -> None:
    """The promise, for each door of each engine, in the words its user gets."""
    stage: Stage = request.getfixturevalue(row.stage)
    namespace = "k8s.io" if row.start is _run_in_k8s else "default"
    image = stage.image("hello", index=row.top == "index", namespace=namespace)

    unsigned = row.start(stage, image)
    refusals = stage.verdicts(image)
    stage.sign(image, by=row.by)
    signed = row.start(stage, image)

    assert unsigned.returncode == row.refused_with
    assert image.text not in said(unsigned)
    assert f"{image.name} is not signed" in unsigned.stderr
    assert "[ENF-1001]; next: enforcer explain ENF-1001" in unsigned.stderr
    assert refusals == [REFUSED]
    assert (signed.returncode, signed.stdout) == (0, f"{image.text}\n")
    assert stage.verdicts(image) == [REFUSED, SIGNED]


@pytest.mark.parametrize("generation", ["gated_docker", "gated_graph_docker"])
def test_docker_runs_a_signed_image_by_its_id(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Scripts keep ids; an id has no name of its own, its image does."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")

    unsigned = _run_by_id(stage, image)
    stage.sign(image)
    signed = _run_by_id(stage, image)

    assert unsigned.returncode == 125
    assert "[ENF-1001]" in unsigned.stderr
    assert (signed.returncode, signed.stdout) == (0, f"{image.text}\n")


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
