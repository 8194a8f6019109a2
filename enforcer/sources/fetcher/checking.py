"""Is what was handed over what was asked for? Nothing of it is believed unhashed.

Whoever fetched it reads hostile bytes all day. So a digest is computed here, and what
is about something else, or does not hang together, never gets as far as the cache.
"""

from collections.abc import Iterable, Iterator

from enforcer.core.codes import Code
from enforcer.core.collected import (
    Collected,
    EvidenceFile,
    Refused,
    SignatureFile,
)
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.image import Index, parse_manifest_or_index
from enforcer.core.revocation_artifact import parse_evidence_manifest
from enforcer.core.signature_manifest import parse_signature_manifest
from enforcer.core.subject import Content

_Referrer = SignatureFile | EvidenceFile


class WrongContentError(EnforcerError):
    """Something else was handed over than what was asked for."""

    default_code = Code.FETCHER_WRONG_CONTENT


def checked(items: Iterable[Collected], reference: str) -> Iterator[Collected]:
    """Yield what hangs together with the first item, which is the reference's content.

    Manifests that it lists, signatures and evidence about it or those; whatever else
    is handed over is yielded as Refused. What a tag stands for is the registry's word,
    as ever.

    Raises:
        WrongContentError: The first is not the content of that digest, or no content;
            or there is none at all.
    """
    known: frozenset[Digest] = frozenset()
    for item in items:
        if isinstance(item, Refused):
            yield item
        elif not known:
            known = _root(item, reference)
            yield item
        else:
            problem = _stranger(item, known)
            yield item if problem is None else problem
    if not known:
        raise WrongContentError(
            f"nothing came for {clip(reference)}, and no reason why",
            remedy="Ask again.",
        )


def _root(item: Collected, reference: str) -> frozenset[Digest]:
    """Return the digests that signatures may be about."""
    if not isinstance(item, Content):
        raise WrongContentError(
            f"signatures about {clip(reference)} came without what they are about",
            remedy="Ask again.",
        )
    actual = Digest.of(item.raw)
    if ":" in reference:  # a digest: no tag has one
        wanted = Digest.parse(reference)
        if not wanted.matches(item.raw):
            raise WrongContentError(
                f"what came has digest {actual}, and not {wanted}",
                remedy="Ask again; if it lasts, suspect the registry.",
            )
        actual = wanted
    parsed = parse_manifest_or_index(item.raw)
    entries = parsed.entries if isinstance(parsed, Index) else ()
    return frozenset({actual, *(entry.manifest.digest for entry in entries)})


def _stranger(item: Content | _Referrer, known: frozenset[Digest]) -> Refused | None:
    """Say why an item is not taken, or None if it belongs here."""
    raw = item.raw if isinstance(item, Content) else item.manifest
    name = str(Digest.of(raw))
    if isinstance(item, Content):
        belongs = Digest.of(raw) in known
        return None if belongs else Refused(name, "nobody asked for it")
    try:
        subject, named, given = _parts(item)
    except EnforcerError as error:
        return Refused(name, f"{error.what} [{error.code}]")
    if subject not in known:
        return Refused(name, "it is about something else")
    pairs = zip(named, given, strict=False)
    if len(named) != len(given) or not all(_is(d, blob) for d, blob in pairs):
        return Refused(name, "what it names is something else than what came with it")
    return None


def _parts(item: _Referrer) -> tuple[Digest, list[Descriptor], list[bytes]]:
    """Return what a manifest is about, the blobs it names, and those that came."""
    if isinstance(item, SignatureFile):
        signature = parse_signature_manifest(item.manifest)
        if signature is not None:
            return signature.subject.digest, [signature.envelope], [item.envelope]
    else:
        evidence = parse_evidence_manifest(item.manifest)
        if evidence is not None:
            named = [descriptor for descriptor, _, _ in evidence.pieces]
            return evidence.subject.digest, named, list(item.pieces)
    raise MalformedError("it is neither a signature nor evidence", remedy="")


def _is(named: Descriptor, blob: bytes) -> bool:
    return named.size == len(blob) and named.digest.matches(blob)
