"""`docker:NAME` and `containerd:NAME`: images that an engine on this host holds.

Apart from the other targets, because the engines need grpc, which is slow to load.
"""

from enforcer.assembly import engines
from enforcer.cli.target import Target
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import clip
from enforcer.core.subject import Claim, ImageName
from enforcer.files import FileError
from enforcer.ports import EngineError
from enforcer.settings import Settings
from enforcer.sources.engines.containerd import Containerd, Runnable, parse_name
from enforcer.sources.engines.docker import NAMESPACE, Docker, familiar


def containerd_target(name: str, settings: Settings) -> Target:
    """Find an image in containerd's store, by `[NAMESPACE/]NAME`."""
    # `k8s.io/NAME` may be a namespace or a registry: the default namespace first.
    namespace, slash, rest = name.partition("/")
    readings = [("default", name), *([(namespace, rest)] if slash else [])]
    problem: EngineError | None = None
    for engine in engines(settings).containerds:
        for reading in readings:
            try:
                return _containerd_image(engine, *reading)
            except EngineError as error:
                if error.code is not Code.NO_RECORD:
                    raise
                problem = problem or error
    raise problem or _no_engine("containerd")


def _containerd_image(engine: Containerd, namespace: str, name: str) -> Target:
    target = engine.target(namespace, name)
    found = engine.runnable(target, rootfs=None, shown=clip(name))
    return _stored(engine, target, found, parse_name(name))


def docker_target(name: str, settings: Settings) -> Target:
    """Find an image of Docker's, in either of its stores."""
    problem: EngineError | None = None
    for docker in engines(settings).dockers:
        full, target = docker.find(name)
        if target is not None:
            return _docker_store(docker, name, target)
        try:
            return _docker_graph(docker, name, full)
        except EngineError as error:
            if error.code is not Code.CONTENT_MISSING:
                raise
            problem = problem or error
    raise problem or _no_engine("docker")


def _docker_store(docker: Docker, name: str, target: Descriptor) -> Target:
    engine = docker.containerd
    found = engine.runnable(target, rootfs=None, shown=clip(name))
    origin = engine.has_origin(NAMESPACE, found)
    return _stored(engine, target, found, docker.name(name, origin=origin))


def _stored(
    engine: Containerd, target: Descriptor, found: Runnable, name: ImageName
) -> Target:
    """Make the target for an image in containerd's store; the top manifest first."""
    top = engine.content(target)
    others = (content for content in found.contents if content != top)
    claim = Claim(
        name.shown, (name,), found.config_digest, found.config, None, found.contents
    )
    return Target(name.shown, (top, *others), (name,), claim=claim)


def _docker_graph(docker: Docker, name: str, full: str) -> Target:
    image = docker.graph.find(familiar(full))
    manifest = docker.graph.manifest(image)
    names = (docker.name(name, origin=docker.graph.has_origin(image)),)
    claim = Claim(
        clip(name), names, image, docker.graph.config(image), None, (manifest,)
    )
    return Target(clip(name), (manifest,), names, claim=claim)


def _no_engine(kind: str) -> FileError:
    return FileError(
        f"enforcer.yaml lists no {kind} engine", remedy="Add it under `engines`."
    )


FINDERS = {"docker": docker_target, "containerd": containerd_target}
