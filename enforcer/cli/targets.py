"""What a command is about: `oci-layout:DIR`, `docker:NAME` and their like."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.assembly import Host
from enforcer.cli.main import UsageError
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import parse_reference
from enforcer.core.subject import Claim, Content, ImageName
from enforcer.files import FileError
from enforcer.sources.engines.containerd import parse_name
from enforcer.sources.engines.docker import NAMESPACE, Docker, familiar
from enforcer.sources.layout import Layout, open_layout

FORMS = (
    "oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST], docker:NAME or "
    "containerd:[NAMESPACE/]NAME"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One artifact on this host.

    `contents` starts with the manifest or index that a signature would be about, and
    goes on with what that lists. An engine's image has a `claim`, others a `layout`.
    """

    shown: str
    contents: tuple[Content, ...]
    names: tuple[ImageName, ...]
    claim: Claim | None = None
    layout: Layout | None = None
    folder: Path | None = None


@contextlib.contextmanager
def open_target(text: str, host: Host) -> Iterator[Target]:
    """Find what a target names.

    Raises:
        UsageError: Not one of FORMS.
        EnforcerError: It is not there, or cannot be read.
    """
    transport, _, rest = text.partition(":")
    known = ("oci-layout", "oci-archive", "docker", "containerd")
    if not rest or transport not in known:
        raise UsageError(f'"{clip(text)}" is no target; expected {FORMS}')
    if transport == "docker":
        yield _docker(rest, host)
    elif transport == "containerd":
        yield _containerd(rest, host)
    else:
        path, tag, digest = split_layout(rest)
        with open_layout(path, archive=transport == "oci-archive") as layout:
            yield _layout(layout, tag, digest, path)


def split_layout(text: str) -> tuple[Path, str, Digest | None]:
    """Split `DIR[:TAG][@DIGEST]`; a colon that is part of an existing path stays."""
    place, at, named = text.partition("@")
    digest = Digest.parse(named) if at else None
    if Path(place).exists():
        return Path(place), "", digest
    path, colon, tag = place.rpartition(":")
    return (Path(path), tag, digest) if colon else (Path(place), "", digest)


def _layout(layout: Layout, tag: str, digest: Digest | None, path: Path) -> Target:
    content = layout.find(tag=tag, digest=digest)
    found = content.descriptor.digest
    recorded = layout.tag_of(found)
    names: tuple[ImageName, ...] = ()
    with contextlib.suppress(EnforcerError):
        reference = parse_reference(recorded)
        if reference.host:  # a full name; a bare tag says nothing about whose
            names = (ImageName(clip(recorded), reference.repository(local=False)),)
    shown = f"{layout.name}:{clip(tag)}" if tag else f"{layout.name}@{found.short}"
    contents = (content, *layout.children(content))
    return Target(shown, contents, names, layout=layout, folder=path)


def _containerd(name: str, host: Host) -> Target:
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost"
    namespace, name = (first, rest) if slash and not is_host else ("default", name)
    for engine in host.engines.containerds:
        target = engine.target(namespace, name)
        found = engine.runnable(target, rootfs=None, shown=clip(name))
        names = (parse_name(name),)
        claim = Claim(
            clip(name), names, found.config_digest, found.config, None, found.contents
        )
        top = engine.content(target)
        return Target(clip(name), _top_first(top, found.contents), names, claim=claim)
    raise _no_engine("containerd")


def _docker(name: str, host: Host) -> Target:
    for docker in host.engines.dockers:
        full, target = docker.find(name)
        if target is not None:
            return _docker_store(docker, name, full, host)
        if docker.uses_graph_driver():
            return _docker_graph(docker, name, full)
    raise (
        FileError(
            f"Docker has no image called {clip(name)}",
            remedy="docker images lists what there is.",
        )
        if host.engines.dockers
        else _no_engine("docker")
    )


def _docker_store(docker: Docker, name: str, full: str, host: Host) -> Target:
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
