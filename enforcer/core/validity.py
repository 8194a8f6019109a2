"""The checks of time and of what was signed: expiry, timestamp, revocation, metadata.

Each asks one question of a signature whose integrity is established (`core.notary`).
"""

from datetime import datetime, timedelta
from functools import partial

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.findings import Result
from enforcer.core.notary import Outcome, Question, failed, inconclusive, passed
from enforcer.core.plugin import REVOCATION
from enforcer.core.revocation import judge_chain_revocation
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.statement import StoreType, VerifyTimestamp
from enforcer.core.timestamp import (
    TimeRange,
    TimestampError,
    range_problem,
    verify_countersignature,
)
from enforcer.core.x509chain import has_expired, not_valid_at

MAX_CLOCK_SKEW = timedelta(minutes=5)  # between who states a time and this host


def ask_expiry(question: Question) -> Outcome:
    """Is the life the signer gave the signature over?"""
    expiry = question.opened.envelope.attributes.expiry
    if expiry is None:
        return passed("the signature does not expire")
    shown = format_rfc3339(expiry)
    by_proof = question.statement.conditions.authentic_expiry
    at = _authentic_time(question) if by_proof else question.at
    if at is None:
        return inconclusive(
            Code.TIMESTAMP_INVALID,
            f"the signature expires at {shown}, the policy compares that with the "
            "proven signing time, and there is none",
        )
    # TP321, SS375: expired from that very moment on
    if at >= expiry:
        return failed(Code.SIGNATURE_EXPIRED, f"the signature expired at {shown}")
    return passed(f"the signature expires at {shown}")


def ask_timestamp(question: Question) -> Outcome:
    """Was every certificate valid when the signature is known to have existed?

    And is it as young as the policy asks, by an algorithm that still counted then?
    """
    outcome = _valid_then(question)
    if outcome.result is not Result.PASSED:
        return outcome
    return _too_old(question) or _outlived(question) or outcome


def _valid_then(question: Question) -> Outcome:
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


def _too_old(question: Question) -> Outcome | None:
    """Answer where the signature is older than its signer's may be.

    The older of two times counts: the authentic one, because the other is only
    claimed; and the claimed one, because anybody can have an old signature
    countersigned anew.
    """
    within = question.statement.conditions.signed_within
    if within is None:
        return None
    authentic = _authentic_time(question)
    if authentic is None:
        return failed(
            Code.CONDITION_UNMET,
            f"it must be signed within {_in_words(within)} by authentic time, and "
            "there is no such time",
        )
    claimed = question.opened.envelope.attributes.signing_time or authentic
    signed = min(authentic, claimed)
    if signed > question.at + MAX_CLOCK_SKEW:  # it would stay young for too long
        return failed(
            Code.CONDITION_UNMET,
            f"it was signed at {format_rfc3339(signed)}, but here it is "
            f"{format_rfc3339(question.at)}",
        )
    if question.at - signed <= within:
        return None
    return failed(
        Code.CONDITION_UNMET,
        f"it was signed at {format_rfc3339(signed)}, more than {_in_words(within)} ago",
    )


def _in_words(age: timedelta) -> str:
    hours = age // timedelta(hours=1)
    return f"{hours} hours" if hours % 24 else f"{hours // 24} days"


def _outlived(question: Question) -> Outcome | None:
    """Answer where the algorithm did not count any more when this was signed.

    Only a countersignature proves that: a time inside the signature is as good as the
    algorithm is.
    """
    algorithm = question.opened.envelope.attributes.algorithm
    ends = question.statement.conditions.algorithms.get(algorithm)
    if ends is None:
        return None
    time = countersigned(question)
    if (question.at if time is None else time.not_after) <= ends:
        return None
    return failed(
        Code.CONDITION_UNMET,
        f"{algorithm} counts only for what is proven to be signed until "
        f"{format_rfc3339(ends)}",
    )


def ask_revocation(question: Question) -> Outcome:
    """Is no certificate below the root revoked?"""
    said = question.plugin.results().get(REVOCATION) if question.plugin else None
    if said is not None:  # PL514: it replaces our own check
        answer = passed if said.success else partial(failed, Code.PLUGIN_FAILED)
        return answer(f"the verification plug-in says: {said.reason}")
    certificates = question.opened.chain.certificates
    rules = question.statement.conditions.revocation
    outcome = judge_chain_revocation(
        certificates, question.evidence, question.at, rules=rules
    )
    # TP580: what is revoked from some day on spares what was signed before it. The
    # time is looked for only where it can matter: it may cost a countersignature.
    if outcome.result is Result.FAILED:
        authentic = _authentic_time(question)
        outcome = judge_chain_revocation(
            certificates,
            question.evidence,
            question.at,
            authentic_time=authentic,
            rules=rules,
        )
    return outcome


def ask_metadata(question: Question) -> Outcome:
    """Did the signer sign all user metadata that is asked for?"""
    signed = question.opened.payload.annotations
    asked = (
        *question.statement.conditions.user_metadata.items(),
        *question.user_metadata.items(),
    )
    for name, value in asked:
        if signed.get(name) != value:
            shown = clip(f"{name}={value}")
            return failed(
                Code.METADATA_MISSING, f'the signature lacks user metadata "{shown}"'
            )
    if not asked:
        return passed("no user metadata was asked for")
    return passed("all user metadata asked for is signed")


def countersigned(question: Question) -> TimeRange | None:
    """Return what a countersignature that is asked for proves, if it is good.

    Whether the TSA's chain was revoked is not asked. None for a signing authority's
    signature, whose countersignature is not read (H12).
    """
    envelope = question.opened.envelope
    token, stated = envelope.timestamp_token, envelope.attributes.authentic_signing_time
    if stated is not None or token is None or not _wants_countersignature(question):
        return None
    try:
        roots = _tsa_roots(question)
        time = verify_countersignature(token, envelope.signature, roots)
    except EnforcerError:
        return None
    return time if _time_problem(question, time) is None else None


def _wants_countersignature(question: Question) -> bool:
    """H1: a tsa store is listed, and always, or a certificate expired by now."""
    statement = question.statement
    if not any(name.type is StoreType.TSA for name in statement.trust_stores):
        return False
    if statement.verify_timestamp is VerifyTimestamp.ALWAYS:
        return True
    return has_expired(question.opened.chain, question.at)


def _countersignature(question: Question) -> Outcome:
    envelope = question.opened.envelope
    token = envelope.timestamp_token
    if token is None:  # H3
        return failed(
            Code.TIMESTAMP_INVALID,
            "the statement asks for an RFC 3161 countersignature, and there is none",
        )
    try:
        roots = _tsa_roots(question)
    except EnforcerError as error:
        return inconclusive(error.code, f"{error.what}. {error.remedy}".rstrip("."))
    try:
        time = verify_countersignature(token, envelope.signature, roots)
    except TimestampError as error:
        return failed(error.code, error.what)
    problem = _time_problem(question, time)
    if problem is not None:
        return failed(Code.CERTIFICATE_NOT_VALID, problem)
    return _tsa_revocation(question, time) or passed(
        f'countersigned at {time} by "{time.signer}", when every certificate was valid'
    )


def _tsa_roots(question: Question) -> tuple[bytes, ...]:
    """Every certificate of every tsa store the statement lists."""
    listed = question.statement.trust_stores
    stores = [question.stores.get(n) for n in listed if n.type is StoreType.TSA]
    return tuple(der for store in stores for der in store.certificates)


def _time_problem(question: Question, time: TimeRange) -> str | None:
    problem = range_problem(time, question.opened.chain)  # H10
    if problem is not None:
        return f"{problem} (countersigned at {time})"
    # A token from the future would prove that the signature existed before anything.
    if time.not_before > question.at + MAX_CLOCK_SKEW:
        return (
            f"the signature was countersigned at {time}, but here it is "
            f"{format_rfc3339(question.at)}"
        )
    return None


def _authentic_time(question: Question) -> datetime | None:
    """Return when the signature is proven to have existed at the latest, or None.

    A countersignature counts if it passes its own check, and then by its latest
    moment. TP580 names no kind of authentic time, so both kinds count.
    """
    stated = question.opened.envelope.attributes.authentic_signing_time
    if stated is not None:
        return stated
    time = countersigned(question)
    if time is None or _tsa_revocation(question, time) is not None:
        return None
    return time.not_after


def _tsa_revocation(question: Question, time: TimeRange) -> Outcome | None:
    """Answer where the TSA's chain is revoked, or may be (H11); None where it is not.

    Part of this check whatever the policy says about revocation (TP389, TP515).
    """
    conditions = question.statement.conditions
    denied = conditions.denied.problem(time.chain)
    if denied is not None:
        return failed(Code.DENY_LISTED, f"countersigned by a TSA {denied}")
    outcome = judge_chain_revocation(
        time.chain.certificates,
        question.evidence,
        question.at,
        rules=conditions.revocation,
    )
    if outcome.result is Result.PASSED:
        return None
    return Outcome(outcome.result, outcome.code, f"the TSA's {outcome.because}")
