"""`enforcer copy SRC DST`: an artifact with all its signatures, judged by nobody."""

import argparse
import sys
from dataclasses import replace
from functools import partial

from enforcer.assembly import signature_cache
from enforcer.cli.carried_too import WithCache
from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.places import (
    ARCHIVE,
    PLACES,
    Found,
    Place,
    open_place,
    open_registry,
    parse_place,
    repository_path,
)
from enforcer.cli.progress import Progress
from enforcer.copying import Package, gather
from enforcer.core.errors import clip
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.subject import Content
from enforcer.settings import Settings
from enforcer.sources.layout.add import add_to_folder
from enforcer.sources.layout.archive import STDIN
from enforcer.sources.layout.contents import (
    Blob,
    LayoutContents,
    Loadable,
    Named,
)
from enforcer.sources.layout.writer import write_archive, write_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.description = (
        "Copy an artifact, byte for byte, with its signatures, revocation evidence and "
        "everything else that is about it. Nothing is judged; the tag comes last."
    )
    parser.add_argument("source", metavar="SRC", help=PLACES)
    parser.add_argument(
        "destination", metavar="DST", help="the same; without a tag: SRC's"
    )
    parser.add_argument(
        "--with-cache",
        action="store_true",
        help="bring this host's cached signatures about it as well; SRC may be DST",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an archive that is there"
    )


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: from layout to layout."""
    places = (arguments.source, arguments.destination)
    return all(text.startswith(("oci-layout:", "oci-archive:")) for text in places)


def run(arguments: argparse.Namespace) -> int:
    """Copy, and say what was carried."""
    source, destination = map(parse_place, (arguments.source, arguments.destination))
    if destination.transport == ARCHIVE and destination.path.name == STDIN:
        raise UsageError(
            "copy writes no archive to standard output: name a file, or use `enforcer "
            "cache export --with-image`"
        )
    settings = settings_of(arguments)
    with open_place(source, settings) as found:
        digest = found.top.descriptor.digest
        if destination.digest not in (None, digest):
            raise UsageError(
                f"{clip(source.text)} is {digest}, and DST names another digest"
            )
        if arguments.with_cache:
            cache = signature_cache(settings)
            found = replace(found, origin=WithCache(found.origin, cache))
        package = gather(found.origin, found.top)
        total = sum(blob.size for blob in package.blobs)
        with Progress("copying", total=total, quiet=is_json(arguments)) as tell:
            if destination.reference:
                _push(package, found, (source, destination), settings, tell)
            else:
                _write(package, found, destination, tell, force=arguments.force)
    for item in package.refused:
        why = clip(item.why, limit=500)
        print(f"enforcer: not copied: {clip(item.what)}: {why}", file=sys.stderr)
    _say(package, arguments)
    return REFUSED if package.refused else DONE


def _push(
    package: Package,
    found: Found,
    places: tuple[Place, Place],
    settings: Settings,
    tell: Progress,
) -> None:
    from enforcer.sources.registry.push import Push

    source, destination = places
    here, there = source.reference, destination.reference
    if there is None:
        return
    with open_registry(there, settings, to_write=True) as (registry, repository):
        is_same = here is not None and here.host == there.host
        mount_from = repository_path(here) if here and is_same else ""
        push = Push(registry, repository, mount_from=mount_from)
        tag = destination.tag or found.tag
        push.package(package, found.origin, tag=tag, tell=tell)


def _write(
    package: Package,
    found: Found,
    destination: Place,
    tell: Progress,
    *,
    force: bool,
) -> None:
    contents = _contents(package, found, destination.tag)
    path = destination.path
    if destination.transport == ARCHIVE:
        write_archive(path, contents, force=force, tell=tell)
    elif (path / "index.json").exists():
        add_to_folder(path, contents, tell=tell)
    else:
        write_folder(path, contents, tell=tell)


def _contents(package: Package, found: Found, tag: str) -> LayoutContents:
    """Say what a layout is to hold; a new tag is no part of the old name."""
    manifests = [*package.manifests, *(one.content for one in package.referrers)]
    blobs = [Blob.of(content.raw) for content in manifests]
    blobs += [
        Blob(blob.digest, blob.size, partial(found.origin.stream, blob))
        for blob in package.blobs
    ]
    names = (found.name,) if found.name and not tag else ()
    top = package.top
    named = Named(top.descriptor, names, tag or found.tag)
    beside = tuple(one.content.descriptor for one in package.referrers)
    by_digest = {blob.digest: blob for blob in blobs}
    return LayoutContents((named,), beside, by_digest, _loadable(top, names))


def _loadable(top: Content, names: tuple[str, ...]) -> tuple[Loadable, ...]:
    """Say what `docker load` is to load into an overlay2 store: a single image."""
    parsed = parse_manifest_or_index(top.raw)
    if isinstance(parsed, Index) or not parsed.is_image:
        return ()
    layers = tuple(layer.digest for layer in parsed.layers)
    return (Loadable(parsed.config.digest, layers, names),)


def _say(package: Package, arguments: argparse.Namespace) -> None:
    digest = str(package.top.descriptor.digest)
    others = len(package.referrers) - package.signatures
    if is_json(arguments):
        print_json(
            {
                "source": arguments.source,
                "destination": arguments.destination,
                "digest": digest,
                "signatures": package.signatures,
                "otherReferrers": others,
                "refused": [{"what": r.what, "why": r.why} for r in package.refused],
            }
        )
        return
    source, destination = clip(arguments.source), clip(arguments.destination)
    print(f"copied {source} to {destination} ({digest})")
    also = f" and {others} other manifest(s) about it" if others else ""
    print(f"  with {package.signatures} signature(s){also}; nothing was judged")
