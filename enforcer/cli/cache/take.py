"""`cache import`: take signatures and evidence from layout, archive or registry."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from enforcer.assembly import signature_cache
from enforcer.audit.clock import HostClock
from enforcer.cli.cache.take_registry import collect_from_registry
from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.progress import Progress
from enforcer.cli.targets import split_layout
from enforcer.core.collected import Collected, EvidenceFile, Origin, Refused
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.intake.evidence import Taken, take_evidence
from enforcer.sources.layout import open_archive, open_layout, whole_layout
from enforcer.sources.layout.archive import STDIN
from enforcer.sources.layout.saved import collect_saved, is_saved

TRANSPORTS = ("oci-layout", "oci-archive", "docker-archive")
FORMS = (
    "oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST], "
    "docker-archive:FILE or REGISTRY/REPOSITORY[:TAG][@DIGEST]; FILE is a plain tar, "
    "or - for standard input"
)

Collect = Callable[[], Iterable[Collected]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes."""
    parser.add_argument("source", help=FORMS)


def asks_nobody(arguments: argparse.Namespace) -> bool:
    """Whether this needs no internet: all but a registry."""
    return str(arguments.source).partition(":")[0] in TRANSPORTS


def run(arguments: argparse.Namespace) -> int:
    """Take what the source holds, and tell what was refused.

    An archive is read to its end first, and refused whole; one signature that is
    wrong is told, and the rest taken.
    """
    settings = settings_of(arguments)
    at = HostClock().now()
    with _open(arguments) as (name, collect):
        later: list[Digest] = []
        count, refused = signature_cache(settings).add(
            _now(collect(), later), origin=Origin(arguments.source, at)
        )
        # Whose evidence counts is known only now that the signatures are here.
        evidence = take_evidence(collect() if later else (), settings, at)
    refused += evidence.refused
    _tell(arguments, name, count, evidence, refused)
    return REFUSED if refused else DONE


def _now(items: Iterable[Collected], later: list[Digest]) -> Iterator[Collected]:
    """Yield all but evidence, and note which there is; its bytes are not held."""
    for item in items:
        if isinstance(item, EvidenceFile):
            later.append(Digest.of(item.manifest))
        else:
            yield item


@contextlib.contextmanager
def _open(arguments: argparse.Namespace) -> Iterator[tuple[str, Collect]]:
    """Lend the source's name, and what yields all that is wanted of it."""
    transport, _, rest = arguments.source.partition(":")
    if transport == "docker-archive" and rest:
        path = Path(rest)
        with (
            _progress(arguments, path) as tell,
            open_archive(path, whole=True, tell=tell) as files,
        ):
            if is_saved(files):
                found = tuple(collect_saved(files))
                yield files.name, lambda: found
            else:
                yield files.name, whole_layout(files).collect
    elif transport in ("oci-layout", "oci-archive") and rest:
        path, tag, digest = split_layout(rest)
        is_archive = transport == "oci-archive"
        with (
            _progress(arguments, path) as tell,
            open_layout(path, archive=is_archive, whole=True, tell=tell) as layout,
        ):
            if tag or digest:
                digest = layout.find(tag=tag, digest=digest).descriptor.digest
            yield layout.name, lambda: layout.collect(digest)
    else:
        settings = settings_of(arguments)
        held = collect_from_registry(arguments.source, settings, expected=FORMS)
        yield arguments.source, lambda: held


def _progress(arguments: argparse.Namespace, path: Path) -> Progress:
    total = None
    if str(path) == STDIN:
        if sys.stdin.isatty():
            raise UsageError("no archive comes from a terminal; pipe one in")
    else:
        with contextlib.suppress(OSError):  # told by who opens it
            total = path.stat().st_size
    return Progress("import", total=total, quiet=is_json(arguments))


def _tell(
    arguments: argparse.Namespace,
    name: str,
    count: int,
    evidence: Taken,
    refused: list[Refused],
) -> None:
    for item in refused:
        why = clip(item.why, limit=500)
        print(f"enforcer: refused {item.what}: {why}", file=sys.stderr)
    if is_json(arguments):
        listed = [{"what": item.what, "why": item.why} for item in refused]
        pieces = {"offered": evidence.offered, "kept": evidence.kept}
        print_json({"signatures": count, "evidence": pieces, "refused": listed})
        return
    print(f"imported {count} signature(s) from {clip(name)}")
    if evidence.offered:
        print(
            f"  revocation evidence: kept {evidence.kept} of {evidence.offered} "
            "piece(s); what is older, known, or of nobody trusted here is not"
        )
