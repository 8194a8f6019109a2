"""One signature, every check, in order, at a given time.

The order is that of facts/notary.md section 8: what is not authenticated never causes
work outside. Whatever is wrong with a signature becomes a finding, not an exception.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.consultation import Consult, Consultation, is_sayable
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.envelope.untrusted import EnvelopeFormat
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.evidence import NO_EVIDENCE, Evidence
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.identity import subject_text
from enforcer.core.notary import (
    Opened,
    Outcome,
    Question,
    RefusedError,
    ask_authenticity,
    failed,
    open_signature,
    passed,
    read_envelope,
)
from enforcer.core.plugin import (
    IDENTITY,
    PLUGIN_ATTRIBUTE,
    REVOCATION,
    VERSION_ATTRIBUTE,
    PluginQuestion,
)
from enforcer.core.statement import Statement
from enforcer.core.truststore import TrustStores
from enforcer.core.validity import (
    ask_expiry,
    ask_metadata,
    ask_revocation,
    ask_timestamp,
)

REMEMBERED = 256  # signatures; with what was parsed of it one has some 30 KiB
REMEMBERED_BYTES = 64 * 1024  # of an envelope: usual ones have 5 KiB

_NO_METADATA: Mapping[str, str] = MappingProxyType({})

# After integrity, in this order. An enforced one that does not pass ends it.
_QUESTIONS: tuple[tuple[Check, Callable[[Question], Outcome]], ...] = (
    (Check.AUTHENTICITY, ask_authenticity),
    (Check.EXPIRY, ask_expiry),
    (Check.TIMESTAMP, ask_timestamp),
    (Check.REVOCATION, ask_revocation),
    (Check.METADATA, ask_metadata),
)


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """Untrusted bytes from a source.

    `digest` is the envelope's; `media_type` is what the signature manifest's layer
    says.
    """

    digest: Digest
    media_type: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class ReadSignature:
    """A signature whose integrity check is made; `opened` is None where it failed.

    Only `read_signature` makes one. `signer` is a claim.
    """

    stored: StoredSignature
    signer: str
    integrity: Outcome
    opened: Opened | None


def verify_signature(
    signature: StoredSignature,
    subjects: Sequence[Descriptor],
    statement: Statement,
    stores: TrustStores,
    at: datetime,
    user_metadata: Mapping[str, str] = _NO_METADATA,
    evidence: Evidence = NO_EVIDENCE,
    consult: Consult | None = None,
) -> SignatureReport:
    """Return a finding for every check of one signature.

    The signature may be about any one of `subjects`. Under level skip nothing is
    verified, and the report never counts as an accepted one. The rest is as for
    `verify_read`.
    """
    if statement.level.is_skip:
        return _report(signature, "", _skipped())
    read = read_signature(signature, subjects)
    return verify_read(read, statement, stores, at, user_metadata, evidence, consult)


def read_signature(
    signature: StoredSignature, subjects: Sequence[Descriptor]
) -> ReadSignature:
    """Check integrity, which no policy has a say in: once for all who may be asked.

    The signature may be about any one of `subjects`. What was read before is remembered
    by its very bytes: a hundred containers of one image need one look.
    """
    is_usual = len(signature.envelope) <= REMEMBERED_BYTES
    return (_remembered if is_usual else _read)(signature, tuple(subjects))


def _read(
    signature: StoredSignature, subjects: tuple[Descriptor, ...]
) -> ReadSignature:
    signer = ""
    try:
        envelope, chain = read_envelope(signature.media_type, signature.envelope)
        signer = subject_text(chain.leaf.subject)
        opened = open_signature(envelope, chain, subjects)
    except RefusedError as error:
        refused = Outcome(error.result, error.code, error.what)
        return ReadSignature(signature, signer, refused, None)
    except EnforcerError as error:
        return ReadSignature(signature, signer, failed(error.code, error.what), None)
    integrity = passed(f"signed {opened.payload.target.digest.short}")
    return ReadSignature(signature, signer, integrity, opened)


_remembered = lru_cache(maxsize=REMEMBERED)(_read)


def verify_read(
    read: ReadSignature,
    statement: Statement,
    stores: TrustStores,
    at: datetime,
    user_metadata: Mapping[str, str] = _NO_METADATA,
    evidence: Evidence = NO_EVIDENCE,
    consult: Consult | None = None,
) -> SignatureReport:
    """Return a finding for every check, by what one statement that verifies says.

    `at` is aware. `evidence` is all there is about revocation: what is not in it was
    never fetched. `consult` runs a verification plug-in, for a signature whose chain
    is trusted.
    """
    opened = read.opened
    findings = [_finding(Check.INTEGRITY, Action.ENFORCE, read.integrity)]
    plugin = _consultation(opened, statement, consult) if opened else None
    for check, ask in _QUESTIONS:
        action = statement.level.action(check)
        blocking = next((f for f in findings if f.blocks), None)
        if opened is None or blocking:
            code = blocking.code if blocking else Code.INTERNAL
            outcome = Outcome(Result.NOT_RUN, code, "an earlier check did not pass")
        elif action is Action.SKIP:
            outcome = Outcome(Result.NOT_RUN, Code.SKIPPED, "the policy skips this")
        else:
            outcome = ask(
                Question(opened, statement, stores, at, user_metadata, evidence, plugin)
            )
        if plugin and not plugin.answered:
            action = (
                Action.ENFORCE
            )  # PL504: a demanded plug-in is needed at every level
        findings.append(_finding(check, action, outcome))
    return _report(read.stored, read.signer, tuple(findings), opened)


def _consultation(
    opened: Opened, statement: Statement, consult: Consult | None
) -> Consultation | None:
    """Prepare what a demanded plug-in is told; it is asked after authenticity only."""
    if opened.demand is None:
        return None
    attributes = opened.envelope.attributes
    skipped = statement.level.action(Check.REVOCATION) is Action.SKIP
    question = PluginQuestion(
        scheme=str(attributes.scheme),
        content_type=attributes.content_type,
        expiry=attributes.expiry,
        authentic_signing_time=attributes.authentic_signing_time,
        extended={
            attribute.name: attribute.value
            for attribute in attributes.extended
            if attribute.name not in (PLUGIN_ATTRIBUTE, VERSION_ATTRIBUTE)
            and is_sayable(attribute)
        },
        critical=opened.unprocessed,
        chain=opened.chain.der,
        identities=[identity.text for identity in statement.identities],
        capabilities=(),
    )
    capable = frozenset({IDENTITY} if skipped else {IDENTITY, REVOCATION})
    return Consultation(consult, opened.demand, capable, question)


def _skipped() -> tuple[Finding, ...]:
    """Every check not run; integrity blocks, so that nobody counts this report."""
    outcome = Outcome(Result.NOT_RUN, Code.SKIPPED, "the policy skips verification")
    later = (_finding(check, Action.SKIP, outcome) for check, _ in _QUESTIONS)
    return (_finding(Check.INTEGRITY, Action.ENFORCE, outcome), *later)


def _finding(check: Check, action: Action, outcome: Outcome) -> Finding:
    return Finding(check, outcome.result, action, outcome.code, outcome.because)


def _report(
    signature: StoredSignature,
    signer: str,
    findings: tuple[Finding, ...],
    opened: Opened | None = None,
) -> SignatureReport:
    known = EnvelopeFormat.of(signature.media_type)
    format_ = known or clip(signature.media_type, limit=80)
    report = SignatureReport(signature.digest, str(format_), signer, findings)
    if opened is None:
        return report
    key = key_digest(opened.chain.leaf)
    return replace(report, key=key, signed=Digest.of(opened.envelope.signing_input))
