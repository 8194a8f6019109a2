"""`verify --lost SRC DST`: what a promotion left behind, and what brings it there."""

import argparse
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from enforcer.assembly import signature_cache
from enforcer.cli.judging import WhatIf, judge
from enforcer.cli.main import DONE, REFUSED, UsageError
from enforcer.cli.output import coloured, is_json, print_json
from enforcer.cli.target import Target
from enforcer.cli.targets import open_target
from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.lost import (
    Held,
    Loss,
    Relation,
    compare,
    format_of,
    untrusted_signer,
)
from enforcer.core.strictjson import Json
from enforcer.core.subject import Content
from enforcer.core.verify import StoredSignature
from enforcer.ports import SignatureCache
from enforcer.settings import Settings
from enforcer.sources.carried import CarriedSignatures

MAX_SIGNATURES = 10_000  # as many as anybody has looked at
MAX_TYPED = 5000  # characters of a place: the longest path, a tag and a digest
ENGINES = ("docker:", "containerd:")

_WHY = {
    Relation.SAME: "the same content",
    Relation.LISTED: "one manifest of the index at SRC: a push of a single platform "
    "leaves the index, and signatures about it, behind",
    Relation.SAME_IMAGE: "the same image in another manifest: `docker push` from an "
    "overlay2 store writes a new one, and a signature is about the old one",
    Relation.OTHER: "other content",
}


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two: how it was written, what it holds, how it would be judged.

    `decision` is by what the place carries, `by_cache` with what this host knows, too;
    None where there is no policy here, or no name to judge under.
    """

    text: str
    held: Held
    decision: Decision | None
    by_cache: Decision | None

    @property
    def is_engine(self) -> bool:
        """Whether an engine on this host holds it; its signatures are the cache's."""
        return self.text.startswith(ENGINES)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Compare, and say what was lost; 1 if something was."""
    cache = signature_cache(settings)
    scope = arguments.scope or ""
    first, second = (_place(text, settings, scope, cache) for text in arguments.lost)
    cached = _about(first.held.contents, cache)
    if second.held.by_config:
        found = dict.fromkeys((*second.held.signatures, *cached))
        second = replace(second, held=replace(second.held, signatures=tuple(found)))
    loss = compare(first.held, second.held)
    here = {one.digest for one in cached}
    if is_json(arguments):
        print_json(_json(first, second, loss, here))
    else:
        for line in _lines(first, second, loss, here):
            print(line)
    return DONE if loss.is_none else REFUSED


def _place(text: str, settings: Settings, scope: str, cache: SignatureCache) -> Place:
    with open_target(text, settings, registries=True) as target:
        carried = CarriedSignatures(target.carried()) if target.carried else cache
        contents = target.contents
        if target.claim:
            listed = [content.descriptor.digest for content in contents]
            known = cache.manifests_about(target.claim.config_digest, listed)
            contents = tuple(dict.fromkeys((*contents, *known)))
        held = Held(contents, _about(contents, carried), by_config=bool(target.claim))
        decision, by_cache = (
            _judged(target, settings, WhatIf(scope=scope, with_cache=with_cache))
            for with_cache in (False, True)
        )
        return Place(text, held, decision, by_cache)


def _about(
    contents: Sequence[Content], source: SignatureCache
) -> tuple[StoredSignature, ...]:
    targets = [content.descriptor for content in contents]
    found, _ = source.signatures_about(targets, trusted=(), limit=MAX_SIGNATURES)
    return tuple(found)


def _judged(target: Target, settings: Settings, asked: WhatIf) -> Decision | None:
    try:
        record, _ = judge(target, settings, asked)
    except (EnforcerError, UsageError):  # a place to build at has no policy
        return None
    return record.decision


def _lines(
    first: Place, second: Place, loss: Loss, here: Collection[Digest]
) -> Iterator[str]:
    count = len(first.held.signatures)
    word = coloured(*(("COMPLETE", "green") if loss.is_none else ("LOST", "red")))
    if loss.is_none:
        yield f"{word}  all {count} signature(s) of SRC are at DST"
    elif loss.counts:
        lost = len(loss.lost)
        code = Code.LOST_SIGNATURES
        yield f"{word}  {lost} of {count} signature(s) of SRC are not at DST [{code}]"
    else:
        yield f"{word}  DST is not what is signed at SRC [{Code.LOST_CONTENT}]"
    yield f"  from       {clip(first.text)}  {first.held.top.digest}"
    yield f"  to         {clip(second.text)}  {second.held.top.digest}"
    yield f"  content    {_why(loss)}"
    for mark, signatures in (("lost", loss.lost), ("kept", loss.kept)):
        for one in signatures:
            also = ", in this host's cache" if one.digest in here else ""
            shown = f"{one.digest.short}  {format_of(one)}  {untrusted_signer(one)}"
            yield f"  {mark:9}  {shown} (as it says itself){also}"
    is_told = second.by_cache == second.decision
    for name, decision in (
        ("SRC", first.decision),
        ("DST", second.decision),
        (
            "DST here",
            None if is_told else second.by_cache,
        ),  # as this host would start it
    ):
        if decision is not None:
            word = "ALLOWED" if decision.allowed else "DENIED"
            yield f"  {name:9}  {word}: {decision.message} [{decision.code}]"
    for command in _next(first, second, loss, here):
        yield f"  next       {command}"


def _why(loss: Loss) -> str:
    if loss.counts and loss.relation is not Relation.SAME:
        return "the same image, whose signatures this host finds by its configuration"
    return _WHY[loss.relation]


def _next(
    first: Place, second: Place, loss: Loss, here: Collection[Digest]
) -> Iterator[str]:
    """Yield the commands that bring back what was lost, the best one first."""
    if loss.is_none:
        return
    source, destination = _typed(first.text), _typed(second.text)
    if not first.is_engine and not second.is_engine and loss.lost:
        yield f"enforcer copy {source} {destination}"
    is_here = all(one.digest in here for one in loss.lost)
    if first.is_engine and not second.is_engine and loss.counts and is_here:
        yield f"enforcer copy --with-cache {destination} {destination}"
    # An engine's image is found by its configuration, and by indexes that list it.
    if loss.relation is not Relation.OTHER and not first.is_engine and not is_here:
        yield f"for this host alone: enforcer cache import {source}"
    if not loss.counts:
        yield f"or have {destination} itself signed: enforcer sign, notation sign"


def _typed(place: str) -> str:
    """Return what somebody typed, whole and as a shell takes it for one word."""
    return shlex.quote(clip(place, limit=MAX_TYPED))


def _json(
    first: Place, second: Place, loss: Loss, here: Collection[Digest]
) -> dict[str, Json]:
    return {
        "complete": loss.is_none,
        "code": _code(loss),
        "content": str(loss.relation),
        "source": _place_json(first),
        "destination": _place_json(second),
        "lost": [_signature_json(one, here) for one in loss.lost],
        "kept": [_signature_json(one, here) for one in loss.kept],
        "next": list(_next(first, second, loss, here)),
    }


def _code(loss: Loss) -> str:
    if loss.is_none:
        return str(Code.ALLOWED)
    return str(Code.LOST_SIGNATURES if loss.counts else Code.LOST_CONTENT)


def _place_json(place: Place) -> dict[str, Json]:
    decision = place.decision
    return {
        "target": place.text,
        "digest": str(place.held.top.digest),
        "allowed": decision.allowed if decision else None,
        "decision": str(decision.code) if decision else "",
        "allowedWithCache": place.by_cache.allowed if place.by_cache else None,
    }


def _signature_json(one: StoredSignature, here: Collection[Digest]) -> dict[str, Json]:
    return {
        "digest": str(one.digest),
        "format": format_of(one),
        "untrustedSigner": untrusted_signer(one),
        "inCache": one.digest in here,
    }
