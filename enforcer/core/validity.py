"""The checks of time and of what was signed: expiry, timestamp, revocation, metadata.

Each asks one question of a signature whose integrity is established (`core.notary`).
"""

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.notary import Outcome, Question, failed, inconclusive, passed
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.statement import StoreType, VerifyTimestamp
from enforcer.core.x509chain import has_expired, has_revocation_pointers, not_valid_at


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
