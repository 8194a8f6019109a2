"""`enforcer prove` on a stage, and what it must not leave there."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from enforcer.sources.engines import docker
from enforcer.sources.engines.pb import (
    containers_pb2,
    containers_pb2_grpc,
    content_pb2,
    content_pb2_grpc,
    images_pb2,
    images_pb2_grpc,
    leases_pb2,
    leases_pb2_grpc,
    namespaces_pb2,
    namespaces_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
)
from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.real.stage import Stage

MARK = "enforcer-prove-"
# Where something named by a mark could be outside of an engine's own folders, and how
# many folders below.
OUTSIDE = {"/run/containerd": 4, "/sys/fs/cgroup": 3, "/tmp": 1}
_ENGINES_OWN = re.compile(r"moby-detect|/ingest/|/netns|runtime\.v2\.task/[^/]+/\.")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a run said."""

    status: int
    doors: tuple[dict[str, str], ...]
    text: str
    told: str

    def of(self, door: str) -> dict[str, str]:
        """Return the one line about a door."""
        (found,) = [one for one in self.doors if one["door"] == door]
        return found

    def doors_that(self, result: str) -> set[str]:
        """Return the doors of a result."""
        return {one["door"] for one in self.doors if one["result"] == result}


def api_of(stage: Stage, **more: str) -> None:
    """Say in enforcer.yaml where this stage's Docker is."""
    engines: Any = stage.host.settings["engines"]
    for engine in engines:
        if engine["kind"] == "docker":
            engine.update(api=str(stage.docker.socket), **more)
    stage.host.configure()


def prove(stage: Stage, *words: str) -> Proof:
    """Run it, and read what it says."""
    done = stage.host.enforcer("prove", "-o", "json", *words, check=False)
    said: Any = json.loads(done.stdout or '{"doors": [], "open": 0}')
    proof = Proof(done.returncode, tuple(said["doors"]), done.stdout, done.stderr)
    assert said["open"] == len(proof.doors_that("open"))
    return proof


def kill_runs(stage: Stage, number: int) -> None:
    """Kill so many runs, at moments all over one; at least one has left something.

    How long a run is, the run before it says: machines differ, and so does what else
    they do. Where nothing was left, it is tried again.
    """
    before = listed(stage)
    command = [sys.executable, "-m", "enforcer", *stage.host.folders, "prove"]
    since = time.monotonic()
    prove(stage)
    whole = time.monotonic() - since
    left = tried = 0
    while tried < number or (not left and tried < 5 * number):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
            time.sleep(whole * (tried % number) / number)
            killed.kill()
        tried += 1
        left += listed(stage) != before
    assert left > 0  # or nothing was tried


def left_behind(stage: Stage, before: set[str]) -> set[str]:
    """What is there of all that can be, and was not `before`.

    What an engine was about to make when a run was killed may come after the next one
    has cleaned up; then the one after that finds it.
    """
    found = (everything(stage) | listed(stage)) - before
    for _ in range(3):
        if found:
            prove(stage)
            found = (everything(stage) | listed(stage)) - before
    return found


def everything(stage: Stage) -> set[str]:
    """Every path in the engine's folders, but for what it names by itself as it goes.

    And everywhere else what bears a mark of ours. Where a call was broken off, engines
    may leave half a blob, for a day, the empty folder of a container's streams, and
    what they were removing under a name with a dot.
    """
    home = _containerd(stage).home
    streams = home / "exec" / "containerd"
    found = {
        str(path)
        for path in _below(home)
        if not _ENGINES_OWN.search(str(path))
        and not (path.parent == streams and _is_empty(path))
    }
    for top, depth in OUTSIDE.items():
        found |= {str(p) for p in _below(Path(top), depth) if MARK in p.name}
    return found


def listed(stage: Stage) -> set[str]:
    """What the engine's own API lists, of whatever namespace.

    But for leases that hold nothing, or half a blob: dockerd forgets one for a day
    where a call was broken off at its beginning, and nothing tells whose it was. And
    for what dockerd has in containerd of a container, which it may forget, too: its
    own list is the one that counts.
    """
    with grpc.insecure_channel(
        f"unix:{_containerd(stage).socket}",
        options=[("grpc.default_authority", "localhost")],
    ) as channel:
        found = set(_in_containerd(channel))
    if isinstance(stage.engine, Dockerd):
        whole = "--no-trunc"
        for words in (
            ("ps", "--all", whole),
            ("images", "--all", whole),
            ("volume", "ls"),
        ):
            done = stage.engine.docker(*words, "--quiet")
            found |= {f"{words[0]} {line}" for line in done.stdout.splitlines()}
    return found


def marked(stage: Stage) -> set[str]:
    """What of that bears a mark of ours."""
    return {line for line in listed(stage) if MARK in line}


def _in_containerd(channel: grpc.Channel) -> Iterator[str]:
    namespaces = namespaces_pb2_grpc.NamespacesStub(channel)
    asked = namespaces_pb2.ListNamespacesRequest()
    for name in [n.name for n in namespaces.List(asked).namespaces]:
        here = (("containerd-namespace", name),)
        yield f"namespace {name}"
        images = images_pb2_grpc.ImagesStub(channel)
        for image in images.List(images_pb2.ListImagesRequest(), metadata=here).images:
            yield f"{name} image {image.name} {image.target.digest}"
        if name != docker.NAMESPACE:
            containers = containers_pb2_grpc.ContainersStub(channel)
            every = containers_pb2.ListContainersRequest()
            listed = containers.List(every, metadata=here).containers
            yield from (f"{name} container {one.id}" for one in listed)
        yield from (f"{name} lease {lease}" for lease in _leases(channel, name))
        content = content_pb2_grpc.ContentStub(channel)
        for page in content.List(content_pb2.ListContentRequest(), metadata=here):
            yield from (f"{name} content {blob.digest}" for blob in page.info)
        snapshots = snapshots_pb2_grpc.SnapshotsStub(channel)
        overlay = snapshots_pb2.ListSnapshotsRequest(snapshotter="overlayfs")
        for layers in snapshots.List(overlay, metadata=here):
            yield from (f"{name} snapshot {layer.name}" for layer in layers.info)


def _leases(channel: grpc.Channel, namespace: str) -> Iterator[str]:
    here = (("containerd-namespace", namespace),)
    leases = leases_pb2_grpc.LeasesStub(channel)
    for lease in leases.List(leases_pb2.ListRequest(), metadata=here).leases:
        kept = []
        with suppress(grpc.RpcError):  # gone since
            held = leases_pb2.ListResourcesRequest(id=lease.id)
            found = leases.ListResources(held, metadata=here).resources
            kept = [f"{r.type}:{r.id}" for r in found if r.type != "ingests"]
        if kept or MARK in lease.id:
            yield f"{lease.id} {' '.join(sorted(kept))}"


def _containerd(stage: Stage) -> Containerd:
    engine = stage.engine
    return engine.containerd if isinstance(engine, Dockerd) else engine


def _is_empty(folder: Path) -> bool:
    with suppress(OSError):
        return not any(folder.iterdir())
    return False


def _below(folder: Path, depth: int = 100) -> list[Path]:
    """Everything there; what others remove meanwhile is not."""
    found = []
    for here, folders, files in os.walk(folder):
        found += [Path(here) / name for name in (*folders, *files)]
        if len(Path(here).relative_to(folder).parts) + 1 >= depth:
            folders.clear()
    return found
