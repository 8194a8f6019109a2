"""COSE envelopes: one strict reading, and what is signed is what is judged."""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import MAX_PROTECTED_BYTES, SigningScheme
from enforcer.core.envelope.cose import parse_cose, signing_input
from enforcer.core.envelope.formats import untrusted_chain
from enforcer.core.envelope.payload import parse_payload
from enforcer.core.envelope.untrusted import (
    EnvelopeFormat,
    UntrustedEnvelope,
    verify_envelope_signature,
)
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.signature_manifest import COSE_MEDIA_TYPE, MAX_ENVELOPE_BYTES
from enforcer.core.x509chain import parse_chain
from tests.differential.tree import Node, Pairs, Raw, Tagged, head, to_cbor
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Key,
    cose_header,
    ders,
    make_chain,
    make_cose,
    rsa_key,
)

CHAIN = make_chain(intermediates=0)
EXPIRY = f"{NOTARY}expiry"
SCHEME = f"{NOTARY}signingScheme"
SIGNING_TIME = f"{NOTARY}signingTime"
AUTHENTIC_TIME = f"{NOTARY}authenticSigningTime"
AGENT, TIMESTAMP = f"{NOTARY}signingAgent", f"{NOTARY}timestampSignature"
AUTHORITY = "notary.x509.signingAuthority"
HOUR_AGO = int((NOW - timedelta(hours=1)).timestamp())
TOMORROW = Tagged(1, int((NOW + timedelta(days=1)).timestamp()))


def problem(raw: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        parse_cose(raw)
    assert caught.value.code is Code.SIGNATURE_INVALID
    return caught.value.what


def verify(raw: bytes) -> UntrustedEnvelope:
    envelope = parse_cose(raw)
    verify_envelope_signature(envelope, parse_chain(envelope.x5c))
    return envelope


def test_an_envelope_is_read_whole() -> None:
    """The story, once."""
    changes: dict[int | str, Node] = {
        2: [SCHEME, EXPIRY, "com.example.must", 100],
        EXPIRY: TOMORROW,
        "com.example.must": {},
        100: b"x",
        "other": [1, Tagged(1, 5)],
    }
    changes["com.example.must"] = Pairs([("a", 1.5)])
    raw = make_cose(
        CHAIN, protected=cose_header(changes), header={AGENT: "x/1", TIMESTAMP: b"\0\1"}
    )

    envelope = verify(raw)

    attributes = envelope.attributes
    assert envelope.format is EnvelopeFormat.COSE
    assert attributes.algorithm == "ES256"
    assert attributes.scheme is SigningScheme.X509
    assert attributes.signing_time == NOW.replace(hour=11)
    assert attributes.authentic_signing_time is None
    assert attributes.expiry == NOW.replace(day=2)
    assert [(a.name, a.critical) for a in attributes.extended] == [
        ("com.example.must", True),
        ("100", True),
        ("other", False),
    ]
    assert envelope.x5c == ders(CHAIN)
    assert envelope.timestamp_token == b"\0\1"
    assert envelope.signing_agent == "x/1"
    assert len(envelope.signature) == 64
    assert parse_payload(envelope.payload).target == IMAGE
    assert untrusted_chain(COSE_MEDIA_TYPE, raw) == ders(CHAIN)


def test_a_signing_authoritys_time_is_read() -> None:
    """CO160."""
    changes: dict[int | str, Node] = {
        2: [SCHEME, AUTHENTIC_TIME],
        SCHEME: AUTHORITY,
        SIGNING_TIME: None,
        AUTHENTIC_TIME: Tagged(1, HOUR_AGO),
    }
    attributes = parse_cose(make_cose(CHAIN, protected=cose_header(changes))).attributes

    assert attributes.scheme is SigningScheme.SIGNING_AUTHORITY
    assert attributes.signing_time is None
    assert attributes.authentic_signing_time == NOW.replace(hour=11)


def test_what_is_signed_is_a_sig_structure_of_the_original_bytes() -> None:
    """RFC 9052 4.4, with empty external_aad (CO206), by hand."""
    assert signing_input(b"\xa1\x01\x26", b"hi").hex() == (
        "84" + "6a5369676e617475726531" + "43a10126" + "40" + "426869"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({1: None}, "alg is not the number of an allowed algorithm"),
        ({1: "ES256"}, "alg is not the number"),
        ({1: -7.0}, "alg is not the number"),
        ({1: 5}, "alg is not the number"),
        ({1: -257}, "alg is not the number"),
        ({1: True}, "alg is not the number"),
        ({3: None}, "the content type is not"),
        ({3: "application/json"}, "the content type is not"),
        ({3: 50}, "the content type is not"),
        ({2: None}, "crit is missing or empty"),
        ({2: []}, "crit is missing or empty"),
        ({2: SCHEME}, "crit is missing or empty"),
        ({2: [SCHEME, SCHEME]}, "crit names something twice"),
        ({2: [SCHEME, True]}, "crit names something twice, or lists"),
        ({2: [SCHEME, b"x"]}, "crit names something twice, or lists"),
        ({2: ["x"], "x": 1}, "signingScheme is there, but not in crit"),
        ({2: [SCHEME, 1]}, 'crit must not name "1"'),
        ({2: [SCHEME, 3]}, 'crit must not name "3"'),
        ({2: [SCHEME, 4], 4: b"k"}, 'crit must not name "4"'),
        ({2: [SCHEME, 0], 0: b"k"}, 'crit must not name "0"'),
        ({2: [SCHEME, "absent"]}, 'crit must not name "absent"'),
        ({2: [SCHEME, "100"], 100: 1}, 'crit must not name "100"'),
        ({2: [SCHEME, 99]}, 'crit must not name "99"'),
        ({SCHEME: None, 2: ["x"], "x": 1}, "signingScheme is"),
        ({SCHEME: "notary.x509.other"}, "signingScheme is"),
        ({SCHEME: b"notary.x509"}, "signingScheme is"),
        ({SIGNING_TIME: None}, "signingTime is missing"),
        ({SIGNING_TIME: HOUR_AGO}, "signingTime is not an epoch time (tag 1)"),
        ({SIGNING_TIME: "2026-06-01T11:00:00Z"}, "signingTime is not an epoch time"),
        ({SIGNING_TIME: Tagged(0, "2026-06-01T11:00:00Z")}, "tag 0 where it is not"),
        ({SIGNING_TIME: Tagged(1, -62135596800)}, "signingTime is not set"),
        ({SIGNING_TIME: Tagged(1, 2**62)}, "signingTime is no date"),
        ({SIGNING_TIME: Tagged(1, 1e300)}, "signingTime is no date"),
        ({SIGNING_TIME: Tagged(1, -1e12)}, "signingTime is no date"),
        (
            {AUTHENTIC_TIME: Tagged(1, HOUR_AGO), 2: [SCHEME, AUTHENTIC_TIME]},
            "authenticSigningTime is not allowed in scheme notary.x509",
        ),
        (
            {SCHEME: AUTHORITY, AUTHENTIC_TIME: Tagged(1, 5)},
            "authenticSigningTime is there, but not in crit",
        ),
        (
            {
                SCHEME: AUTHORITY,
                AUTHENTIC_TIME: Tagged(1, 5),
                2: [SCHEME, AUTHENTIC_TIME],
            },
            "signingTime is not allowed in scheme notary.x509.signingAuthority",
        ),
        ({EXPIRY: TOMORROW}, "expiry is there, but not in crit"),
        ({EXPIRY: 5, 2: [SCHEME, EXPIRY]}, "expiry is not an epoch time"),
        (
            {EXPIRY: Tagged(1, HOUR_AGO), 2: [SCHEME, EXPIRY]},
            "the signature expires before it was made",
        ),
        ({16: "application/x"}, "the envelope has a typ"),
        ({4: "kid"}, "header 4 is not a byte string"),
        ({5: b"1", 6: b"2"}, "both IV and Partial IV"),
        ({7: []}, "a COSE countersignature"),
        ({"x": Tagged(37, b"x")}, "tag 37 where it is not allowed"),
    ],
)
def test_a_protected_header_that_breaks_a_rule_is_refused(
    changes: Mapping[int | str, Node], expected: str
) -> None:
    """K4-K9, facts 2.1.8: correctly signed, and still not a Notary signature."""
    assert expected in problem(make_cose(CHAIN, protected=cose_header(changes)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({33: None}, "x5chain does not list 1 to 32 certificates"),
        ({33: []}, "x5chain does not list 1 to 32 certificates"),
        ({33: CHAIN[0].der}, "x5chain does not list 1 to 32 certificates"),
        ({33: [b"x"] * 33}, "x5chain does not list 1 to 32 certificates"),
        ({33: ["x"]}, "a certificate is not a byte string"),
        ({1: -7}, "a header is both protected and unprotected"),
        ({3: "a/b"}, "a header is both protected and unprotected"),
        ({2: [4], 4: b""}, "crit is not protected"),
        ({AGENT: 5}, "signingAgent is not text"),
        ({TIMESTAMP: "AAAA"}, "timestampSignature is not a byte string"),
        ({"x": Tagged(1, 5)}, "tag 1 where it is not allowed"),
        ({"x": [Pairs([(1, 1), (1, 1)])]}, "a duplicate label"),
        ({4: 5}, "header 4 is not a byte string"),
        ({11: [b"", Pairs(), b"x"]}, "a COSE countersignature"),
    ],
)
def test_an_unprotected_header_of_another_shape_is_refused(
    changes: Mapping[int | str, Node], expected: str
) -> None:
    """K10, K11: unsigned does not mean unread."""
    assert expected in problem(make_cose(CHAIN, header=changes))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({0: Pairs()}, "the protected header is not a byte string"),
        ({0: None}, "the protected header is not a byte string"),
        ({0: b""}, "the protected header is not valid CBOR: it ends too early"),
        ({0: b"\xa0"}, "alg is not"),
        ({0: b"\x80"}, "the protected header is not a map"),
        ({0: b"\xbf\xff"}, "an indefinite or reserved length"),
        ({0: to_cbor(cose_header()) + b"\x00"}, "bytes after its end"),
        ({0: to_cbor(Pairs([*cose_header(), (1, -7)]))}, "a duplicate label"),
        ({1: None}, "the unprotected header is not a map"),
        ({1: b"\xa0"}, "the unprotected header is not a map"),
        ({2: None}, "the payload is not a byte string"),
        ({2: "text"}, "the payload is not a byte string"),
        ({3: None}, "the signature is not a byte string"),
    ],
)
def test_a_message_of_another_shape_is_refused(
    message: Mapping[int, Node], expected: str
) -> None:
    """K1-K3: attached payload, both headers, nothing twice."""
    assert expected in problem(make_cose(CHAIN, message=message))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[1:],
        lambda raw: b"\xd8\x62" + raw[1:],
        lambda raw: b"\xd8\x12" + raw[1:],
        lambda raw: b"\xd9\xd9\xf7" + raw,
        lambda raw: b"\xd2" + raw,
        lambda raw: raw + b"\x00",
        lambda raw: b"\xd2\x85" + raw[2:] + b"\x00",
        lambda raw: b"\xd2\x9f" + raw[2:] + b"\xff",
        lambda raw: b"",
        lambda raw: b"\xd2",
        lambda raw: b'{"payload":"e30"}',
    ],
)
def test_other_messages_are_refused(change: Node) -> None:
    """K1: COSE_Sign1_Tagged, and nothing around it or behind it."""
    raw = change(make_cose(CHAIN))

    problem(raw)
    assert untrusted_chain(COSE_MEDIA_TYPE, raw) == ()


def test_the_chain_may_be_protected_but_only_in_one_place() -> None:
    """CO185: "Optionally, this header can be presented in the protected header"."""
    protected = cose_header({33: list(ders(CHAIN)), 2: [SCHEME, 33]})

    assert verify(make_cose(CHAIN, protected=protected, header={33: None})).x5c == ders(
        CHAIN
    )
    assert "both protected and unprotected" in problem(
        make_cose(CHAIN, protected=protected)
    )


def test_other_spellings_of_the_same_header_are_signed_as_written() -> None:
    """RFC 9052 4.4: the original bytes count, in any order and of any length."""
    backwards = Pairs(reversed(cose_header()))
    long = Raw(b"\xb8\x05" + to_cbor(cose_header())[1:])
    other = to_cbor(cose_header({1: -35}))

    verify(make_cose(CHAIN, protected=backwards))
    verify(make_cose(CHAIN, protected=long))
    raw = make_cose(CHAIN, message={0: Raw(head(2, len(other), width=2) + other)})
    with pytest.raises(MalformedError, match="says alg ES384, but"):
        verify(raw)
    right = to_cbor(cose_header())
    verify(make_cose(CHAIN, message={0: Raw(head(2, len(right), width=3) + right)}))


def test_a_time_may_have_a_fraction() -> None:
    """CO159: fractions SHOULD NOT be there; notation reads them."""
    protected = cose_header({SIGNING_TIME: Tagged(1, 1.5)})

    assert verify(make_cose(CHAIN, protected=protected)).attributes.signing_time == (
        datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    )


def test_the_signing_time_may_be_critical() -> None:
    """CO156 forbids integers 0 to 8 in crit; what is understood may be listed."""
    verify(make_cose(CHAIN, protected=cose_header({2: [SCHEME, SIGNING_TIME]})))


def test_size_is_bounded() -> None:
    """D14."""
    with pytest.raises(TooLargeError):
        parse_cose(b"\xd2" + b"\x00" * (MAX_ENVELOPE_BYTES + 1))
    with pytest.raises(TooLargeError):
        parse_cose(make_cose(CHAIN, message={0: bytes(MAX_PROTECTED_BYTES + 1)}))


NUMBERS = {"ES256": -7, "ES384": -35, "ES512": -36, "PS256": -37, "PS384": -38}


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (rsa_key(2048), "PS256"),
        (rsa_key(3072), "PS384"),
    ],
)
def test_every_algorithm_verifies_with_its_own_key_only(key: Key, alg: str) -> None:
    """A1, K4: the key decides; nothing is negotiable."""
    chain = make_chain(key=key)

    verify(make_cose(chain, protected=cose_header({1: NUMBERS[alg]})))
    for other in NUMBERS.keys() - {alg}:
        raw = make_cose(chain, protected=cose_header({1: NUMBERS[other]}))
        with pytest.raises(MalformedError, match=f"says alg {other}, but"):
            verify(raw)


def test_a_pss_salt_is_as_long_as_the_hash() -> None:
    """K12, RFC 8230 2: go-cose, under notation, takes no other."""
    key = rsa_key(2048)
    chain = make_chain(key=key)
    protected = cose_header({1: -37})
    signed = parse_cose(make_cose(chain, protected=protected)).signing_input
    for salt, right in ((32, True), (0, False), (20, False), (222, False)):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        signature = key.sign(signed, pss, hashes.SHA256())
        raw = make_cose(chain, protected=protected, message={3: signature})
        expected = pytest.raises(MalformedError, match="does not verify")
        with contextlib.nullcontext() if right else expected:
            verify(raw)


SIGNED = make_cose(CHAIN, header={AGENT: "x/1"})


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_flipped_bit_changes_nothing_that_was_signed(at: int, mask: int) -> None:
    """Law 8: accepted implies payload, protected header and leaf are identical."""
    damaged = bytearray(SIGNED)
    damaged[at] ^= mask
    try:
        envelope = parse_cose(bytes(damaged))
        chain = parse_chain(envelope.x5c)
        verify_envelope_signature(envelope, chain)
    except EnforcerError:
        return
    original = parse_cose(SIGNED)
    assert envelope.signing_input == original.signing_input
    assert envelope.payload == original.payload
    assert chain.leaf.public_key() == parse_chain(original.x5c).leaf.public_key()


@given(st.binary(max_size=300))
def test_hostile_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    problem(raw)
    problem(b"\xd2\x84" + raw)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 40)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.binary(max_size=8)
    | st.integers(-(10**12), 10**12).map(lambda seconds: Tagged(1, seconds)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
LABELS = st.sampled_from([*(key for key, _ in cose_header()), EXPIRY, 4, 5, 6, 33])


@given(st.dictionaries(LABELS, VALUES), st.dictionaries(LABELS, VALUES))
def test_hostile_headers_are_malformed_or_read(
    protected: dict[int | str, Node], header: dict[int | str, Node]
) -> None:
    """Law 5, inside a right signature."""
    raw = make_cose(CHAIN, protected=cose_header(protected), header=header)

    with contextlib.suppress(MalformedError):
        parse_cose(raw)
