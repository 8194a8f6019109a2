"""Wrong countersignatures: for every rule a token that breaks it, and a sentence."""

from collections.abc import Sequence
from typing import Any

import pytest

from enforcer.core.codes import Code
from enforcer.core.timestamp import (
    MAX_TOKEN_BYTES,
    TimestampError,
    verify_countersignature,
)
from tests.asn1 import (
    attribute,
    generalized,
    indefinite,
    long_form,
    octets,
    oid,
    seq,
    tlv,
)
from tests.pki import NOW
from tests.tsa import (
    Authority,
    accuracy,
    tsa_chain,
)

SIGNED = b"the primitive signature"
TSA = Authority(tsa_chain())
OTHER = Authority(tsa_chain())  # of the same names
WHAT = "the countersignature"


def nested(depth: int) -> bytes:
    raw = b""
    for _ in range(depth):
        raw = seq(raw)
    return raw


def refusal(
    token: bytes, roots: Sequence[bytes] = (TSA.root,), signed: bytes = SIGNED
) -> str:
    with pytest.raises(TimestampError) as caught:
        verify_countersignature(token, signed, roots)
    assert caught.value.code is Code.TIMESTAMP_INVALID
    return caught.value.what


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        # the token
        ({"after": b"\0"}, " is cut short"),
        ({"after": seq()}, " has something nobody asked for at its end"),
        (
            {"reencode": indefinite},
            " has an element of indefinite or outlandish length",
        ),
        ({"signed_data": "data"}, " is not CMS SignedData"),
        ({"signed_data_version": 1}, "'s SignedData has version 1, expected 3"),
        (
            {"content_type": "data"},
            " is about content of type 1.2.840.113549.1.7.1, expected TSTInfo",
        ),
        (
            {"certificates": ()},
            "'s SignedData lacks certificates: expected tag 0xa0, found tag 0x31",
        ),
        (
            {"certificates": (TSA.chain[0].der,) * 17},
            " carries 17 certificates, expected 1 to 16",
        ),
        (
            {"certificates": (tlv(0xA1, b""),)},
            " carries something else than X.509 certificates",
        ),
        ({"crls": tlv(0xA1)}, " carries revocation lists, which are not read"),
        ({"signers": 0}, " has 0 signers, expected one"),
        # the TSTInfo
        ({"version": 2}, "'s TSTInfo has version 2, expected 1"),
        (
            {"hash": "sha1"},
            "'s TSTInfo uses hash algorithm 1.3.14.3.2.26, expected SHA-256, SHA-384 "
            "or SHA-512",
        ),
        (
            {"gen_time": b""},
            "'s TSTInfo lacks genTime: expected tag 0x18, found nothing",
        ),
        (
            {"gen_time": tlv(0x18, b"20260601120000+0100")},
            "'s TSTInfo's genTime is not a time in UTC",
        ),
        (
            {"gen_time": tlv(0x18, b"20260601120000.50Z")},
            "'s TSTInfo's genTime is not a time in UTC",
        ),
        (
            {"gen_time": tlv(0x18, b"20260631120000Z")},
            "'s TSTInfo's genTime is no such time",
        ),
        (
            {"gen_time": tlv(0x18, b"99991231235959Z"), "accuracy": accuracy(60)},
            "'s TSTInfo has a genTime at the end of all time",
        ),
        ({"accuracy": accuracy(-1)}, "'s TSTInfo's accuracy is out of range"),
        ({"accuracy": accuracy(86401)}, "'s TSTInfo's accuracy is out of range"),
        ({"accuracy": accuracy(millis=0)}, "'s TSTInfo's accuracy is out of range"),
        ({"accuracy": accuracy(micros=1000)}, "'s TSTInfo's accuracy is out of range"),
        (
            {"extensions": tlv(0xA1, seq(oid("1.2.3"), tlv(1, b"\xff"), octets(b"")))},
            "'s TSTInfo has the critical extension 1.2.3",
        ),
        (
            {"after_info": b"\5\0"},
            "'s TSTInfo has something nobody asked for at its end",
        ),
        (
            {"gen_time": long_form(generalized(NOW))},
            "'s TSTInfo is not DER: a length could be shorter",
        ),
        # the signer
        ({"signer_version": 3}, "'s SignerInfo has version 3, expected 1"),
        (
            {"sid": tlv(0x80, b"key")},
            "'s SignerInfo lacks issuerAndSerialNumber: expected tag 0x30, found tag "
            "0x80",
        ),
        (
            {
                "sid": OTHER.issuer_and_serial(),
                "ess": TSA.ess_certificate(name_it=False),
            },
            f" does not carry the TSA's certificate (serial number "
            f"{OTHER.chain[0].certificate.serial_number})",
        ),
        (
            {"digest": "sha1", "signature_algorithm": "ecdsa-sha256"},
            " uses hash algorithm 1.3.14.3.2.26, expected SHA-256, SHA-384 or SHA-512",
        ),
        (
            {"signature_algorithm": "rsa"},
            " is signed with algorithm 1.2.840.113549.1.1.1, which is not allowed for "
            "the TSA's key",
        ),
        ({"spoil_signature": True}, " has a signature that does not verify"),
        # what nobody reads
        (
            {"unsigned": tlv(0xA1, seq(oid("1.2.3")))},
            "'s unsigned attributes lacks values: expected tag 0x31, found nothing",
        ),
        (
            {"unsigned": tlv(0xA1, attribute("1.2.3", tlv(0x30, b"\5")))},
            " is cut short",
        ),
        (
            {"unsigned": tlv(0xA1, attribute("1.2.3", nested(32)))},
            " is nested deeper than 32 levels",
        ),
        # the signed attributes
        ({"reorder": True}, "'s signed attributes are not in the order DER asks for"),
        (
            {"attributes": {"x": attribute("content-type", oid("data"))}},
            "'s signed attributes have 1.2.840.113549.1.9.3 twice",
        ),
        (
            {"attributes": {"content-type": b""}},
            " lacks the signed attribute content-type",
        ),
        (
            {"attributes": {"content-type": attribute("content-type", oid("data"))}},
            "'s attribute content-type is not TSTInfo",
        ),
        (
            {"attributes": {"message-digest": b""}},
            " lacks the signed attribute message-digest",
        ),
        (
            {
                "attributes": {
                    "message-digest": attribute("message-digest", octets(bytes(32)))
                }
            },
            "'s message-digest is not that of its content",
        ),
        (
            {
                "attributes": {
                    "message-digest": attribute(
                        "message-digest", octets(b"1"), octets(b"2")
                    )
                }
            },
            "'s message-digest has something nobody asked for at its end",
        ),
        (
            {"attributes": {"signing-certificate-v2": b""}},
            " lacks the signed attribute signing-certificate-v2",
        ),
        (
            {"attributes": {"t": attribute("signing-time", octets(b""))}},
            "'s signing-time lacks time: expected tag 0x18, found tag 0x04",
        ),
        # signing-certificate-v2
        (
            {"ess": seq(seq())},
            "'s signing-certificate-v2's certs lacks first entry: expected tag 0x30, "
            "found nothing",
        ),
        (
            {"ess": seq(seq(seq(octets(bytes(32)))))},
            "'s signing-certificate-v2 has another hash than the TSA's certificate",
        ),
        (
            {"ess": TSA.ess_certificate("sha1")},
            "'s signing-certificate-v2 uses hash algorithm 1.3.14.3.2.26, expected "
            "SHA-256, SHA-384 or SHA-512",
        ),
        (
            {"ess": OTHER.ess_certificate()},
            "'s signing-certificate-v2's issuerSerial names another certificate than "
            "the SignerInfo",
        ),
    ],
)
def test_a_wrong_token_is_refused_with_its_reason(
    changes: dict[str, Any], what: str
) -> None:
    """T-CR-7, H4-H8: every rule has a token that breaks it, and a sentence."""
    assert refusal(TSA.token(SIGNED, **changes)) == WHAT + what


def test_two_signers_are_refused_though_notation_looks_at_the_first() -> None:
    """Facts 2.1.7. RFC 3161 2.4.2: no signature other than the TSA's."""
    what = refusal(TSA.token(SIGNED, signers=2))

    assert what == "the countersignature has 2 signers, expected one"


def test_a_token_about_another_signature_is_refused() -> None:
    """H5: what binds the time to the signature; expected and found are named."""
    what = refusal(TSA.token(b"another signature"))

    assert what == (
        "the countersignature is about another signature: expected sha256 "
        "e76d6d33a464..., found 71a1a06b35e6..."
    )


def test_a_token_over_its_limit_is_not_read() -> None:
    """Unauthenticated bytes, so nothing is spent on them."""
    what = refusal(b"\x30" * (MAX_TOKEN_BYTES + 1))

    assert what == "the countersignature has 65537 bytes, expected at most 65536"
