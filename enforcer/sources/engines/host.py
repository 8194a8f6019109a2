"""Which engine asks, and what it would run."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.image import Platform
from enforcer.core.subject import Claim
from enforcer.files import FileMissingError, read_file
from enforcer.ports import (
    BuildStep,
    ContainerRef,
    EngineError,
    Holdings,
    ImageRef,
    RefusedContainer,
    Roll,
    RunningContainer,
)
from enforcer.sources.engines.at_rest import (
    containerd_image,
    docker_image,
    namespace_refused,
)
from enforcer.sources.engines.bundle import load_start
from enforcer.sources.engines.containerd import Containerd
from enforcer.sources.engines.docker import NAMESPACE, Docker
from enforcer.sources.engines.given_up import given_up
from enforcer.sources.engines.holdings import holdings
from enforcer.sources.engines.image_mounts import (
    Finder,
    containerd_images,
    docker_images,
    image_mounts,
    store_folders,
)
from enforcer.sources.engines.running import RollCall
from enforcer.sources.engines.stopping import Stopper

# Python's names for machines -> Go's (image-spec, "Platform")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class HostEngines:
    """The engines enforcer.yaml lists; finds the one a bundle belongs to."""

    def __init__(self, engines: Sequence[tuple[str, Path, Path, Path, Path]]) -> None:
        """Take (kind, socket, root, state, api) of each engine."""
        self._roots = {root: root.resolve() for _, _, root, _, _ in engines}
        resolved = [(k, s, r.resolve(), st.resolve(), a) for k, s, r, st, a in engines]
        self.containerds = [
            Containerd(socket=s, root=root, state=st, platform=host_platform())
            for kind, s, root, st, _ in resolved
            if kind == "containerd"
        ]
        self.dockers = [
            Docker(root=root, containerd=containerd, api=api)
            for kind, s, root, _, api in resolved
            if kind == "docker"
            for containerd in self.containerds
            if containerd.socket == s
        ]
        self._roll_call = RollCall(self.containerds, self.dockers)
        self._stopper = Stopper(self.containerds, self.dockers)

    def running(self) -> Roll:
        """Say what runs; see `ports.LiveEngines`."""
        return self._roll_call.roll()

    def held(self) -> Holdings:
        """Say which images are at rest; see `ports.LiveEngines`."""
        return holdings(self.containerds, self.dockers)

    def refused(self) -> tuple[RefusedContainer, ...]:
        """Say what Docker gave up; see `ports.LiveEngines`."""
        return tuple(found for docker in self.dockers for found in given_up(docker))

    def stop(self, container: RunningContainer, grace_seconds: int) -> None:
        """Begin to stop a container; see `ports.LiveEngines`."""
        self._stopper.stop(container, grace_seconds)

    def start(self, container: RefusedContainer) -> None:
        """Begin to start a container; see `ports.LiveEngines`."""
        self._stopper.start(container)

    def resolve(self, container: ContainerRef) -> Claim | BuildStep:
        """Say what would run; see `ports.Engines`."""
        bundle = Path(container.bundle).resolve()
        for docker in self.dockers:
            if bundle.parent == docker.executor:
                return self._build_step(container)
        for containerd in self.containerds:
            if bundle.parent.parent == containerd.tasks and bundle.name == container.id:
                return self._claim(containerd, bundle.parent.name, container)
        raise EngineError(
            f"container {clip(container.id, limit=64)} comes from no engine that "
            f"enforcer.yaml lists (bundle {clip(container.bundle)})",
            remedy="Add the engine to `engines`, if it should start containers here; "
            "systemctl restart enforcer-resolver enforcer",
            code=Code.ENGINE_UNKNOWN,
        )

    def resolve_image(self, image: ImageRef) -> Claim:
        """Say what an image at rest would run as; see `ports.Engines`."""
        asked = Path(image.engine_root)
        root = self._roots.get(asked, asked)
        dockers = [docker for docker in self.dockers if docker.root == root]
        containerds = [engine for engine in self.containerds if engine.root == root]
        if len(dockers) + len(containerds) != 1:
            raise EngineError(
                f"{clip(image.engine_root)} is not the root of one engine that "
                "enforcer.yaml lists",
                remedy="Add the engine to `engines`, each with a root of its own; "
                "systemctl restart enforcer-resolver enforcer",
                code=Code.ENGINE_UNKNOWN,
            )
        for docker in dockers:
            if image.namespace:
                raise namespace_refused(image.namespace)
            return docker_image(docker, image.name)
        return containerd_image(containerds[0], image.namespace, image.name)

    def _claim(
        self, containerd: Containerd, namespace: str, container: ContainerRef
    ) -> Claim:
        """Say what would run, and which images would be mounted into it."""
        start, id_ = load_start(container), container.id
        find: Finder
        if namespace == NAMESPACE:
            docker = self._docker_of(containerd, id_)
            claim = docker.claim(start)
            find = partial(docker_images, docker, id_)
        else:
            claim = containerd.claim(namespace, start)
            find = partial(containerd_images, containerd, namespace, id_)
        stores = store_folders(self.containerds, self.dockers)
        return replace(claim, mounts=image_mounts(start, stores, find))

    def _docker_of(self, containerd: Containerd, container: str) -> Docker:
        for docker in self.dockers:
            if docker.containerd is containerd and docker.has(container):
                return docker
        raise EngineError(
            f"no Docker has a record of container {clip(container, limit=64)}",
            remedy="No record is a denial. Check the docker `root` in enforcer.yaml.",
        )

    def _build_step(self, container: ContainerRef) -> BuildStep:
        """Recognise BuildKit by its folder and its parent, both; never by absence."""
        gate = _parent(container.peer_pid)
        program = Path(f"/proc/{_parent(gate)}/exe")
        try:
            name = program.readlink().name.removesuffix(" (deleted)")
        except OSError:
            name = ""
        if container.command != "run" or name != "dockerd":
            raise EngineError(
                "this looks like a RUN step of BuildKit, but dockerd did not start it",
                remedy="Build with docker build.",
                code=Code.ENGINE_UNKNOWN,
            )
        return BuildStep(f"RUN step {clip(container.id, limit=32)} of an image build")


def host_platform() -> Platform:
    """Return this host's platform in Go's words."""
    machine = platform.machine()
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def _parent(pid: int) -> int:
    """Return a process's parent; 0 where there is none to be found."""
    try:
        raw = read_file(Path(f"/proc/{pid}/stat"), max_bytes=4096)
    except FileMissingError:
        return 0
    return int(raw.rpartition(b")")[2].split()[1])  # after the name: state, parent
