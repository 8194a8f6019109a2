"""RFC 3161 countersignatures: when a signature existed, said by a TSA that is trusted.

A token proves that the signature was made before a time, not when it was made: it
MUST NOT be taken for the signing time (SS371). Offline: revocation is asked elsewhere.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from enforcer.core.certificate import ChainError, parse_certificate
from enforcer.core.cms import WHAT, SignedData, hash_name, parse_signed_data
from enforcer.core.cms_signature import (
    signing_certificate,
    signing_time,
    verify_signed_data,
)
from enforcer.core.codes import Code
from enforcer.core.der import (
    BOOLEAN,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    DerError,
    Fields,
    parse_integer,
    parse_time,
    read_one,
)
from enforcer.core.errors import EnforcerError
from enforcer.core.identity import subject_text
from enforcer.core.tsachain import find_tsa_chain
from enforcer.core.x509chain import Chain, not_valid_at

MAX_TOKEN_BYTES = 64 * 1024  # real ones have 3 to 8 KiB

# ETSI EN 319 421: who follows this policy is right to the second, without saying so
_BASELINE_POLICY = "0.4.0.2023.1.1"
_BASELINE_ACCURACY = timedelta(seconds=1)
_MAX_ACCURACY_SECONDS = 24 * 60 * 60  # real ones say 1 or 60

_CONTEXT_0 = 0x80
_CONTEXT_1 = 0x81
_CONSTRUCTED = 0x20
_FRACTIONS = (_CONTEXT_0, _CONTEXT_1)  # "millis [0]", "micros [1]": implicit
_INFO = f"{WHAT}'s TSTInfo"


class TimestampError(EnforcerError):
    """A countersignature is malformed, wrong, or by nobody trusted for it."""

    default_code = Code.TIMESTAMP_INVALID

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="Sign again with a TSA that is trusted here.")


@dataclass(frozen=True, slots=True)
class TstInfo:
    """What a TSA states (RFC 3161 2.4.2). Only as good as the token around it."""

    policy: str
    hash_name: str
    imprint: bytes
    gen_time: datetime
    accuracy: timedelta
    nonce: int | None


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The signature existed at `not_after`, as stamped by `signer`.

    Both bounds count. `chain` is the TSA's, to its root in a trust store; whether it
    was revoked is still to be asked.
    """

    not_before: datetime
    not_after: datetime
    signer: str
    chain: Chain

    def __str__(self) -> str:
        bounds = dict.fromkeys((_shown(self.not_before), _shown(self.not_after)))
        return " to ".join(bounds)


def verify_countersignature(
    token: bytes, signature_value: bytes, roots: Sequence[bytes]
) -> TimeRange:
    """Return when `signature_value` is known to have existed (TP508-516).

    `signature_value` is the envelope's primitive signature, `roots` the DER of the
    roots that are trusted for time stamps.

    Raises:
        TimestampError: The token is malformed, not about this signature, does not
            verify, or its signer was not valid and trusted at that time.
    """
    try:
        return _verify(token, signature_value, roots)
    except ChainError as error:
        what = f"the countersignature is not trusted: {error.what}"
        raise TimestampError(what) from error
    except EnforcerError as error:
        raise TimestampError(error.what) from error


def parse_tst_info(token: bytes) -> TstInfo:
    """Return what a token states, without verifying it.

    Raises:
        DerError: The token or its TSTInfo is malformed.
    """
    return _tst_info(parse_signed_data(token))


def range_problem(time: TimeRange, chain: Chain) -> str | None:
    """Say which certificate was not valid all the time, or None if all were (TP521)."""
    return not_valid_at(chain, time.not_before) or not_valid_at(chain, time.not_after)


def _verify(token: bytes, signature_value: bytes, roots: Sequence[bytes]) -> TimeRange:
    # 1. Is it a token, and about this signature? Cheap, so first.
    if len(token) > MAX_TOKEN_BYTES:
        raise DerError(
            f"{WHAT} has {len(token)} bytes, expected at most {MAX_TOKEN_BYTES}"
        )
    signed = parse_signed_data(token)
    info = _tst_info(signed)
    expected = hashlib.new(info.hash_name, signature_value).digest()
    if info.imprint != expected:  # H5
        raise DerError(
            f"{WHAT} is about another signature: expected {info.hash_name} "
            f"{_hex(expected)}, found {_hex(info.imprint)}"
        )
    # 2. Whose certificate was it, and did it chain to a root at that time?
    der = signing_certificate(signed)
    own = signing_time(signed)
    times = (info.gen_time,) if own is None else (info.gen_time, own)
    chain = find_tsa_chain(der, signed.certificates, roots, times)
    # 3. Did its key sign this?
    signer = parse_certificate(der, what="the TSA's certificate")
    verify_signed_data(signed, signer)
    return TimeRange(
        not_before=info.gen_time - info.accuracy,
        not_after=info.gen_time + info.accuracy,
        signer=subject_text(signer.subject),
        chain=chain,
    )


def _tst_info(signed: SignedData) -> TstInfo:
    # RFC 3161 2.4.2: "version INTEGER { v1(1) }", DER
    fields = read_one(signed.content, tag=SEQUENCE, what=_INFO)
    version = fields.integer("version")
    if version != 1:
        raise DerError(f"{_INFO} has version {version}, expected 1")
    policy = fields.oid("policy")
    imprint = fields.inside(SEQUENCE, "messageImprint")
    algorithm = imprint.take(SEQUENCE, "hashAlgorithm").contents
    hashed = imprint.take(OCTET_STRING, "hashedMessage").contents
    imprint.end()
    fields.integer("serialNumber")
    stated = fields.take(GENERALIZED_TIME, "genTime")
    gen_time = parse_time(stated, what=f"{_INFO}'s genTime")
    accuracy = _accuracy(fields)
    if not accuracy and policy == _BASELINE_POLICY:  # TP516-518
        accuracy = _BASELINE_ACCURACY
    fields.take_if(BOOLEAN)  # ordering
    nonce = fields.take_if(INTEGER)
    fields.take_if(_CONSTRUCTED | _CONTEXT_0)  # tsa: a name, as good as any claim
    _refuse_critical(fields)
    fields.end()
    _require_range(gen_time, accuracy)
    return TstInfo(
        policy=policy,
        hash_name=hash_name(algorithm, what=_INFO),
        imprint=hashed,
        gen_time=gen_time,
        accuracy=accuracy,
        nonce=None if nonce is None else parse_integer(nonce, what=f"{_INFO}'s nonce"),
    )


def _accuracy(fields: Fields) -> timedelta:
    found = fields.take_if(SEQUENCE)
    if found is None:
        return timedelta()
    what = f"{_INFO}'s accuracy"
    parts = Fields(found.contents, what=what)
    seconds, millis, micros = (parts.take_if(t) for t in (INTEGER, *_FRACTIONS))
    parts.end()
    values = [
        0 if part is None else parse_integer(part, what=what)
        for part in (seconds, millis, micros)
    ]
    low = [0, 0 if millis is None else 1, 0 if micros is None else 1]
    high = [_MAX_ACCURACY_SECONDS, 999, 999]
    if any(not a <= v <= b for a, v, b in zip(low, values, high, strict=True)):
        raise DerError(f"{what} is out of range")
    return timedelta(seconds=values[0], milliseconds=values[1], microseconds=values[2])


def _refuse_critical(fields: Fields) -> None:
    """Refuse an extension that must be understood; none is."""
    extensions = fields.take_if(_CONSTRUCTED | _CONTEXT_1)
    for element in Fields(extensions.contents, what=_INFO).rest() if extensions else ():
        extension = read_one(element.raw, tag=SEQUENCE, what=f"{_INFO}'s extension")
        oid = extension.oid("type")
        if extension.take_if(BOOLEAN) is not None:  # DER: only written where TRUE
            raise DerError(f"{_INFO} has the critical extension {oid}")


def _require_range(gen_time: datetime, accuracy: timedelta) -> None:
    try:
        _ = gen_time - accuracy, gen_time + accuracy
    except OverflowError as error:
        raise DerError(f"{_INFO} has a genTime at the end of all time") from error


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _hex(digest: bytes) -> str:
    return f"{digest.hex()[:12]}..."
