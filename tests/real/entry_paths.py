"""Every way to start a container that there is a row for in the matrix."""

from dataclasses import dataclass

from tests.engines.process import wait_until
from tests.real.stage import Done, Image, Stage, said

SECONDS = 90  # containerd's restart monitor looks around every ten


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether it ran, and what whoever looks was told."""

    started: bool
    told: str


def run(stage: Stage, image: Image) -> Outcome:
    """The engine's own client."""
    return _outcome(stage.run(image), image)


def run_in_k8s(stage: Stage, image: Image) -> Outcome:
    """The same in CRI's namespace."""
    return _outcome(stage.run(image, namespace="k8s.io"), image)


def create_and_start(stage: Stage, image: Image) -> Outcome:
    """In two steps, as scripts do."""
    name = stage.name("made")
    stage.docker.docker("create", "--name", name, image.name)
    done = stage.docker.docker("start", "--attach", name, check=False)
    return _outcome(done, image)


def restart(stage: Stage, image: Image) -> Outcome:
    """`docker restart` starts what does not run, too."""
    name = stage.name("made")
    stage.docker.docker("create", "--name", name, image.name)
    done = stage.docker.docker("restart", name, check=False)
    if done.returncode == 0:
        stage.docker.docker("wait", name)
        done = stage.docker.docker("logs", name)
    return _outcome(done, image)


def run_by_id(stage: Stage, image: Image) -> Outcome:
    """An id has no name of its own; its image does."""
    words = ["image", "inspect", "--format={{.Id}}", image.name]
    name = stage.docker.docker(*words).stdout.strip()
    return _outcome(stage.docker.docker("run", "--rm", name, check=False), image)


def runtime_runc(stage: Stage, image: Image) -> Outcome:
    """A name that a default runtime does not catch (facts/hooks.md, 0.1)."""
    return _with_runtime(stage, image, "runc")


def runtime_shim(stage: Stage, image: Image) -> Outcome:
    """The same by the name of containerd's shim."""
    return _with_runtime(stage, image, "io.containerd.runc.v2")


def compose_up(stage: Stage, image: Image) -> Outcome:
    """What most people write down their containers for."""
    project = stage.name("project")
    file = stage.docker.home / f"{project}.yaml"
    file.write_text(
        f"services:\n  app:\n    image: {image.name}\n    network_mode: none\n"
        "    pull_policy: never\n"
    )
    words = ("compose", "--file", file, "--project-name", project)
    done = stage.docker.docker(*words, "up", "--no-color", check=False)
    stage.docker.docker(*words, "down", "--timeout=0")
    return _outcome(done, image)


def swarm_task(stage: Stage, image: Image) -> Outcome:
    """dockerd starts these by itself; no client asks for a container."""
    name = stage.name("service")
    stage.docker.docker(
        "service", "create", "--detach", "--no-resolve-image", "--network=host",
        "--restart-condition=none", "--name", name, image.name,
    )  # fmt: skip
    told = ""

    def is_over() -> bool:
        nonlocal told
        form = "--format={{.CurrentState}}: {{.Error}}"
        told = stage.docker.docker("service", "ps", "--no-trunc", form, name).stdout
        return told.startswith(("Complete", "Failed", "Rejected"))

    wait_until(is_over, "the task is over", SECONDS)
    stage.docker.docker("service", "rm", name)
    return Outcome(told.startswith("Complete"), told)


def restore(stage: Stage, image: Image) -> Outcome:
    """runc restore. CRIU is not in Debian 12: to be asked for it is to be let through.

    So the checkpoint need not be one, either.
    """
    name = stage.name("frozen")
    words = ("create", "--network=host", "--name", name, image.name)
    container = stage.docker.docker(*words).stdout.strip()
    folder = stage.docker.data_root / "containers" / container / "checkpoints" / "one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    done = stage.docker.docker("start", "--checkpoint=one", name, check=False)
    return Outcome("CRIU" in done.stderr, said(done))


def restart_monitor(stage: Stage, image: Image) -> Outcome:
    """containerd starts what bears its label, and nobody is there to be told."""
    engine, name = stage.containerd, stage.container(stage.name("kept"))
    label = "containerd.io/restart.status"
    engine.ctr("containers", "create", f"--label={label}=running", image.full, name)

    def verdicts() -> list[str]:
        found = [r for r in stage.host.decisions() if r["container"] == name]
        return [f"{r['message']} [{r['code']}]" for r in found]

    wait_until(lambda: bool(verdicts()), "the monitor has tried", SECONDS)
    engine.ctr("containers", "label", name, f"{label}=stopped")
    wait_until(lambda: name in engine.log or _has_task(stage, name), "it is over")
    started = _has_task(stage, name)
    engine.ctr("tasks", "rm", "--force", name, check=False)
    engine.ctr("containers", "rm", name, check=False)
    return Outcome(started, "\n".join(verdicts()))


def _has_task(stage: Stage, name: str) -> bool:
    return name in stage.containerd.ctr("tasks", "ls", "--quiet").stdout.split()


def _with_runtime(stage: Stage, image: Image, runtime: str) -> Outcome:
    words = ("run", "--rm", f"--runtime={runtime}", image.name)
    return _outcome(stage.docker.docker(*words, check=False), image)


def _outcome(done: Done, image: Image) -> Outcome:
    return Outcome(done.returncode == 0 and image.text in done.stdout, said(done))
