"""What enforcer allows and notation denies on purpose, with the clause for each.

Nothing is on the list for being odd: an entry mends only what its clause is about, and
notation must accept what comes of that.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from enforcer.core.envelope.attributes import KNOWN
from enforcer.core.envelope.cose import X5CHAIN
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.envelope.untrusted import EnvelopeFormat, UntrustedEnvelope
from enforcer.core.errors import EnforcerError
from enforcer.core.signature_manifest import (
    EMPTY_MEDIA_TYPE,
    SIGNATURE_ARTIFACT_TYPE,
    SignatureManifest,
    parse_signature_manifest,
)
from tests.differential.world import Case, Files, Verdict, World

Mend = Callable[[World, Case, str], Iterator[Files]]


@dataclass(frozen=True)
class Listed:
    """One decision to be laxer than notation, and how to take its subject away."""

    clause: str
    mend: Mend


def clause_for(
    world: World, case: Case, ours: Verdict, theirs: Callable[[Case], Verdict]
) -> str | None:
    """Return the clause that justifies allowing what notation denies, or None."""
    for listed in LISTED:
        for files in listed.mend(world, case, ours.signature):
            if theirs(replace(case, files=files)).allows:
                return listed.clause
    return None


def _manifests(
    case: Case, signature: str
) -> Iterator[tuple[bytes, SignatureManifest, bytes]]:
    """Return each manifest that names the accepted envelope, and the envelope."""
    for path, raw in case.files.items():
        try:
            parsed = parse_signature_manifest(raw) if "blobs" in path else None
        except EnforcerError:
            continue
        if parsed is not None and str(parsed.envelope.digest) == signature:
            yield raw, parsed, case.files[f"blobs/sha256/{signature[7:]}"]


def _alone(world: World, case: Case, signature: str) -> Iterator[Files]:
    for raw, parsed, envelope in _manifests(case, signature):
        yield world.signed(envelope, parsed.envelope.media_type, manifest=raw)


def _config_form(world: World, case: Case, signature: str) -> Iterator[Files]:
    for raw, parsed, envelope in _manifests(case, signature):
        members = json.loads(raw)
        if members.pop("artifactType", "") == SIGNATURE_ARTIFACT_TYPE:
            assert members["config"]["mediaType"] == EMPTY_MEDIA_TYPE
            members["config"]["mediaType"] = SIGNATURE_ARTIFACT_TYPE
            manifest = json.dumps(members).encode()
            media_type = parsed.envelope.media_type
            yield world.signed(envelope, media_type, manifest=manifest)


def _without(
    is_meant: Callable[[UntrustedEnvelope], bool],
) -> Mend:
    """Leave out what is meant: what is left is an envelope like any other."""

    def mend(world: World, case: Case, signature: str) -> Iterator[Files]:
        for _, parsed, raw in _manifests(case, signature):
            format_ = EnvelopeFormat.of(parsed.envelope.media_type)
            if format_ is not None and is_meant(parse_envelope(format_, raw)):
                yield world.right.files

    return mend


def _has_protected_chain(envelope: UntrustedEnvelope) -> bool:
    return X5CHAIN in envelope.attributes.names


def _has_look_alike(envelope: UntrustedEnvelope) -> bool:
    known = {name.casefold() for name in (*KNOWN, "alg", "cty", "crit")}
    return any(a.name.casefold() in known for a in envelope.attributes.extended)


LISTED = (
    Listed(
        "facts 2.2, signing-and-verification-workflow.md 48-70: something else in the "
        "layout that cannot be read does not spoil a good signature",
        _alone,
    ),
    Listed(
        "facts 2.3, signature-specification.md 247-251: the form with artifactType, "
        "which notation 1.3.2 does not see in a layout",
        _config_form,
    ),
    Listed(
        "facts 2.3, signature-envelope-cose.md 185: x5chain may be protected",
        _without(_has_protected_chain),
    ),
    Listed(
        "facts 2.3, RFC 7515 4: names are case-sensitive, so that a look-alike of a "
        "known one is an unknown one",
        _without(_has_look_alike),
    ),
)
