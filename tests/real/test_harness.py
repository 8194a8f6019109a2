"""The engines of tests/engines run on this machine, before any gate is in the way."""

from pathlib import Path

import pytest

from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.images import (
    describe,
    dockerfile_context,
    full_name,
    layout_to_tar,
    write_layout,
)
from tests.engines.leftovers import find_shims
from tests.engines.notation import Notation, statement
from tests.engines.path import ungated
from tests.engines.process import wait_until

NAME = "hello-world:1"
TEXT = "hello from busybox"


@pytest.fixture(scope="module")
def archive(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image, as the file every engine can load."""
    folder = tmp_path_factory.mktemp("image")
    write_layout(folder / "layout", text=TEXT, tag=NAME, index=True, split=True)
    return layout_to_tar(folder / "layout", folder / "image.tar")


@pytest.fixture
def gate(engines: Path, tmp_path: Path) -> Path:
    """A gate folder of the test's own, which it may empty."""
    return ungated(tmp_path / "gate")


def test_the_same_image_has_the_same_bytes(tmp_path: Path) -> None:
    """A digest in a failing test's output can be looked up again tomorrow."""
    first = write_layout(tmp_path / "first", text=TEXT, tag=NAME)
    second = write_layout(tmp_path / "second", text=TEXT, tag=NAME)

    assert first == second
    assert describe(tmp_path / "first") == describe(tmp_path / "second")


@pytest.mark.parametrize("generation", ["containerd", "old_containerd"])
def test_ctr_runs_an_imported_image(
    generation: str, archive: Path, request: pytest.FixtureRequest
) -> None:
    """Both generations of containerd: 2.1 and 1.6."""
    engine: Containerd = request.getfixturevalue(generation)
    engine.ctr("images", "import", archive)

    done = engine.run(full_name(NAME), engine.container_id("run"))

    assert done.stdout == f"{TEXT}\n"


@pytest.mark.parametrize("generation", ["docker", "graph_docker", "old_docker"])
def test_docker_runs_a_loaded_image(
    generation: str, archive: Path, request: pytest.FixtureRequest
) -> None:
    """Docker 28 with either store, and 20.10, take one and the same archive."""
    engine: Dockerd = request.getfixturevalue(generation)
    engine.docker("load", "--input", archive)

    done = engine.docker("run", "--rm", NAME)

    assert done.stdout == f"{TEXT}\n"


def test_the_store_decides_what_an_image_id_is(
    docker: Dockerd, graph_docker: Dockerd, archive: Path
) -> None:
    """So the two fixtures really are the two stores: index digest, config digest."""
    facts = describe(archive.parent / "layout")
    for engine in (docker, graph_docker):
        engine.docker("load", "--input", archive)

    ids = [
        engine.docker("image", "inspect", "--format={{.Id}}", NAME).stdout.strip()
        for engine in (docker, graph_docker)
    ]

    assert ids == [facts.top, facts.config]


@pytest.mark.parametrize("generation", ["docker", "graph_docker"])
def test_buildx_builds_an_image_that_runs(
    generation: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The default builder of Docker 28 is BuildKit; RUN needs no network here."""
    engine: Dockerd = request.getfixturevalue(generation)
    step = "RUN --network=none /bin/echo built > /step"
    context = dockerfile_context(tmp_path / "context", TEXT, extra=[step])

    built = engine.docker("build", "--tag=built:1", context)

    assert "[internal] load build definition" in built.stderr  # BuildKit's words
    assert engine.docker("run", "--rm", "built:1").stdout == f"{TEXT}\n"
    assert engine.docker("run", "--rm", "built:1", "cat", "/step").stdout == "built\n"


@pytest.mark.parametrize("generation", ["docker", "graph_docker", "old_docker"])
def test_the_legacy_builder_builds_an_image_that_runs(
    generation: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Docker without buildx falls back to it, and so does 20.10 by default."""
    engine: Dockerd = request.getfixturevalue(generation)
    context = dockerfile_context(tmp_path / "context", TEXT)
    legacy = {"DOCKER_BUILDKIT": "0"}

    built = engine.docker("build", "--tag=legacy:1", context, env=legacy)

    assert "Successfully built" in built.stdout
    assert engine.docker("run", "--rm", "legacy:1").stdout == f"{TEXT}\n"


def test_a_container_with_a_restart_policy_is_up_again_after_dockerd(
    gate: Path, archive: Path
) -> None:
    """The start nobody types: no client asks for it, so only a gate can see it."""
    with Dockerd(gate) as engine:
        engine.docker("load", "--input", archive)
        always = ["--detach", "--restart=always", "--stop-signal=KILL", "--name=up"]
        engine.docker("run", *always, NAME, "sleep", "600")

        engine.restart()

        words = ("ps", "--format={{.Names}} {{.Status}}")
        wait_until(lambda: engine.docker(*words).stdout.startswith("up Up"), "it is up")


def test_a_closed_engine_leaves_nothing_behind(gate: Path, archive: Path) -> None:
    """A suite that leaks shims and mounts cannot be run twice."""
    with Dockerd(gate) as engine:
        engine.docker("load", "--input", archive)
        engine.docker("run", "--detach", NAME, "sleep", "600")
        engine.containerd.ctr("images", "import", archive)
        left = engine.containerd.container_id("left")
        sleep = ["/bin/sleep", "600"]
        engine.containerd.ctr("run", "--detach", full_name(NAME), left, *sleep)
        socket = engine.containerd.socket
        assert len(find_shims(socket)) == 2

    mounts = Path("/proc/self/mountinfo").read_text()
    groups = list(Path("/sys/fs/cgroup").glob(f"*/{engine.home.name}"))
    assert not engine.home.exists()
    assert str(engine.home) not in mounts
    assert find_shims(socket) == ()
    assert groups == []
    assert not Path("/run/containerd/runc/default", left).exists()


def test_without_a_runc_in_the_gate_folder_ctr_starts_nothing(archive: Path) -> None:
    """The engine's PATH has no runc of its own, so a lost gate fails closed."""
    with Containerd(None) as engine:
        engine.ctr("images", "import", archive)

        name = engine.container_id("run")
        done = engine.run(full_name(NAME), name, check=False)

    assert done.returncode == 1
    assert TEXT not in done.stdout
    assert '"runc": executable file not found in $PATH' in done.stderr


@pytest.mark.parametrize("generation", ["docker", "graph_docker", "old_docker"])
def test_when_runc_goes_from_the_gate_folder_docker_starts_nothing(
    generation: str, gate: Path, archive: Path, tmp_path: Path
) -> None:
    """Runs and build steps alike; Docker 28 would not even boot without a runc."""
    with _dockerd(generation, gate) as engine:
        engine.docker("load", "--input", archive)
        step = dockerfile_context(tmp_path / "step", TEXT, extra=["RUN echo ran"])
        (gate / "runc").unlink()

        done = engine.docker("run", "--rm", NAME, check=False)
        built = engine.docker("build", "--network=none", step, check=False)

    assert done.returncode != 0
    assert TEXT not in done.stdout
    assert "runc" in done.stderr
    assert built.returncode != 0


def _dockerd(generation: str, gate: Path) -> Dockerd:
    if generation == "old_docker":
        return Dockerd(gate, release="bookworm", store="graphdriver")
    return Dockerd(
        gate, store="containerd" if generation == "docker" else "graphdriver"
    )


@pytest.mark.parametrize("release", ["forky", "bookworm"])
def test_containerd_can_serve_kubernetes(
    release: str, gate: Path, engines: Path
) -> None:
    """The CRI plug-in starts, on this machine's control groups too."""
    with _cri(release, gate) as engine:
        plugins = engine.ctr("plugins", "ls").stdout

    states = [line.split()[-1] for line in plugins.splitlines() if " cri " in line]
    assert states == ["ok"]


def _cri(release: str, gate: Path) -> Containerd:
    if release == "bookworm":
        return Containerd(gate, release="bookworm", cri=True)
    return Containerd(gate, cri=True)


@pytest.fixture
def notation(engines: Path, tmp_path: Path) -> Notation:
    """A notation that trusts `acme`, and has the key of a stranger as well."""
    user = Notation(tmp_path / "notation")
    acme = user.add_signer("acme")
    user.add_signer("stranger")
    user.trust("acme", acme)
    trusted = statement("all", stores=["ca:acme"], identities=[acme.identity])
    user.write_policy(trusted)
    return user


@pytest.mark.parametrize("envelope", ["jws", "cose"])
@pytest.mark.parametrize("top", ["manifest", "index"])
def test_notation_signs_and_verifies_a_layout(
    envelope: str, top: str, notation: Notation, tmp_path: Path
) -> None:
    """What the stock tool signs is what we must accept."""
    layout = tmp_path / "layout"
    digest = write_layout(layout, text=TEXT, tag=NAME, index=top == "index")

    unsigned = notation.verify_layout(layout, digest, "local/hello-world")
    notation.sign_layout(
        layout, digest, envelope="cose" if envelope == "cose" else "jws"
    )
    signed = notation.verify_layout(layout, digest, "local/hello-world")

    assert unsigned.returncode == 1
    assert "no signature is associated" in unsigned.stderr
    assert signed.returncode == 0
    assert describe(layout).top == digest


def test_notation_refuses_the_signature_of_a_stranger(
    notation: Notation, tmp_path: Path
) -> None:
    """The trust store, not the key list, decides."""
    layout = tmp_path / "layout"
    digest = write_layout(layout, text=TEXT, tag=NAME)
    notation.sign_layout(layout, digest, key="stranger")

    done = notation.verify_layout(layout, digest, "local/hello-world")

    assert done.returncode == 1
    assert "failed for all the signatures" in done.stderr
