"""`docker:NAME` and `containerd:NAME`: images that an engine on this host holds.

Apart from the other targets, because the engines need grpc, which is slow to load.
"""

from enforcer.assembly import engines
from enforcer.cli.target import Target
from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.subject import Claim, Content
from enforcer.files import FileError
from enforcer.ports import EngineError
from enforcer.settings import Settings
from enforcer.sources.engines.containerd import Containerd, parse_name
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
    names = (parse_name(name),)
    claim = Claim(
        clip(name), names, found.config_digest, found.config, None, found.contents
    )
    top = engine.content(target)
    return Target(clip(name), _top_first(top, found.contents), names, claim=claim)


def docker_target(name: str, settings: Settings) -> Target:
    """Find an image of Docker's, in either of its stores."""
    problem: EngineError | None = None
    for docker in engines(settings).dockers:
        full, target = docker.find(name)
        if target is not None:
            return _docker_store(docker, name, full)
        try:
            return _docker_graph(docker, name, full)
        except EngineError as error:
            if error.code is not Code.CONTENT_MISSING:
                raise
            problem = problem or error
    raise problem or _no_engine("docker")


def _docker_store(docker: Docker, name: str, full: str) -> Target:
    engine = docker.containerd
    target = engine.target(NAMESPACE, full)
    found = engine.runnable(target, rootfs=None, shown=clip(name))
    origin = any(
        engine.has_origin(NAMESPACE, c.descriptor.digest) for c in found.contents
    )
    names = (docker.name(name, origin=origin),)
    claim = Claim(
        clip(name), names, found.config_digest, found.config, None, found.contents
    )
    top = engine.content(target)
    return Target(clip(name), _top_first(top, found.contents), names, claim=claim)


def _docker_graph(docker: Docker, name: str, full: str) -> Target:
    image = docker.graph.find(familiar(full))
    manifest = docker.graph.manifest(image)
    names = (docker.name(name, origin=docker.graph.has_origin(image)),)
    claim = Claim(
        clip(name), names, image, docker.graph.config(image), None, (manifest,)
    )
    return Target(clip(name), (manifest,), names, claim=claim)


def _top_first(top: Content, others: tuple[Content, ...]) -> tuple[Content, ...]:
    return (top, *(content for content in others if content != top))


def _no_engine(kind: str) -> FileError:
    return FileError(
        f"enforcer.yaml lists no {kind} engine", remedy="Add it under `engines`."
    )


FINDERS = {"docker": docker_target, "containerd": containerd_target}
