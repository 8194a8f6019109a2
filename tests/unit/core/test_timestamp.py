"""RFC 3161 countersignatures that pass, what they say, and hostile bytes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.timestamp import (
    TimestampError,
    parse_tst_info,
    range_problem,
    verify_countersignature,
)
from enforcer.core.x509chain import parse_chain
from tests.asn1 import (
    attribute,
    generalized,
    long_form,
    octets,
    oid,
    seq,
    tlv,
    utc_time,
)
from tests.pki import NOW, ca_template, ders, make_chain, name, rsa_key
from tests.tsa import (
    Authority,
    accuracy,
    at_offset,
    long_lived,
    tsa_chain,
    tsa_template,
)

SIGNED = b"the primitive signature"
TSA = Authority(tsa_chain())
OTHER = Authority(tsa_chain())  # of the same names
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def refusal(
    token: bytes, roots: Sequence[bytes] = (TSA.root,), signed: bytes = SIGNED
) -> str:
    with pytest.raises(TimestampError) as caught:
        verify_countersignature(token, signed, roots)
    assert caught.value.code is Code.TIMESTAMP_INVALID
    return caught.value.what


def test_a_right_token_says_when_and_by_whom() -> None:
    """The story, once."""
    found = verify_countersignature(TSA.token(SIGNED), SIGNED, (TSA.root,))

    assert (found.not_before, found.not_after) == (NOW, NOW)
    assert found.signer == "CN=clock,O=tsa,ST=WA,C=US"
    assert found.chain.der == ders(TSA.chain)
    assert str(found) == "2026-06-01T12:00:00Z"


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"accuracy": accuracy(2, 5, 7)}, -2.005007, 2.005007),
        ({"accuracy": accuracy(millis=999)}, -0.999, 0.999),
        ({"policy": "baseline"}, -1, 1),
        ({"policy": "baseline", "accuracy": accuracy(0)}, -1, 1),
        ({"policy": "baseline", "accuracy": accuracy(3)}, -3, 3),
        ({"gen_time": at_offset(0.25)}, 0.25, 0.25),
    ],
)
def test_accuracy_makes_the_time_a_range(
    changes: dict[str, Any], before: float, after: float
) -> None:
    """H10: as stated, else one second under the baseline policy, else none."""
    token = TSA.token(SIGNED, **changes)

    found = verify_countersignature(token, SIGNED, (TSA.root,))

    assert found.not_before == NOW + timedelta(seconds=before)
    assert found.not_after == NOW + timedelta(seconds=after)


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": "sha384"},
        {"hash": "sha512"},
        {"digest": "sha512"},
        {"ess": TSA.ess_certificate("sha384")},
        {"ess": TSA.ess_certificate("sha512")},
        {"ess": TSA.ess_certificate(name_it=False)},
        {"ordering": tlv(0x01, b"\xff"), "nonce": 5},
        {"tsa": tlv(0xA0, tlv(0xA4, name("CN=whoever").public_bytes()))},
        {"extensions": tlv(0xA1, seq(oid("1.2.3"), octets(b"")))},
        {"unsigned": tlv(0xA1, attribute("1.2.3", octets(b"")))},
        {"attributes": {"x": attribute("1.2.3", octets(b"")), "y": b""}},
        {"attributes": {"t": attribute("signing-time", utc_time(NOW))}},
        {"attributes": {"t": attribute("signing-time", generalized(NOW))}},
        {"certificates": ders(TSA.chain)},
        {"certificates": ders(TSA.chain[::-1])},
        {"certificates": (TSA.chain[0].der, OTHER.chain[0].der)},
        {"reencode": long_form},
    ],
)
def test_what_the_specification_allows_is_taken(changes: dict[str, Any]) -> None:
    """H4-H8: BER lengths, any strong hash, certificates in any order and number."""
    token = TSA.token(SIGNED, **changes)

    assert (
        verify_countersignature(token, SIGNED, (OTHER.root, TSA.root)).not_after == NOW
    )


@pytest.mark.parametrize(
    ("bits", "changes"),
    [
        (2048, {}),
        (2048, {"signature_algorithm": "rsa-sha256"}),
        (3072, {"signature_algorithm": "rsa-pss"}),
        (2048, {"signature_algorithm": "rsa-sha512", "digest": "sha512"}),
    ],
)
def test_rsa_signs_in_three_ways(bits: int, changes: dict[str, Any]) -> None:
    """H6: PKCS #1 v1.5 named either way, and PSS."""
    authority = Authority(tsa_chain(key=rsa_key(bits)))

    token = authority.token(SIGNED, **changes)

    assert verify_countersignature(token, SIGNED, (authority.root,)).not_after == NOW


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves_sign_too(curve: ec.EllipticCurve) -> None:
    """A1's key sizes hold for a TSA as well."""
    authority = Authority(tsa_chain(key=ec.generate_private_key(curve)))

    token = authority.token(SIGNED, digest="sha384")

    assert verify_countersignature(token, SIGNED, (authority.root,)).not_after == NOW


@pytest.mark.parametrize(
    ("offset", "problem"),
    [
        (-30 * DAY + SECOND, None),
        (-30 * DAY, "is not valid before 2026-05-02T12:00:00Z"),
        (300 * DAY - SECOND, None),
        (300 * DAY, "expired at 2027-03-28T12:00:00Z"),
    ],
)
def test_the_whole_range_must_be_within_the_signers_validity(
    offset: timedelta, problem: str | None
) -> None:
    """H10: bounds included; a range over the end of a certificate proves nothing."""
    authority = Authority(
        tsa_chain(long_lived(tsa_template()), root=long_lived(ca_template()))
    )
    token = authority.token(
        SIGNED, gen_time=generalized(NOW + offset), accuracy=accuracy(1)
    )
    time = verify_countersignature(token, SIGNED, (authority.root,))

    found = range_problem(time, parse_chain(ders(make_chain())))

    assert (found is None) is (problem is None)
    assert problem is None or (found or "").endswith(problem)


@given(raw=st.binary(max_size=300))
def test_hostile_bytes_are_one_error(raw: bytes) -> None:
    """Whatever is in the header, there is a verdict and a sentence."""
    assert refusal(raw)


@settings(deadline=None)
@given(at=st.integers(0, 10**6), junk=st.binary(max_size=4), cut=st.integers(0, 4))
def test_a_mutated_token_is_one_error_or_the_same_time(
    at: int, junk: bytes, cut: int
) -> None:
    """Not "refused", but: what is accepted states the same (T-CR-4's oracle)."""
    token = TSA.token(SIGNED, nonce=99)
    place = at % len(token)
    changed = token[:place] + junk + token[place + cut :]

    try:
        found = verify_countersignature(changed, SIGNED, (TSA.root,))
    except TimestampError:
        return

    assert (found.not_before, found.not_after) == (NOW, NOW)
    assert parse_tst_info(changed) == parse_tst_info(token)


def test_no_flipped_bit_changes_what_an_accepted_token_states() -> None:
    """Those that pass are in parts nobody signs. One bit an octet here."""
    token = TSA.token(
        SIGNED, nonce=99, unsigned=tlv(0xA1, attribute("1.2.3", octets(b"")))
    )
    stated = parse_tst_info(token)
    accepted = 0
    for at in range(len(token)):
        flipped = bytearray(token)
        flipped[at] ^= 1 << at % 8
        try:
            verify_countersignature(bytes(flipped), SIGNED, (TSA.root,))
        except TimestampError:
            continue
        assert parse_tst_info(bytes(flipped)) == stated
        accepted += 1

    assert accepted < len(token) // 10
