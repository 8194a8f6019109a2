"""What a command is about: `oci-layout:DIR`, `docker:NAME` and their like."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from enforcer.cli.main import UsageError
from enforcer.cli.registry import (
    fetch_blob,
    fetch_collected,
    registry_reference,
)
from enforcer.cli.target import Target
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import Reference, parse_reference
from enforcer.core.subject import Content, ImageName
from enforcer.settings import Settings
from enforcer.sources.layout import Layout, open_layout

TRANSPORTS = ("oci-layout", "oci-archive", "docker", "containerd")
LOCAL_FORMS = (
    "oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST], docker:NAME or "
    "containerd:[NAMESPACE/]NAME"
)
FORMS = f"{LOCAL_FORMS}, or REGISTRY/REPOSITORY[:TAG][@DIGEST]"


@contextlib.contextmanager
def open_target(
    text: str, settings: Settings, *, registries: bool = False
) -> Iterator[Target]:
    """Find what a target names; a registry is asked only where `registries` says so.

    Raises:
        UsageError: Not one of FORMS, or a registry's and none is to be asked.
        EnforcerError: It is not there, or cannot be read.
    """
    transport, _, rest = text.partition(":")
    if transport == "file":
        raise UsageError(
            "a file carries no signature: what can be signed is a manifest that names "
            "it. Put it into a layout (`oras push --oci-layout DIR:TAG FILE`), have "
            "that signed, and verify oci-layout:DIR:TAG"
        )
    if not rest or transport not in TRANSPORTS:
        if not registries:
            raise UsageError(f'"{clip(text)}" is no target; expected {LOCAL_FORMS}')
        yield _at_registry(registry_reference(text, expected=FORMS), settings)
    elif transport in ("docker", "containerd"):
        from enforcer.cli import engine_targets  # grpc: slow to load

        yield engine_targets.FINDERS[transport](rest, settings)
    else:
        path, tag, digest = split_layout(rest)
        with open_layout(path, archive=transport == "oci-archive") as layout:
            yield _layout(layout, tag, digest, path)


def split_layout(text: str) -> tuple[Path, str, Digest | None]:
    """Split `DIR[:TAG][@DIGEST]`; a colon that is part of an existing path stays.

    Of a path that is there the rest may be a full name: `DIR:docker.io/library/app:1`.
    """
    if Path(text).exists():
        return Path(text), "", None
    place, at, named = text.rpartition("@")
    digest = parse_digest(named) if at else None
    place = place if at else text
    if Path(place).exists():
        return Path(place), "", digest
    path, colon, tag = place.rpartition(":")
    for end in (n for n in range(len(place) - 1, 0, -1) if place[n] == ":"):
        if Path(place[:end]).exists():
            path, tag = place[:end], place[end + 1 :]
            break
    if colon and not (path and tag):
        raise UsageError(f'"{clip(text)}" has an empty folder or tag')
    return (Path(path), tag, digest) if colon else (Path(place), "", digest)


def parse_digest(text: str) -> Digest:
    """Read a digest from the command line, or raise UsageError."""
    try:
        return Digest.parse(text)
    except EnforcerError as error:
        raise UsageError(f"{error.what}. {error.remedy}") from error


def _layout(layout: Layout, tag: str, digest: Digest | None, path: Path) -> Target:
    content = layout.find(tag=tag, digest=digest)
    found = content.descriptor.digest
    recorded = layout.name_of(found)
    names: tuple[ImageName, ...] = ()
    with contextlib.suppress(EnforcerError):
        reference = parse_reference(recorded)
        if reference.host:  # a full name; a bare tag says nothing about whose
            names = (ImageName(clip(recorded), reference.repository(local=False)),)
    shown = f"{layout.name}:{clip(tag)}" if tag else f"{layout.name}@{found.short}"
    contents = (content, *layout.children(content))
    return Target(
        shown,
        contents,
        names,
        carried=lambda: layout.collect(found),
        folder=path,
        stream=layout.stream,
        held=layout.stream,
        tag="" if names else recorded,
    )


def _at_registry(reference: Reference, settings: Settings) -> Target:
    """Return what a registry holds; its name is known, unlike a layout's."""
    items = fetch_collected(reference, settings)
    contents = tuple(item for item in items if isinstance(item, Content))
    name = ImageName(clip(reference.text), reference.scope)
    return Target(
        clip(reference.text),
        contents,
        (name,),
        carried=lambda: items,
        stream=partial(fetch_blob, reference, settings),
    )
