"""Many containers started at the same moment, as after a reboot or a deployment."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.images import full_name
from tests.engines.path import program

CROWD = 100
CROWD_SECONDS = 240  # two busy cores need ten

_SLEEP = ("/bin/sleep", "600")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Crowd:
    """How long it took until the last one was up, and what the others were told."""

    seconds: float
    refusals: tuple[str, ...]


def start_crowd(engine: Containerd | Dockerd, tag: str, count: int = CROWD) -> Crowd:
    """Start this many containers of one image at once, then remove them all."""
    with standing_crowd(engine, tag, count) as crowd:
        return crowd


@contextmanager
def standing_crowd(
    engine: Containerd | Dockerd, tag: str, count: int
) -> Iterator[Crowd]:
    """Start this many containers of one image at once, and keep them for a while."""
    names = [f"crowd-{next(_numbers)}" for _ in range(count)]
    if isinstance(engine, Dockerd):
        yield _start(engine, [_docker_run(engine, tag, name) for name in names])
        engine.docker("rm", "--force", *names, check=False, timeout_seconds=120)
        return
    ids = [engine.container_id(name) for name in names]
    yield _start(engine, [_ctr_run(engine, tag, id_) for id_ in ids])
    engine.ctr("tasks", "rm", "--force", *ids, check=False, timeout_seconds=120)
    engine.ctr("containers", "rm", *ids, check=False, timeout_seconds=120)


def _docker_run(engine: Dockerd, tag: str, name: str) -> list[str | Path]:
    words = ["run", "--detach", "--network=none", "--name", name, tag, *_SLEEP]
    return [program("docker", engine.release), *words]


def _ctr_run(engine: Containerd, tag: str, name: str) -> list[str | Path]:
    address = ["--address", str(engine.socket)]
    words = ["run", "--detach", full_name(tag), name, *_SLEEP]
    return [program("ctr", engine.release), *address, *words]


def _start(engine: Containerd | Dockerd, commands: list[list[str | Path]]) -> Crowd:
    environment = {"PATH": str(engine.home / "path")}
    if isinstance(engine, Dockerd):
        environment = engine.client_environment
    began = time.perf_counter()
    clients = [
        subprocess.Popen(
            command,
            env=environment,
            cwd=engine.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    said = [client.communicate(timeout=CROWD_SECONDS)[1] for client in clients]
    seconds = time.perf_counter() - began
    refused = [t for c, t in zip(clients, said, strict=True) if c.returncode != 0]
    return Crowd(seconds, tuple(refused))
