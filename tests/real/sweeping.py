"""Containers that go on, and what the sweep says about them."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.engines.notation import Signer
from tests.engines.process import EngineError, wait_until
from tests.real.acme import signer
from tests.real.stage import Image, Stage, containerd_stage, docker_stage

ENGINES: dict[str, Callable[[], Stage]] = {
    "containerd": containerd_stage,
    "old-containerd": partial(containerd_stage, "bookworm"),
    "docker": partial(docker_stage, "containerd"),
    "graph-docker": partial(docker_stage, "graphdriver"),
    "old-docker": partial(docker_stage, "graphdriver", "bookworm"),
}
SLEEP = ("/bin/sleep", "600")  # as first process it does not mind SIGTERM
POLITE = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
ANYBODY = {
    "apiVersion": "enforcer/v1",
    "signers": {"acme": signer("acme", "*")},
    "always": "acme",
    "statements": [{"name": "all", "scopes": ["*"], "require": "acme"}],
}
REPORT_SECONDS = 60  # to wait for what is promised within one, on a busy machine


@contextmanager
def swept_stage(stage: Stage, *trusted: Signer) -> Iterator[Stage]:
    """Run a host with a host policy that trusts these for everything."""
    stage.host.write_policy(ANYBODY)
    stage.host.trust("acme", *trusted)
    with stage:
        yield stage


def start(stage: Stage, image: Image, *words: str) -> str:
    """Start a container that goes on; return the id it has in the audit log."""
    name = stage.container(stage.name("stays"))
    if stage.is_docker:
        command = ("run", "--detach", "--name", name, *words, image.name)
        return stage.docker.docker(*command).stdout.strip()
    stage.containerd.ctr("run", "--detach", *words, image.full, name)
    return name


def remove(stage: Stage, *ids: str) -> None:
    """Remove containers, whatever they do."""
    if stage.is_docker:
        stage.docker.docker("rm", "--force", *ids)
        return
    for id_ in ids:
        stage.containerd.ctr("tasks", "rm", "--force", id_, check=False)
        stage.containerd.ctr("containers", "rm", id_, check=False)


def lives(stage: Stage, id_: str) -> bool:
    """Whether a container's first process is there."""
    if stage.is_docker:
        form = "--format={{.State.Running}}"
        return stage.docker.docker("inspect", form, id_).stdout.strip() == "true"
    tasks = stage.containerd.state / "io.containerd.runtime.v2.task" / "default"
    try:
        pid = (tasks / id_ / "init.pid").read_text()
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


def start_again(stage: Stage, id_: str) -> str:
    """Stop a container, start it again, and return what the client was told."""
    if stage.is_docker:
        stage.docker.docker("kill", id_, check=False)
        return stage.docker.docker("start", id_, check=False).stderr
    stage.containerd.ctr("tasks", "rm", "--force", id_, check=False)
    words = ("tasks", "start", "--detach", id_)
    return stage.containerd.ctr(*words, check=False).stderr


def told(stage: Stage, id_: str) -> list[dict[str, Any]]:
    """Every record that the sweep made about a container."""
    return [
        record
        for record in stage.host.decisions(sweeps=True)
        if (record["asked_by"], record["container"]) == ("sweep", id_)
    ]


def codes(stage: Stage, id_: str) -> list[str]:
    return [record["code"] for record in told(stage, id_)]


def hears(stage: Stage, id_: str, *expected: str) -> datetime:
    """Wait until the sweep has said exactly this; return when it said the last."""
    try:
        wait_until(
            lambda: codes(stage, id_) == list(expected),
            f"the sweep says {expected}",
            REPORT_SECONDS,
        )
    except EngineError as error:
        raise EngineError(f"{error}; it said {codes(stage, id_)}") from error
    return datetime.fromisoformat(told(stage, id_)[-1]["time"])


def status(stage: Stage) -> Any:  # of many shapes
    """Return what `status` says of what runs."""
    done = stage.host.enforcer("status", "-o", "json", check=False)
    return json.loads(done.stdout)["sweep"]


def seconds_since(path: Path, at: datetime) -> float:
    """How long after a file or folder was written something was."""
    return at.timestamp() - path.stat().st_mtime


@contextmanager
def monitored(stage: Stage) -> Iterator[None]:
    """Let everything start for a while, as before enforcement."""
    conf = stage.host.config / "gate.conf"
    conf.write_text("mode=monitor\n")
    conf.chmod(0o644)
    stage.reconfigure(mode="monitor")
    try:
        yield
    finally:
        conf.unlink()
        stage.reconfigure(mode="enforce")


def hang(pid: int) -> None:
    """Have a process do nothing until it is sent SIGCONT."""
    os.kill(pid, signal.SIGSTOP)
