"""`cache export`: signatures and all they need, with their images, for a stick."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from enforcer.assembly import evidence_store, load_policy, signature_cache
from enforcer.audit.clock import HostClock
from enforcer.cli.cache.packing import Packing, Wanted, from_cache
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.progress import Progress, size_text
from enforcer.cli.target import Target
from enforcer.cli.targets import FORMS, TRANSPORTS, open_target
from enforcer.core.collected import EvidenceFile, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import parse_reference
from enforcer.core.revocation_artifact import build_evidence
from enforcer.intake.chains import cached_chains
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout.archive import STDIN as STDOUT
from enforcer.sources.layout.contents import LayoutContents
from enforcer.sources.layout.writer import (
    stream_archive,
    write_archive,
    write_folder,
    writing,
)

_NO_LAYERS = (
    '"{}" does not say where its layers are; with --with-image name docker:NAME, '
    "containerd:[NAMESPACE/]NAME, oci-layout:DIR or oci-archive:FILE"
)
_PLACES = "oci-layout:DIR or oci-archive:FILE; - for standard output"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="SUBJECT|TARGET",
        help=f"a digest that the cache knows, {FORMS}",
    )
    parser.add_argument("destination", metavar="DEST", help=_PLACES)
    parser.add_argument(
        "--with-image", action="store_true", help="configurations and layers, too"
    )
    parser.add_argument("--force", action="store_true", help="replace what is at DEST")


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: all but a registry."""
    return all(_digest(t) or t.partition(":")[0] in TRANSPORTS for t in arguments.what)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an export goes."""

    path: Path
    is_archive: bool

    @property
    def is_stdout(self) -> bool:
        return self.is_archive and str(self.path) == STDOUT


def run(arguments: argparse.Namespace) -> int:
    """Write all of it or nothing, and say what it is."""
    from enforcer.sources.engines.host import host_platform  # grpc: slow to load

    place = _place(arguments)
    settings = settings_of(arguments)
    packing = Packing(signature_cache(settings), host_platform())
    with ExitStack() as opened:
        for text in arguments.what:
            packing.add(_wanted(text, arguments, settings, packing.cache, opened))
        why_none = _add_evidence(packing, settings, HostClock().now())
        contents = packing.contents()
        total = sum(blob.size for blob in contents.blobs.values())
        with Progress("export", total=total, quiet=is_json(arguments)) as tell:
            _write(place, contents, tell, force=arguments.force)
    _tell(arguments, place, packing, total, why_none)
    return DONE


def _place(arguments: argparse.Namespace) -> _Place:
    transport, _, rest = arguments.destination.partition(":")
    if transport not in ("oci-layout", "oci-archive") or not rest:
        raise UsageError(
            f'"{clip(arguments.destination)}" is no place for an export; expected '
            f"{_PLACES}"
        )
    place = _Place(Path(rest), transport == "oci-archive")
    if place.is_stdout and (sys.stdout.isatty() or is_json(arguments)):
        raise UsageError("an archive goes to no terminal, and not into JSON")
    return place


def _wanted(
    text: str,
    arguments: argparse.Namespace,
    settings: Settings,
    cache: DiskCache,
    opened: ExitStack,
) -> Wanted:
    """Find one thing to export; what it is read from stays open."""
    digest = _digest(text)
    if digest and not arguments.with_image:
        return Wanted(digest.short, from_cache(cache, digest))
    target = None
    if not digest:
        opening = open_target(text, settings, registries=True)
        target = opened.enter_context(opening)
    if target is None or (arguments.with_image and target.held is None):
        raise UsageError(_NO_LAYERS.format(clip(text)))
    return Wanted(
        target.shown,
        target.contents,
        _full_names(target),
        target.tag,
        target.held if arguments.with_image else None,
        tuple(_carried(target)),
    )


def _digest(text: str) -> Digest | None:
    with suppress(EnforcerError):
        return Digest.parse(text)
    return None


def _carried(target: Target) -> Iterator[SignatureFile | EvidenceFile]:
    """Yield what a layout or registry holds about its image: it goes on with it."""
    for one in target.carried() if target.carried else ():
        if isinstance(one, SignatureFile | EvidenceFile):
            yield one


def _full_names(target: Target) -> tuple[str, ...]:
    """Return an image's names as engines store them; a digest is no name."""
    found = []
    for name in target.names:
        try:
            reference = parse_reference(name.shown)
            repository = reference.repository(local=False)
        except EnforcerError:
            continue  # what was too long to show
        if reference.digest is None:
            found.append(f"{repository}:{reference.tag or 'latest'}")
    return tuple(dict.fromkeys(found))


def _add_evidence(packing: Packing, settings: Settings, at: datetime) -> str:
    """Add what is kept about the signers' revocation; say why there is none, or ""."""
    try:
        force = load_policy(settings)
    except EnforcerError as error:
        return f"{error.what} [{error.code}]"
    store = evidence_store(settings)
    for digest, subject in sorted(packing.subjects().items()):
        chains = cached_chains(packing.cache, force, at, [digest])
        items = store.load(chains, at).items
        if items:
            packing.add_file(build_evidence(subject, items))
    return ""


def _write(
    place: _Place, contents: LayoutContents, tell: Progress, *, force: bool
) -> None:
    if place.is_stdout:
        with writing(place.path):
            stream_archive(sys.stdout.buffer, contents, tell=tell)
    elif place.is_archive:
        write_archive(place.path, contents, force=force, tell=tell)
    else:
        write_folder(place.path, contents, force=force, tell=tell)


def _tell(
    arguments: argparse.Namespace,
    place: _Place,
    packing: Packing,
    total: int,
    why_none: str,
) -> None:
    images, signatures = len(packing.named), len(packing.signatures)
    pieces = len(packing.pieces)
    if is_json(arguments):
        print_json(
            {
                "exported": [str(digest) for digest in packing.named],
                "signatures": signatures,
                "evidence": pieces,
                "bytes": total,
                "destination": arguments.destination,
                "noEvidence": why_none,
            }
        )
        return
    out = sys.stderr if place.is_stdout else sys.stdout
    if why_none:
        text = f"enforcer: no revocation evidence goes along: {why_none}"
        print(clip(text, limit=500), file=sys.stderr)
    what = "image(s)" if arguments.with_image else "name(s), no image"
    print(
        f"exported {images} {what}, {signatures} signature(s), {pieces} piece(s) of "
        f"revocation evidence, {size_text(total)}",
        file=out,
    )
