"""RUN steps of image builds: they run code too, before there is anything to sign."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.engines.images import dockerfile_context
from tests.real.stage import Done, Stage, said

BUILDKIT = pytest.mark.parametrize("generation", ["gated_docker", "gated_graph_docker"])
LEGACY = pytest.mark.parametrize(
    "generation", ["gated_docker", "gated_graph_docker", "gated_old_docker"]
)
STEP = "RUN /bin/echo built > /step"


@contextlib.contextmanager
def _builds_allowed(stage: Stage) -> Iterator[None]:
    """Have the daemon let RUN steps through for a while."""
    stage.reconfigure(builds="allow")
    try:
        yield
    finally:
        stage.reconfigure(builds="deny")


def _build(
    stage: Stage, tag: str, text: str, *steps: str, legacy: bool = False
) -> Done:
    folder = stage.host.home / stage.name("context")
    context = dockerfile_context(folder, text, extra=steps)
    return stage.docker.docker(
        "build", "--network=none", "--no-cache", f"--tag={tag}", context,
        check=False, env={"DOCKER_BUILDKIT": "0" if legacy else "1"},
    )  # fmt: skip


def _codes_since(stage: Stage, count: int) -> list[tuple[bool, str]]:
    records = stage.host.decisions()[count:]
    return [(record["allowed"], record["code"]) for record in records]


@BUILDKIT
def test_a_run_step_is_refused_and_the_message_names_the_way_out(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """BuildKit keeps no container to judge, so the host's owner has to decide."""
    stage: Stage = request.getfixturevalue(generation)
    tag, before = f"{stage.name('built')}:1", len(stage.host.decisions())

    done = _build(stage, tag, "hello", STEP)

    assert done.returncode != 0
    assert "builds: allow" in said(done)
    assert "[ENF-1106]" in said(done)
    assert _codes_since(stage, before) == [(False, "ENF-1106")]
    missing = stage.docker.docker("image", "inspect", tag, check=False)
    assert missing.returncode == 1


@BUILDKIT
def test_with_builds_allowed_the_result_still_needs_a_signature(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """The switch is for building, not for running what was built."""
    stage: Stage = request.getfixturevalue(generation)
    docker = stage.docker.docker
    tag, before = f"{stage.name('built')}:1", len(stage.host.decisions())

    with _builds_allowed(stage):
        built = _build(stage, tag, "hello", STEP)
        refused = docker("run", "--rm", tag, check=False)
    stage.host.sign(f"docker:{tag}")
    allowed = docker("run", "--rm", tag, "/bin/cat", "/step", check=False)

    assert built.returncode == 0
    assert refused.returncode == 125
    assert f"{tag} is not signed" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, "built\n")
    assert _codes_since(stage, before) == [
        (True, "ENF-1111"),
        (False, "ENF-1001"),
        (True, "ENF-1000"),
    ]


@LEGACY
@pytest.mark.parametrize("builds", ["deny", "allow"])
def test_a_run_step_of_the_legacy_builder_is_judged_as_a_container(
    generation: str, builds: str, request: pytest.FixtureRequest
) -> None:
    """It is one, of an image that cannot be signed yet; no switch changes that."""
    stage: Stage = request.getfixturevalue(generation)
    tag, before = f"{stage.name('built')}:1", len(stage.host.decisions())

    with contextlib.ExitStack() as switch:
        if builds == "allow":
            switch.enter_context(_builds_allowed(stage))
        done = _build(stage, tag, "hello", STEP, legacy=True)

    assert done.returncode != 0
    assert "[ENF-1" in said(done)
    (verdict,) = _codes_since(stage, before)
    assert verdict[0] is False


@LEGACY
def test_a_build_without_run_steps_asks_nobody(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Most images of files only can be built on a host that denies builds."""
    stage: Stage = request.getfixturevalue(generation)
    legacy = generation == "gated_old_docker"
    tag, before = f"{stage.name('built')}:1", len(stage.host.decisions())

    built = _build(stage, tag, "hello", legacy=legacy)
    refused = stage.docker.docker("run", "--rm", tag, check=False)
    stage.host.sign(f"docker:{tag}")
    allowed = stage.docker.docker("run", "--rm", tag, check=False)

    assert built.returncode == 0
    assert "[ENF-1001]" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, "hello\n")
    verdicts = _codes_since(stage, before)
    assert verdicts == [(False, "ENF-1001"), (True, "ENF-1000")]


@BUILDKIT
def test_a_signature_does_not_outlive_a_rebuild(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """The same tag with other content is another image."""
    stage: Stage = request.getfixturevalue(generation)
    tag = f"{stage.name('built')}:1"
    _build(stage, tag, "first")
    stage.host.sign(f"docker:{tag}")
    first = stage.docker.docker("run", "--rm", tag, check=False)

    _build(stage, tag, "second")
    second = stage.docker.docker("run", "--rm", tag, check=False)

    assert (first.returncode, first.stdout) == (0, "first\n")
    assert second.returncode == 125
    assert "[ENF-1001]" in second.stderr
