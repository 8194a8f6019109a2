"""`docker:NAME` and `containerd:NAME`: images that an engine on this host holds.

Apart from the other targets, because the engines need grpc, which is slow to load.
"""

from enforcer.assembly import engines
from enforcer.cli.target import Target
from enforcer.core.errors import clip
from enforcer.core.subject import Claim, Content
from enforcer.files import FileError
from enforcer.settings import Settings
from enforcer.sources.engines.containerd import parse_name
from enforcer.sources.engines.docker import NAMESPACE, Docker, familiar


def containerd_target(name: str, settings: Settings) -> Target:
    """Find an image in containerd's store, by `[NAMESPACE/]NAME`."""
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost"
    namespace, name = (first, rest) if slash and not is_host else ("default", name)
    for engine in engines(settings).containerds:
        target = engine.target(namespace, name)
        found = engine.runnable(target, rootfs=None, shown=clip(name))
        names = (parse_name(name),)
        claim = Claim(
            clip(name), names, found.config_digest, found.config, None, found.contents
        )
        top = engine.content(target)
        return Target(clip(name), _top_first(top, found.contents), names, claim=claim)
    raise _no_engine("containerd")


def docker_target(name: str, settings: Settings) -> Target:
    """Find an image of Docker's, in either of its stores."""
    dockers = engines(settings).dockers
    for docker in dockers:
        full, target = docker.find(name)
        if target is not None:
            return _docker_store(docker, name, full)
        if docker.uses_graph_driver():
            return _docker_graph(docker, name, full)
    raise (
        FileError(
            f"Docker has no image called {clip(name)}",
            remedy="docker images lists what there is.",
        )
        if dockers
        else _no_engine("docker")
    )


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
