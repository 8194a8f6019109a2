"""Images at rest: what a name or an id stands for, found as the engine finds it.

Docker: `resolveImage` of its containerd store and `getImage` of its own store
(moby, daemon/containerd/image.go and daemon/images/image.go); CRI: `LocalResolve`
(containerd, internal/cri). What could mean two images is refused, never guessed.
"""

import re
from contextlib import suppress

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import Reference, parse_reference
from enforcer.core.subject import Claim
from enforcer.ports import EngineError
from enforcer.sources.engines.containerd import (
    CRI_NAMESPACE,
    Containerd,
    ambiguous,
)
from enforcer.sources.engines.docker import NAMESPACE, Docker, familiar

MAX_NAMESPACE = 76  # containerd, pkg/identifiers

_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")  # the same
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_WHOLE_ID = 64
_SHORTEST_ID = 4  # in Docker's containerd store (daemon/containerd: truncatedID)


def containerd_image(engine: Containerd, namespace: str, name: str) -> Claim:
    """Say what a stored image name of a namespace would run as.

    Raises:
        EnforcerError: No such image, or it is not what its name says.
    """
    if len(namespace) > MAX_NAMESPACE or not _NAMESPACE.fullmatch(namespace):
        raise namespace_refused(namespace)
    stored, target = _stored(engine, namespace, name)
    found = engine.runnable(target, rootfs=None, shown=clip(name))
    if stored.startswith("sha256:") and stored not in (
        str(found.config_digest),
        str(target.digest),
    ):
        raise EngineError(
            f"containerd has another image under {clip(name)}",
            remedy="Remove that name and pull or load the image again.",
            code=Code.CONTENT_TAMPERED,
        )
    names = engine.names_for(namespace, stored, target.digest)
    return Claim(
        clip(name), names, found.config_digest, found.config, None, found.contents
    )


def docker_image(docker: Docker, name: str) -> Claim:
    """Say what a name or an id of Docker's would run as.

    Which of its two stores Docker uses is in no file: both are asked, and have to
    agree where both know the name.

    Raises:
        EnforcerError: No such image, or more than one.
    """
    found = [
        claim
        for claim in (_store_image(docker, name), _graph_image(docker, name))
        if claim is not None
    ]
    if not found:
        raise EngineError(
            f"Docker has no image called {clip(name)}",
            remedy="docker images lists what there is.",
            code=Code.CONTENT_MISSING,
        )
    if len({(claim.config_digest, claim.names) for claim in found}) > 1:
        raise ambiguous(clip(name), "Docker's two image stores differ about it")
    return found[0]


def namespace_refused(namespace: str) -> EngineError:
    """Make the refusal of a namespace that an engine cannot have."""
    return EngineError(
        f'"{clip(namespace)}" is no namespace of this engine',
        remedy="containerd has namespaces such as default or k8s.io, docker has none.",
    )


def _stored(engine: Containerd, namespace: str, name: str) -> tuple[str, Descriptor]:
    """Find a stored name: as it is, and in CRI's namespace also spelled out."""
    full = name
    if namespace == CRI_NAMESPACE and not _is_digest(name):
        with suppress(EnforcerError):  # no reference: then only as it is
            full = _spelled_out(parse_reference(name))
    target = _held(engine, namespace, full) if full != name else None
    if target is None:
        return name, engine.target(namespace, name)
    if _held(engine, namespace, name) not in (None, target):
        raise ambiguous(clip(name), "containerd also has that very name, unlike CRI's")
    return full, target


def _store_image(docker: Docker, name: str) -> Claim | None:
    """Find a name or id in containerd's store, or return None."""
    engine = docker.containerd
    target, by_id = _named(engine, name), False
    if target is None:
        target, by_id = _with_id(engine, name), True
    if target is None:
        return None
    found = engine.runnable(target, rootfs=None, shown=clip(name))
    names = [name]
    if by_id:
        names = [familiar(n) for n in engine.raw_names_of(NAMESPACE, target.digest)]
    origin = engine.has_origin(NAMESPACE, found)
    return Claim(
        clip(name),
        tuple(docker.name(n, origin=origin) for n in names),
        found.config_digest,
        found.config,
        None,
        found.contents,
    )


def _named(engine: Containerd, name: str) -> Descriptor | None:
    """Find a name; one with a digest by that, if its repository has it at all."""
    if _is_digest(name):
        return None
    reference = parse_reference(name)
    if reference.digest is None:
        return _held(engine, NAMESPACE, _spelled_out(reference))
    repository = reference.repository(local=False)
    for held, target in engine.images(NAMESPACE, f"target.digest=={reference.digest}"):
        with suppress(EnforcerError):  # Docker, too, passes over what is no name
            if parse_reference(held).repository(local=False) == repository:
                return target
    return None


def _with_id(engine: Containerd, name: str) -> Descriptor | None:
    """Find an id or the beginning of one, among indexes and manifests."""
    prefix = _id_prefix(name)
    if len(prefix) < _SHORTEST_ID:
        return None
    listed = engine.images(NAMESPACE, f'target.digest~="^sha256:{prefix}"')
    found = {target.digest: target for _, target in listed}
    if len(found) > 1:
        raise ambiguous(clip(name), f"{len(found)} ids begin with it")
    return next(iter(found.values()), None)


def _graph_image(docker: Docker, name: str) -> Claim | None:
    """Find a name or id in Docker's own store, or return None."""
    graph = docker.graph
    image = None
    if not _is_digest(name):
        reference = parse_reference(name)
        repository = familiar(reference.repository(local=False))
        image = graph.find(repository, familiar(_spelled_out(reference)))
    names = [name]
    if image is None:
        ids = graph.ids(prefix) if (prefix := _id_prefix(name)) else ()
        if len(ids) > 1:
            raise ambiguous(clip(name), f"{len(ids)} ids begin with it")
        if not ids:
            return None
        image = ids[0]
        names = list(graph.names_of(image))
    origin = graph.has_origin(image)
    judged = tuple(docker.name(n, origin=origin) for n in names)
    return Claim(clip(name), judged, image, graph.config(image), None, ())


def _is_digest(name: str) -> bool:
    """Whether this is a whole id, never a name (distribution, ParseAnyReference)."""
    return len(_id_prefix(name)) == _WHOLE_ID


def _id_prefix(name: str) -> str:
    match = _ID.fullmatch(name)
    return match.group(1) if match else ""


def _spelled_out(reference: Reference) -> str:
    """Spell a name as engines store it: a tag next to a digest says nothing."""
    repository = reference.repository(local=False)
    if reference.digest is not None:
        return f"{repository}@{reference.digest}"
    return f"{repository}:{reference.tag or 'latest'}"


def _held(engine: Containerd, namespace: str, name: str) -> Descriptor | None:
    """Return what a stored name stands for, or None."""
    try:
        return engine.target(namespace, name)
    except EngineError as error:
        if error.code is Code.NO_RECORD:
            return None
        raise
