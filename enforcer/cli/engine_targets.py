"""`docker:NAME` and `containerd:NAME`: images that an engine on this host holds.

Apart from the other targets, because the engines need grpc, which is slow to load.
"""

from dataclasses import replace
from functools import partial

from enforcer.assembly import engines
from enforcer.cli.target import Stream, Target
from enforcer.core.codes import Code
from enforcer.core.subject import Claim
from enforcer.files import FileError
from enforcer.ports import EngineError
from enforcer.settings import Settings
from enforcer.sources.engines.at_rest import containerd_image, docker_image


def containerd_target(name: str, settings: Settings) -> Target:
    """Find an image in containerd's store, by `[NAMESPACE/]NAME`."""
    # `k8s.io/NAME` may be a namespace or a registry: the default namespace first.
    namespace, slash, rest = name.partition("/")
    readings = [("default", name), *([(namespace, rest)] if slash else [])]
    problem: EngineError | None = None
    for engine in engines(settings).containerds:
        for reading in readings:
            try:
                return _target(containerd_image(engine, *reading), engine.stream)
            except EngineError as error:
                if error.code is not Code.NO_RECORD:
                    raise
                problem = problem or error
    raise problem or _no_engine("containerd")


def docker_target(name: str, settings: Settings) -> Target:
    """Find an image of Docker's, in either of its stores."""
    problem: EngineError | None = None
    for docker in engines(settings).dockers:
        try:
            claim = docker_image(docker, name)
        except EngineError as error:
            if error.code is not Code.CONTENT_MISSING:
                raise
            problem = problem or error
            continue
        if claim.contents:
            return _target(claim, docker.containerd.stream)
        # Docker's own store keeps no manifests.
        made = docker.graph.manifest(claim.config_digest)
        held = partial(docker.graph.stream, claim.config_digest)
        return _target(replace(claim, contents=(made,)), held)
    raise problem or _no_engine("docker")


def _target(claim: Claim, held: Stream) -> Target:
    """Make the target for an image; the index or manifest its name stands for first."""
    *others, top = claim.contents
    return Target(claim.shown, (top, *others), claim.names, claim=claim, held=held)


def _no_engine(kind: str) -> FileError:
    return FileError(
        f"enforcer.yaml lists no {kind} engine", remedy="Add it under `engines`."
    )


FINDERS = {"docker": docker_target, "containerd": containerd_target}
