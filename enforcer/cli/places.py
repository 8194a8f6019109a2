"""Where artifacts are copied from and to: layouts, archives and registries."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.cli.registry import registry_reference
from enforcer.cli.targets import split_layout
from enforcer.copying import Origin
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.reference import Reference, parse_reference, parse_tag_or_digest
from enforcer.core.subject import Content
from enforcer.settings import Settings
from enforcer.sources.layout import open_layout
from enforcer.sources.layout.origin import LayoutOrigin

if TYPE_CHECKING:  # what speaks to networks is loaded where somebody does
    from enforcer.sources.registry.client import Registry

PLACES = (
    "oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST] or "
    "REGISTRY/REPOSITORY[:TAG][@DIGEST]"
)
ARCHIVE = "oci-archive"
MAX_SECONDS = 6 * 3600.0  # an image of some ten gigabytes over a slow line
LATEST = "latest"  # what every client means by a repository alone


@dataclass(frozen=True, slots=True)
class Place:
    """A layout (`path`) or a repository (`reference`), and what of it is meant."""

    text: str
    transport: str
    path: Path
    reference: Reference | None
    tag: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a place names: the manifest or index, and where the rest of it is.

    `name` is its full name with a tag, if it has one. `tag` is the one it was found by,
    named or not, for a copy that is given none; "" where a digest was named.
    """

    origin: Origin
    top: Content
    name: str
    tag: str


def parse_place(text: str) -> Place:
    """Read SRC or DST.

    Raises:
        UsageError: It is none of PLACES.
    """
    transport, _, rest = text.partition(":")
    if transport in ("oci-layout", ARCHIVE) and rest:
        path, tag, digest = split_layout(rest)
        return Place(text, transport, path, None, tag, digest)
    reference = registry_reference(text, expected=PLACES)
    path = Path(reference.path)
    return Place(text, "", path, reference, reference.tag, reference.digest)


@contextlib.contextmanager
def open_place(place: Place, settings: Settings) -> Iterator[Found]:
    """Find what a place names.

    Raises:
        EnforcerError: It is not there, or cannot be read.
    """
    if place.reference is None:
        with open_layout(place.path, archive=place.transport == ARCHIVE) as layout:
            top = layout.find(tag=place.tag, digest=place.digest)
            name = layout.name_of(top.descriptor.digest)
            tag = place.tag
            if "/" in tag or not (tag or place.digest):
                tag = _tag_of(tag or name)
            yield Found(LayoutOrigin(layout), top, name if "/" in name else "", tag)
        return
    from enforcer.sources.registry.repository import Repository

    with open_registry(place.reference, settings) as (registry, repository):
        origin = Repository(registry, repository)
        top = origin.find(str(place.digest or place.tag or LATEST))
        full = place.reference.repository(local=False)
        tag = place.tag or ("" if place.digest else LATEST)
        yield Found(origin, top, "" if place.digest else f"{full}:{tag}", tag)


@contextlib.contextmanager
def open_registry(
    reference: Reference, settings: Settings, *, to_write: bool = False
) -> Iterator[tuple["Registry", str]]:
    """Lend a registry, with the caller's own login, and a repository's path there."""
    from enforcer.assembly import access_for
    from enforcer.sources.registry.client import Registry

    access, repository = access_for(settings, reference, to_write=to_write)
    with Registry(access, time.monotonic() + MAX_SECONDS) as registry:
        yield registry, repository


def _tag_of(recorded: str) -> str:
    """Return the tag in what a layout calls something; "" where that has none."""
    with contextlib.suppress(EnforcerError):
        if "/" in recorded:
            return parse_reference(recorded).tag
        tag = parse_tag_or_digest(recorded)
        return tag if isinstance(tag, str) else ""
    return ""


def repository_path(reference: Reference) -> str:
    """Return the repository's name at its own registry: `library/` is spelt out."""
    return reference.repository(local=False).partition("/")[2]
