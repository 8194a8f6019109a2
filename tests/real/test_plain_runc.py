"""What a container sees behind the gate is what plain runc shows it."""

import contextlib
import difflib
import re
from collections.abc import Iterator

import pytest

from tests.engines.dockerd import Dockerd
from tests.engines.path import REAL_RUNC
from tests.engines.process import wait_until
from tests.real.stage import Done, Image, Stage

# Of process 1 itself, which is the `cat` that prints them.
FILES = (
    "status", "limits", "cgroup", "mountinfo", "oom_score_adj", "coredump_filter",
    "setgroups", "uid_map", "gid_map", "timerslack_ns", "personality",
)  # fmt: skip
# Lines of /proc/self/status that no two runs of one program share, and what ls says of
# its own descriptor, sooner or later.
MEASURED = ("Vm", "Rss", "Hugetlb", "voluntary", "nonvoluntary", "ls: /proc/self/fd")
# What names one run: container ids, inodes of pipes, device and mount numbers, dates,
# and the overlay's folders.
NAMES_A_RUN = re.compile(
    r"[0-9a-f]{64}|(?<=:\[)\d+(?=\])|\w{3} +\d+ +\d\d:\d\d|^\d+ \d+ \d+:\d+ "
    r"|(?<=SigQ:\t)\d+|(?<=snapshots/)\d+|master:\d+|shared:\d+|(?<=/l/)[A-Z0-9]{26}"
)
GENERATIONS = pytest.mark.parametrize(
    "generation",
    [
        "gated_containerd",
        "gated_old_containerd",
        "gated_docker",
        "gated_graph_docker",
        "gated_old_docker",
    ],
)


@contextlib.contextmanager
def _plain_runc(stage: Stage) -> Iterator[None]:
    """Let the engine find the real runc where the gate was."""
    gate = stage.host.gate / "runc"
    gate.unlink()
    gate.symlink_to(REAL_RUNC)
    try:
        yield
    finally:
        gate.unlink()
        stage.host.write_gate()


def _run(stage: Stage, image: Image, name: str, *words: str) -> Done:
    """Run under a name of our own: it is in the host name and the control group."""
    if isinstance(stage.engine, Dockerd):
        options = ["--rm", f"--name={name}", "--hostname=box"]
        return stage.docker.docker("run", *options, image.name, *words)
    return stage.containerd.run(image.full, name, *words)


def _run_with_both_streams(stage: Stage, image: Image, *words: str) -> Done:
    """Run with the client's own streams; ctr loses what is printed at the very end."""
    if stage.is_docker:
        return stage.run(image, *words)
    name = stage.container(stage.name("both"))
    return stage.containerd.ctr("run", "--rm", image.full, name, *words, check=False)


def _seen(stage: Stage, image: Image, name: str) -> dict[str, list[str]]:
    """Everything a container learns about itself, by topic."""
    paths = [f"/proc/self/{file}" for file in (*FILES, "stat")]
    views = {
        "files": ["/bin/cat", *paths],
        "environment": ["/bin/env"],
        "descriptors": ["/bin/ls", "-l", "/proc/self/fd"],
        "shell": ["/bin/sh", "-c", "ulimit -a; umask; id; pwd; ls -a /; ls -l /dev"],
    }
    seen: dict[str, list[str]] = {}
    for topic, command in views.items():
        lines = _run(stage, image, name, *command).stdout.splitlines()
        if topic == "files":
            fields = lines.pop().rpartition(")")[2].split()
            # proc(5): priority, nice, rt_priority and policy
            seen["schedule"] = [fields[n - 3] for n in (18, 19, 40, 41)]
        kept = [line for line in lines if not line.startswith(MEASURED)]
        seen[topic] = [NAMES_A_RUN.sub("*", line) for line in kept]
    return seen


def _differences(plain: dict[str, list[str]], gated: dict[str, list[str]]) -> str:
    return "\n".join(
        line
        for topic in plain
        for line in difflib.unified_diff(plain[topic], gated[topic], n=0, lineterm="")
    )


@GENERATIONS
def test_a_container_cannot_tell_the_gate_from_plain_runc(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Users, capabilities, signals, limits, groups, mounts, files: all the same."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)
    name = stage.container(stage.name("same"))

    with _plain_runc(stage):
        plain = _seen(stage, image, name)
    gated = _seen(stage, image, name)

    assert any(line.startswith("CapEff:") for line in gated["files"])
    assert any(line.startswith("Max open files") for line in gated["files"])
    assert gated["schedule"][1] == "0"
    assert gated["environment"]
    assert _differences(plain, gated) == ""
    assert len(stage.verdicts(image)) == 4  # plain runc asked nobody


@GENERATIONS
def test_the_exit_status_and_both_streams_are_the_containers_own(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Scripts branch on them."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)
    words = ("/bin/sh", "-c", "echo out; echo err >&2; sleep 1; exit 42")

    done = _run_with_both_streams(stage, image, *words)

    assert (done.returncode, done.stdout) == (42, "out\n")
    assert "err\n" in done.stderr


@pytest.mark.parametrize("generation", ["gated_docker", "gated_old_docker"])
def test_a_running_container_is_managed_without_any_question(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """exec, pause, update, kill: the gate hands them to runc, daemon or no daemon."""
    stage: Stage = request.getfixturevalue(generation)
    docker = stage.docker.docker
    image = stage.image("service", cmd=("/bin/sleep", "600"))
    stage.sign(image)
    name = stage.name("service")
    docker("run", "--detach", f"--name={name}", image.name)

    stage.host.stop()
    try:
        said = docker("exec", name, "/bin/echo", "inside").stdout
        docker("pause", name)
        docker("unpause", name)
        docker("update", "--memory=64m", "--memory-swap=64m", name)
        docker("kill", name)
        wait_until(
            lambda: docker("ps", "-q", f"--filter=name={name}").stdout == "",
            "it is killed",
        )
        docker("rm", name)
    finally:
        stage.host.start()

    assert said == "inside\n"
    assert stage.verdicts(image) == [(True, "ENF-1000")]
