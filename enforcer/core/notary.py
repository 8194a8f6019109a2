"""The questions asked of one Notary signature, each answered on its own.

Follows trust-store-trust-policy.md, "Signature Verification details". `core.verify`
asks them in order and knows what the policy does about the answers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.consultation import Consultation, demand_of
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope.attributes import SigningScheme
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.envelope.payload import SignedPayload, parse_payload
from enforcer.core.envelope.untrusted import (
    EnvelopeFormat,
    UntrustedEnvelope,
    verify_envelope_signature,
)
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.evidence import NO_EVIDENCE, Evidence
from enforcer.core.findings import Result
from enforcer.core.identity import identity_problem, subject_text
from enforcer.core.plugin import IDENTITY, PluginDemand, PluginError
from enforcer.core.statement import (
    Statement,
    StoreName,
    StoreType,
)
from enforcer.core.truststore import TrustStores
from enforcer.core.x509chain import (
    Chain,
    parse_chain,
    verify_chain_profile,
)

# SC66-85: which stores vouch for which scheme. They are never mixed.
_STORE_TYPES = {
    SigningScheme.X509: StoreType.CA,
    SigningScheme.SIGNING_AUTHORITY: StoreType.SIGNING_AUTHORITY,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one question; `code` says what kind of answer."""

    result: Result
    code: Code
    because: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A signature that verifies, about one of the subjects, by a well-formed chain.

    Only `open_signature` makes one. Who signed is known, whether to trust is not.
    """

    envelope: UntrustedEnvelope
    payload: SignedPayload
    chain: Chain
    demand: PluginDemand | None = None  # the plug-in that must judge it, too
    unprocessed: tuple[str, ...] = ()  # critical attributes which that must process

    @property
    def signer(self) -> str:
        """The leaf's subject, for people."""
        return subject_text(self.chain.leaf.subject)


@dataclass(frozen=True, slots=True)
class Question:
    """What every check but integrity gets to see."""

    opened: Opened
    statement: Statement
    stores: TrustStores
    at: datetime
    user_metadata: Mapping[str, str]
    evidence: Evidence = NO_EVIDENCE
    plugin: Consultation | None = None


class RefusedError(EnforcerError):
    """A signature whose integrity could not be established."""

    default_code = Code.SIGNATURE_INVALID

    def __init__(self, what: str, *, code: Code, result: Result) -> None:
        super().__init__(what, remedy="Sign the image again.", code=code)
        self.result = result


def passed(because: str) -> Outcome:
    """Answer yes."""
    return Outcome(Result.PASSED, Code.ALLOWED, because)


def failed(code: Code, because: str) -> Outcome:
    """Answer no."""
    return Outcome(Result.FAILED, code, because)


def inconclusive(code: Code, because: str) -> Outcome:
    """Answer that we could not find out."""
    return Outcome(Result.INCONCLUSIVE, code, because)


def read_envelope(media_type: str, raw: bytes) -> tuple[UntrustedEnvelope, Chain]:
    """Parse an envelope and its certificates. Nothing is verified.

    Raises:
        EnforcerError: Another format than JWS and COSE, or malformed.
    """
    format_ = EnvelopeFormat.of(media_type)
    if format_ is None:
        raise RefusedError(
            f"envelopes of type {clip(media_type, limit=80)} are not supported by "
            "this version",
            code=Code.NOT_SUPPORTED,
            result=Result.INCONCLUSIVE,
        )
    envelope = parse_envelope(format_, raw)
    return envelope, parse_chain(envelope.x5c)


def open_signature(
    envelope: UntrustedEnvelope, chain: Chain, subjects: Sequence[Descriptor]
) -> Opened:
    """Establish integrity: signature value, payload, chain rules, nothing unknown.

    Raises:
        EnforcerError: The first of these that does not hold.
    """
    verify_envelope_signature(envelope, chain)
    payload = parse_payload(envelope.payload)
    _require_subject(payload.target, subjects)
    verify_chain_profile(chain)
    demand, unprocessed = demand_of(envelope.attributes.extended)
    return Opened(envelope, payload, chain, demand, unprocessed)


def signing_chain(
    media_type: str, untrusted_raw: bytes, subjects: Collection[Descriptor]
) -> tuple[bytes, ...]:
    """Return the DER certificates of the chain that signed about one of `subjects`.

    () where integrity does not hold: certificates are public, so an envelope that
    merely carries somebody's proves nothing. A hint for which signature to try first;
    nobody has said that this chain is trusted.
    """
    try:
        envelope, chain = read_envelope(media_type, untrusted_raw)
        return open_signature(envelope, chain, tuple(subjects)).chain.der
    except EnforcerError:
        return ()


def ask_authenticity(question: Question) -> Outcome:
    """Does the chain end in a store the statement lists, and is the signer meant?"""
    type_ = _STORE_TYPES[question.opened.envelope.attributes.scheme]
    names = [name for name in question.statement.trust_stores if name.type is type_]
    signed_by = f'signed by "{question.opened.signer}"'
    denied = _denied(question)
    if denied is not None:
        return failed(Code.DENY_LISTED, f"{signed_by}, {denied}")
    if not names:
        return failed(
            Code.WRONG_SIGNER,
            f"{signed_by} in a scheme that needs a trust store of type {type_}, and "
            "the statement lists none",
        )
    try:
        trusted = _is_anchored(question, names)
    except EnforcerError as error:
        return inconclusive(error.code, f"{error.what}. {error.remedy}".rstrip("."))
    if not trusted:
        return failed(
            Code.WRONG_SIGNER,
            f"{signed_by}, which chains to no certificate in trust store "
            f"{question.stores.describe(names)}",
        )
    try:
        problem = _identity_problem(question)
    except PluginError as error:
        return failed(error.code, error.what)
    if problem is not None:
        return failed(Code.WRONG_SIGNER, f"{signed_by}, {problem}")
    unmet = question.statement.conditions.signer_problem(
        question.opened.chain, question.opened.envelope.attributes.algorithm
    )
    if unmet is not None:
        return failed(Code.CONDITION_UNMET, f"{signed_by}, {unmet}")
    return passed(signed_by)


def _denied(question: Question) -> str | None:
    opened = question.opened
    denied = question.statement.conditions.denied
    return denied.problem(opened.chain, opened.envelope.signing_input)


def _identity_problem(question: Question) -> str | None:
    """Ask whether the signer is meant: the plug-in if it judges that (PL514), or us."""
    results = question.plugin.results() if question.plugin else {}
    verdict = results.get(IDENTITY)
    if verdict is None:
        return identity_problem(
            question.statement.identities, question.opened.chain.leaf.subject
        )
    return None if verdict.success else f"whom the plug-in refuses: {verdict.reason}"


def _require_subject(target: Descriptor, subjects: Sequence[Descriptor]) -> None:
    # TP492: media type, digest and size all equal
    if target in subjects:
        return
    known = ", ".join(_shown(subject) for subject in subjects) or "nothing known"
    raise RefusedError(
        f"the signature is about {_shown(target)}, not about {known}",
        code=Code.WRONG_CONTENT,
        result=Result.FAILED,
    )


def _is_anchored(question: Question, names: Sequence[StoreName]) -> bool:
    """Whether any certificate of the chain is, byte for byte, in one of the stores.

    Every store is loaded first: one that cannot be used fails the check even if
    another one would do, as in notation.
    """
    stores = [question.stores.get(name) for name in names]
    trusted = {der for store in stores for der in store.certificates}
    return not trusted.isdisjoint(question.opened.chain.der)


def _shown(descriptor: Descriptor) -> str:
    media_type = clip(descriptor.media_type, limit=80)
    return f"{descriptor.digest.short} ({media_type}, {descriptor.size} bytes)"
