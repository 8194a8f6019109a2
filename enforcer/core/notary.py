"""The questions asked of one Notary signature, each answered on its own.

Follows trust-store-trust-policy.md, "Signature Verification details". `core.verify`
asks them in order and knows what the policy does about the answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.envelope.jws import (
    SignedPayload,
    SigningScheme,
    UntrustedEnvelope,
    parse_jws,
    parse_payload,
    verify_envelope_signature,
)
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.findings import Result
from enforcer.core.identity import identity_problem, subject_text
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.statement import (
    Statement,
    StoreName,
    StoreType,
    VerifyTimestamp,
)
from enforcer.core.truststore import TrustStores
from enforcer.core.x509chain import (
    Chain,
    has_expired,
    has_revocation_pointers,
    not_valid_at,
    parse_chain,
    verify_chain_profile,
)

# A signature that carries either wants a plug-in to judge it, critical or not.
PLUGIN_ATTRIBUTES = (
    "io.cncf.notary.verificationPlugin",
    "io.cncf.notary.verificationPluginMinVersion",
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
        EnforcerError: Another format than JWS, or malformed.
    """
    if media_type != JWS_MEDIA_TYPE:
        raise RefusedError(
            f"envelopes of type {clip(media_type, limit=80)} are not supported by "
            "this version",
            code=Code.NOT_SUPPORTED,
            result=Result.INCONCLUSIVE,
        )
    envelope = parse_jws(raw)
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
    _require_understood(envelope)
    return Opened(envelope, payload, chain)


def ask_authenticity(question: Question) -> Outcome:
    """Does the chain end in a store the statement lists, and is the signer meant?"""
    type_ = _STORE_TYPES[question.opened.envelope.attributes.scheme]
    names = [name for name in question.statement.trust_stores if name.type is type_]
    signed_by = f'signed by "{question.opened.signer}"'
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
    problem = identity_problem(
        question.statement.identities, question.opened.chain.leaf.subject
    )
    if problem is not None:
        return failed(Code.WRONG_SIGNER, f"{signed_by}, {problem}")
    return passed(signed_by)


def ask_expiry(question: Question) -> Outcome:
    """Is the life the signer gave the signature over?"""
    expiry = question.opened.envelope.attributes.expiry
    if expiry is None:
        return passed("the signature does not expire")
    shown = format_rfc3339(expiry)
    # TP321, SS375: expired from that very moment on
    if question.at >= expiry:
        return failed(Code.SIGNATURE_EXPIRED, f"the signature expired at {shown}")
    return passed(f"the signature expires at {shown}")


def ask_timestamp(question: Question) -> Outcome:
    """Was every certificate valid when the signature is known to have existed?"""
    chain = question.opened.chain
    # H12: a signing authority's time is authentic; a countersignature is not read.
    authentic = question.opened.envelope.attributes.authentic_signing_time
    if authentic is None and _wants_countersignature(question):
        return _countersignature(question)
    # TP523: without an authentic time, every certificate must be valid now.
    at = question.at if authentic is None else authentic
    problem = not_valid_at(chain, at)
    if problem is not None:
        when = "" if authentic is None else f" (signed at {format_rfc3339(authentic)})"
        return failed(Code.CERTIFICATE_NOT_VALID, f"{problem}{when}")
    return passed(f"every certificate is valid at {format_rfc3339(at)}")


def ask_revocation(question: Question) -> Outcome:
    """Is no certificate below the root revoked?"""
    below_root = question.opened.chain.certificates[:-1]
    for number, certificate in enumerate(below_root, start=1):
        if has_revocation_pointers(certificate):
            return inconclusive(
                Code.REVOCATION_UNKNOWN,
                f"certificate #{number} names a revocation list or responder, and "
                "this host holds no evidence from it",
            )
    return passed("non-revokable: no certificate names a list or responder")


def ask_metadata(question: Question) -> Outcome:
    """Did the signer sign all user metadata that is asked for?"""
    signed = question.opened.payload.annotations
    for name, value in question.user_metadata.items():
        if signed.get(name) != value:
            shown = clip(f"{name}={value}")
            return failed(
                Code.METADATA_MISSING, f'the signature lacks user metadata "{shown}"'
            )
    if not question.user_metadata:
        return passed("no user metadata was asked for")
    return passed("all user metadata asked for is signed")


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


def _require_understood(envelope: UntrustedEnvelope) -> None:
    """Refuse what a signer says must be understood, and is not (SS124)."""
    for attribute in envelope.attributes.extended:
        plugin = attribute.name in PLUGIN_ATTRIBUTES
        if plugin or attribute.critical:
            shown = clip(attribute.name, limit=80)
            raise RefusedError(
                "the signature needs a verification plug-in, and this version has none"
                if plugin
                else f'the signature demands that "{shown}" be understood, and this '
                "version does not",
                code=Code.NOT_SUPPORTED,
                result=Result.INCONCLUSIVE if plugin else Result.FAILED,
            )


def _is_anchored(question: Question, names: Sequence[StoreName]) -> bool:
    """Whether any certificate of the chain is, byte for byte, in one of the stores.

    Every store is loaded first: one that cannot be used fails the check even if
    another one would do, as in notation.
    """
    stores = [question.stores.get(name) for name in names]
    trusted = {der for store in stores for der in store.certificates}
    return not trusted.isdisjoint(question.opened.chain.der)


def _wants_countersignature(question: Question) -> bool:
    """H1: a tsa store is listed, and always, or a certificate expired by now."""
    statement = question.statement
    if not any(name.type is StoreType.TSA for name in statement.trust_stores):
        return False
    if statement.verify_timestamp is VerifyTimestamp.ALWAYS:
        return True
    return has_expired(question.opened.chain, question.at)


def _countersignature(question: Question) -> Outcome:
    if question.opened.envelope.timestamp_token is None:  # H3
        return failed(
            Code.SIGNATURE_INVALID,
            "the statement asks for an RFC 3161 countersignature, and there is none",
        )
    return inconclusive(
        Code.NOT_SUPPORTED,
        "RFC 3161 countersignatures are not supported by this version",
    )


def _shown(descriptor: Descriptor) -> str:
    media_type = clip(descriptor.media_type, limit=80)
    return f"{descriptor.digest.short} ({media_type}, {descriptor.size} bytes)"
