"""`enforcer cache`: fill and keep the signature cache. Needs no daemon."""

import argparse
import sys
from datetime import datetime

from enforcer.assembly import evidence_store, load_policy
from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.targets import parse_digest, split_layout
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.core.revocation_chain import AuthenticatedChain, authenticated_chains
from enforcer.ports import PolicyInForce
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout
from enforcer.weigher import MAX_SIGNATURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    take = words.add_parser("import", help="take signatures from a layout or archive")
    take.add_argument(
        "source", help="oci-layout:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST]"
    )
    words.add_parser("list", help="every cached signature")
    remove = words.add_parser("remove", help="forget signatures")
    remove.add_argument("digest", nargs="+", help="of a signature or of its subject")
    words.add_parser(
        "sync", help="ask lists and responders of revocation about every cached signer"
    )
    check = words.add_parser("fsck", help="hash every cached file")
    check.add_argument(
        "--repair", action="store_true", help="put the damaged aside, index anew"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    if arguments.word == "sync":
        return _sync(arguments)
    cache = DiskCache(settings_of(arguments).cache_dir)
    words = {"import": _import, "list": _list, "remove": _remove, "fsck": _fsck}
    return words[arguments.word](cache, arguments)


def _import(cache: DiskCache, arguments: argparse.Namespace) -> int:
    transport, _, rest = arguments.source.partition(":")
    if transport not in ("oci-layout", "oci-archive") or not rest:
        raise UsageError(
            f'"{clip(arguments.source)}" cannot be imported; expected oci-layout:DIR '
            "or oci-archive:FILE"
        )
    path, tag, digest = split_layout(rest)
    with open_layout(path, archive=transport == "oci-archive") as layout:
        if tag or digest:
            digest = layout.find(tag=tag, digest=digest).descriptor.digest
        count, refused = cache.add(layout.collect(digest))
    for item in refused:
        why = clip(item.why, limit=500)
        print(f"enforcer: refused {item.what}: {why}", file=sys.stderr)
    if is_json(arguments):
        listed = [{"what": item.what, "why": item.why} for item in refused]
        print_json({"signatures": count, "refused": listed})
    else:
        print(f"imported {count} signature(s) from {layout.name}")
    return REFUSED if refused else DONE


def _sync(arguments: argparse.Namespace) -> int:
    """Fetch revocation evidence for the signers this host's policy trusts."""
    from enforcer.cli.online import tell_problems  # needs the network's libraries
    from enforcer.sources.revocation.sync import sync

    settings = settings_of(arguments)
    at = HostClock().now()
    force = load_policy(settings)
    chains = cached_chains(DiskCache(settings.cache_dir), force, at)
    done = sync(evidence_store(settings), chains, at)
    tell_problems(done.gathered)
    if is_json(arguments):
        listed = [{"url": p.url, "why": p.because} for p in done.gathered.problems]
        print_json({"chains": len(chains), "kept": done.kept, "problems": listed})
    else:
        print(f"{len(chains)} trusted chain(s), {done.kept} new piece(s) of evidence")
    return REFUSED if done.gathered.problems else DONE


def cached_chains(
    cache: DiskCache, force: PolicyInForce, at: datetime
) -> list[AuthenticatedChain]:
    """Return the chains behind cached signatures that some statement trusts.

    Which name an image will have is not known here, so each statement is tried.
    """
    found: dict[tuple[bytes, ...], AuthenticatedChain] = {}
    for subject in sorted({entry.subject for entry in cache.entries()}):
        content = cache.manifest(Digest.parse(subject))
        if content is None:
            continue
        about = (content.descriptor,)
        for statement in force.policy.trusts:
            trusted = force.stores.fingerprints(statement.trust_stores)
            signatures, _ = cache.signatures_about(
                about, trusted=trusted, limit=MAX_SIGNATURES
            )
            for one in signatures:
                for chain in authenticated_chains(
                    one, about, statement, force.stores, at
                ):
                    found[chain.chain.der] = chain
    return list(found.values())


def _list(cache: DiskCache, arguments: argparse.Namespace) -> int:
    entries = list(cache.entries())
    if is_json(arguments):
        print_json(
            [
                {
                    "subject": e.subject,
                    "signature": e.envelope,
                    "manifest": e.manifest,
                    "mediaType": e.media_type,
                }
                for e in entries
            ]
        )
        return DONE
    for entry in entries:
        shown = (entry.subject, entry.envelope, entry.media_type)
        print("  ".join(clip(text) for text in shown))
    return DONE


def _remove(cache: DiskCache, arguments: argparse.Namespace) -> int:
    digests = [parse_digest(text) for text in arguments.digest]
    count = sum(cache.remove(digest) for digest in digests)
    if is_json(arguments):
        print_json({"removed": count})
    else:
        print(f"removed {count} signature(s)")
    return DONE if count else REFUSED


def _fsck(cache: DiskCache, arguments: argparse.Namespace) -> int:
    found = cache.check(repair=arguments.repair)
    if is_json(arguments):
        damaged, lost = list(found.damaged), list(found.lost)
        print_json({"good": found.blobs, "damaged": damaged, "lost": lost})
    else:
        for name in found.damaged:
            print(f"damaged: {clip(name)}" + (" (mended)" if arguments.repair else ""))
        for name in found.lost:
            print(f"lost: {name}; import it again")
        counts = f"{len(found.damaged)} damaged, {len(found.lost)} lost"
        print(f"{found.blobs} good, {counts}")
    is_clean = arguments.repair or not (found.damaged or found.lost)
    return DONE if is_clean else REFUSED
