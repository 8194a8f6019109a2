"""Notary signatures in COSE_Sign1 (signature-envelope-cose.md, RFC 9052).

Turns bytes into an `UntrustedEnvelope`, strictly: what two readers could read
differently is refused. Trusts nobody and asks nobody.
"""

from datetime import UTC, datetime, timedelta

from enforcer.core.cbor import Cbor, EpochTime, Label, encode_cbor, parse_cbor
from enforcer.core.certificate import SignatureAlgorithm
from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import (
    MAX_PROTECTED_BYTES,
    SIGNING_AGENT,
    TIMESTAMP_SIGNATURE,
    Dialect,
    Value,
    malformed,
    read_attributes,
)
from enforcer.core.envelope.untrusted import EnvelopeFormat, UntrustedEnvelope
from enforcer.core.errors import MalformedError
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.core.x509chain import MAX_CHAIN

# K1: COSE_Sign1_Tagged only, and its tag (18) only in the one byte it needs.
SIGN1_TAG = b"\xd2"

# RFC 9052 3.1 and the IANA registry, "COSE Header Parameters"
ALG, CRIT, CONTENT_TYPE, KID, IV, PARTIAL_IV = range(1, 7)
TYP, X5CHAIN = 16, 33
_COUNTERSIGNATURES = (7, 9, 11, 12)

# CO248-261
ALGORITHMS = {
    SignatureAlgorithm.PS256: -37,
    SignatureAlgorithm.PS384: -38,
    SignatureAlgorithm.PS512: -39,
    SignatureAlgorithm.ES256: -7,
    SignatureAlgorithm.ES384: -35,
    SignatureAlgorithm.ES512: -36,
}
_BY_NUMBER = {number: algorithm for algorithm, number in ALGORITHMS.items()}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Map = dict[Label, Cbor]


def parse_cose(raw: bytes) -> UntrustedEnvelope:
    """Read a COSE envelope.

    Raises:
        MalformedError: Anything the specification does not allow (SIGNATURE_INVALID).
        TooLargeError: More than MAX_ENVELOPE_BYTES.
    """
    try:
        return _envelope(raw)
    except MalformedError as error:
        raise MalformedError(
            error.what, remedy=error.remedy, code=Code.SIGNATURE_INVALID
        ) from error


def signing_input(protected: bytes, payload: bytes) -> bytes:
    """Return what a COSE_Sign1 signature is over (RFC 9052 4.4, Sig_structure).

    `protected` are the header's original bytes; CO206: external_aad is empty.
    """
    return encode_cbor(["Signature1", protected, b"", payload])


def _envelope(raw: bytes) -> UntrustedEnvelope:
    if not raw.startswith(SIGN1_TAG):
        raise malformed("the envelope is not a tagged COSE_Sign1")
    message = parse_cbor(
        raw[len(SIGN1_TAG) :], what="the envelope", max_bytes=MAX_ENVELOPE_BYTES
    )
    if not isinstance(message, list) or len(message) != 4:
        raise malformed("the envelope is not an array of four")
    untrusted_protected, header, payload, signature = message
    protected, header = _protected(untrusted_protected), _header(header)
    _require_headers(protected, header)
    attributes = read_attributes(protected, _algorithm(protected), _DIALECT)
    # K3: attached payload only; RFC 9052 4.2 has nil for a detached one
    payload = _bytes(payload, "the payload")
    return UntrustedEnvelope(
        format=EnvelopeFormat.COSE,
        attributes=attributes,
        signing_input=signing_input(
            _bytes(untrusted_protected, "the protected header"), payload
        ),
        signature=_bytes(signature, "the signature"),
        payload=payload,
        # K10: unprotected, or optionally protected; `_require_headers` saw to it
        # that it is in one place only
        x5c=_x5chain(header.get(X5CHAIN, protected.get(X5CHAIN))),
        timestamp_token=_timestamp_token(header),
        signing_agent=_signing_agent(header),
    )


def _protected(value: Cbor) -> _Map:
    what = "the protected header"
    raw = _bytes(value, what)
    value = parse_cbor(raw, what=what, max_bytes=MAX_PROTECTED_BYTES, times=True)
    return _map(value, what)


def _header(value: Cbor) -> _Map:
    header = _map(value, "the unprotected header")
    if CRIT in header:  # RFC 9052 3.1: "crit ... MUST be placed in the protected"
        raise malformed("crit is not protected")
    return header


def _require_headers(protected: _Map, header: _Map) -> None:
    """Refuse labels in both places, and registered ones of another type."""
    # RFC 9052 3: "Labels in each of the maps MUST be unique", and in both together
    if not protected.keys().isdisjoint(header):
        raise malformed("a header is both protected and unprotected")
    together = protected | header
    if any(label in together for label in _COUNTERSIGNATURES):
        raise malformed("the envelope has a COSE countersignature")
    if IV in together and PARTIAL_IV in together:
        raise malformed("the envelope has both IV and Partial IV")
    for label in (KID, IV, PARTIAL_IV):
        if not isinstance(together.get(label, b""), bytes):
            raise malformed(f"header {label} is not a byte string")
    if TYP in together:  # RFC 9596: what kind of message it is; Notary defines none
        raise malformed("the envelope has a typ")


def _algorithm(protected: _Map) -> SignatureAlgorithm:
    number = protected.get(ALG)
    # -7.0 would find -7
    if type(number) is not int or number not in _BY_NUMBER:
        raise malformed("alg is not the number of an allowed algorithm")
    return _BY_NUMBER[number]


def _x5chain(value: Cbor) -> tuple[bytes, ...]:
    # CO185: an array of byte strings, even for a single certificate
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHAIN:
        raise malformed(f"x5chain does not list 1 to {MAX_CHAIN} certificates")
    return tuple(_bytes(item, "a certificate") for item in value)


def _timestamp_token(header: _Map) -> bytes | None:
    if TIMESTAMP_SIGNATURE not in header:
        return None
    return _bytes(header[TIMESTAMP_SIGNATURE], TIMESTAMP_SIGNATURE)


def _signing_agent(header: _Map) -> str:
    agent = header.get(SIGNING_AGENT, "")
    if not isinstance(agent, str):
        raise malformed(f"{SIGNING_AGENT} is not text")
    return agent


def _map(value: Cbor, what: str) -> _Map:
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a map")
    return value


def _bytes(value: Cbor, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise malformed(f"{what} is not a byte string")
    return value


def _time(value: Value, name: str) -> datetime:
    if not isinstance(value, EpochTime):  # K8: tag 1 and no other form
        raise malformed(f"{name} is not an epoch time (tag 1)")
    try:
        return _EPOCH + timedelta(seconds=value.seconds)
    except OverflowError:
        raise malformed(f"{name} is no date") from None


_DIALECT = Dialect(
    content_type=CONTENT_TYPE,
    critical=CRIT,
    own=(ALG, CRIT, CONTENT_TYPE, X5CHAIN),
    # CO156: crit "MUST only contain header parameters apart from" 0 to 8
    never_critical=range(9),
    parse_time=_time,
)
