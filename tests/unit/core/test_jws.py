"""JWS envelopes: one strict reading, and what is signed is what is judged."""

import base64
import contextlib
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import SigningScheme
from enforcer.core.envelope.formats import untrusted_chain
from enforcer.core.envelope.jws import parse_jws
from enforcer.core.envelope.payload import parse_payload
from enforcer.core.envelope.untrusted import (
    UntrustedEnvelope,
    verify_envelope_signature,
)
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, MAX_ENVELOPE_BYTES
from enforcer.core.strictjson import Json
from enforcer.core.x509chain import parse_chain
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Key,
    base64url,
    ders,
    issue,
    leaf_template,
    make_chain,
    make_envelope,
    payload_for,
    protected_header,
    rsa_key,
)

CHAIN = make_chain(intermediates=0)
EXPIRY = f"{NOTARY}expiry"
SCHEME = f"{NOTARY}signingScheme"
SIGNING_TIME = f"{NOTARY}signingTime"
AUTHENTIC_TIME = f"{NOTARY}authenticSigningTime"
AUTHORITY = "notary.x509.signingAuthority"


def header(**changes: Json) -> dict[str, Json]:
    return protected_header(**changes)


def problem(raw: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        parse_jws(raw)
    assert caught.value.code is Code.SIGNATURE_INVALID
    return caught.value.what


def protected_problem(**changes: Json) -> str:
    return problem(make_envelope(CHAIN, protected=header(**changes)))


def verify(raw: bytes) -> UntrustedEnvelope:
    envelope = parse_jws(raw)
    verify_envelope_signature(envelope, parse_chain(envelope.x5c))
    return envelope


def test_an_envelope_is_read_whole() -> None:
    """The story, once."""
    changes: dict[str, Json] = {
        "crit": [SCHEME, EXPIRY, "com.example.must"],
        EXPIRY: "2026-06-02T12:00:00Z",
        "com.example.must": 1,
        "kid": "x",
    }
    raw = make_envelope(
        CHAIN,
        protected=header(**changes),
        header={f"{NOTARY}signingAgent": "x/1", f"{NOTARY}timestampSignature": "AAEC"},
    )

    envelope = verify(raw)

    attributes = envelope.attributes
    assert attributes.algorithm == "ES256"
    assert attributes.scheme is SigningScheme.X509
    assert attributes.signing_time == NOW.replace(hour=11)
    assert attributes.authentic_signing_time is None
    assert attributes.expiry == NOW.replace(day=2)
    assert [(a.name, a.value, a.critical) for a in attributes.extended] == [
        ("com.example.must", 1, True),
        ("kid", "x", False),
    ]
    assert envelope.x5c == ders(CHAIN)
    assert envelope.timestamp_token == b"\x00\x01\x02"
    assert envelope.signing_agent == "x/1"
    assert parse_payload(envelope.payload).target == IMAGE


def test_a_signing_authoritys_time_is_read() -> None:
    """J10."""
    changes: dict[str, Json] = {
        "crit": [SCHEME, AUTHENTIC_TIME],
        SCHEME: AUTHORITY,
        SIGNING_TIME: None,
        AUTHENTIC_TIME: "2026-06-01T11:00:00Z",
    }
    attributes = parse_jws(make_envelope(CHAIN, protected=header(**changes))).attributes

    assert attributes.scheme is SigningScheme.SIGNING_AUTHORITY
    assert attributes.signing_time is None
    assert attributes.authentic_signing_time == NOW.replace(hour=11)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"alg": None}, "alg is"),
        ({"alg": "none"}, 'alg is "none", expected one of PS256'),
        ({"alg": "HS256"}, 'alg is "HS256"'),
        ({"alg": "RS256"}, 'alg is "RS256"'),
        ({"alg": ["ES256"]}, "alg is"),
        ({"cty": None}, "the content type is not"),
        ({"cty": "application/json"}, "the content type is not"),
        ({"crit": None}, "crit is missing or empty"),
        ({"crit": []}, "crit is missing or empty"),
        ({"crit": SCHEME}, "crit is missing or empty"),
        ({"crit": [SCHEME, SCHEME]}, "crit names something twice"),
        ({"crit": [SCHEME, True]}, "crit names something twice, or lists"),
        ({"crit": [SCHEME, 5]}, 'crit must not name "5"'),
        ({"crit": ["x"], "x": 1}, "signingScheme is there, but not in crit"),
        ({"crit": [SCHEME, "alg"]}, 'crit must not name "alg"'),
        ({"crit": [SCHEME, "x5c"], "x5c": []}, 'crit must not name "x5c"'),
        ({"crit": [SCHEME, SIGNING_TIME]}, "crit must not name"),
        ({"crit": [SCHEME, "absent"]}, 'crit must not name "absent"'),
        ({"crit": [SCHEME, EXPIRY]}, "crit must not name"),
        ({SCHEME: None, "crit": ["x"], "x": 1}, "signingScheme is"),
        ({SCHEME: "notary.x509.other"}, "signingScheme is"),
        ({SIGNING_TIME: None}, "signingTime is missing"),
        ({SIGNING_TIME: 1780000000}, "signingTime is not text"),
        ({SIGNING_TIME: "yesterday"}, "is not a date and time"),
        ({SIGNING_TIME: "0001-01-01T00:00:00Z"}, "signingTime is not set"),
        ({AUTHENTIC_TIME: "2026-06-01T11:00:00Z"}, "there, but not in crit"),
        (
            {AUTHENTIC_TIME: "2026-06-01T11:00:00Z", "crit": [SCHEME, AUTHENTIC_TIME]},
            "authenticSigningTime is not allowed in scheme notary.x509",
        ),
        ({SCHEME: AUTHORITY}, "signingTime is not allowed in scheme notary.x509.si"),
        (
            {SCHEME: AUTHORITY, SIGNING_TIME: None},
            "authenticSigningTime is missing",
        ),
        ({EXPIRY: "2026-06-02T12:00:00Z"}, "expiry is there, but not in crit"),
        (
            {EXPIRY: "2026-06-01T11:00:00Z", "crit": [SCHEME, EXPIRY]},
            "the signature expires before it was made",
        ),
        (
            {EXPIRY: "0001-01-01T00:00:00Z", "crit": [SCHEME, EXPIRY]},
            "expiry is not set",
        ),
        ({"ALG": "ES256"}, "a look-alike of alg"),
        ({"Cty": "x"}, "a look-alike of cty"),
    ],
)
def test_a_protected_header_that_breaks_a_rule_is_refused(
    changes: dict[str, Json], expected: str
) -> None:
    """J3-J11, facts 2.1.9: correctly signed, and still not a Notary signature."""
    assert expected in protected_problem(**changes)


def test_an_unknown_header_is_kept_even_if_it_looks_like_a_known_one() -> None:
    """RFC 7515 4: names are case-sensitive (facts 2.3)."""
    changes: dict[str, Json] = {EXPIRY.upper(): "2026-01-01T00:00:00Z"}
    attributes = parse_jws(make_envelope(CHAIN, protected=header(**changes))).attributes

    assert attributes.expiry is None
    assert [a.name for a in attributes.extended] == [EXPIRY.upper()]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({"payload": None}, "the envelope's members are not exactly"),
        ({"header": None}, "the envelope's members are not exactly"),
        ({"extra": 1}, "the envelope's members are not exactly"),
        ({"Payload": "e30"}, 'differs from "payload" only by case'),
        ({"payload": 5}, "something else where text is expected"),
        ({"payload": "e30="}, "text that is not base64url"),
        ({"payload": "e30\n"}, "text that is not base64url"),
        ({"payload": "e"}, "text that is not base64url"),
        ({"payload": "e31"}, "base64url with stray bits"),
        ({"payload": "ä"}, "text that is not base64url"),
        ({"payload": ""}, "text that is not base64url"),
        ({"signature": ""}, "text that is not base64url"),
        ({"protected": "bm8"}, "the protected header is not valid JSON"),
        ({"protected": "W10"}, "the protected header is not a JSON object"),
        ({"header": []}, "the header is not a JSON object"),
    ],
)
def test_an_envelope_of_another_shape_is_refused(
    top: dict[str, Json], expected: str
) -> None:
    """J1, J2, facts 2.1.9."""
    assert expected in problem(make_envelope(CHAIN, top=top))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"x5c": None}, "x5c does not list 1 to 32 certificates"),
        ({"x5c": []}, "x5c does not list 1 to 32 certificates"),
        ({"x5c": ["AAAA"] * 33}, "x5c does not list 1 to 32 certificates"),
        ({"x5c": "AAAA"}, "x5c does not list 1 to 32 certificates"),
        ({"x5c": [5]}, "something else where text is expected"),
        ({"x5c": ["__8="]}, "text that is not base64"),
        ({"x5c": ["AAA"]}, "text that is not base64"),
        ({"x5c": ["AA\n=="]}, "text that is not base64"),
        ({"x5c": ["AB=="]}, "base64 with stray bits"),
        ({"x5c": ["ä"]}, "text that is not base64"),
        ({"X5C": ["AAAA"]}, 'differs from "x5c" only by case'),
        ({"alg": "ES256"}, "a header is both protected and unprotected"),
        ({f"{NOTARY}signingAgent": 5}, "something else where text is expected"),
        ({f"{NOTARY}timestampSignature": 5}, "something else where text is expected"),
        ({f"{NOTARY}timestampSignature": "?"}, "text that is not base64"),
    ],
)
def test_an_unprotected_header_of_another_shape_is_refused(
    changes: dict[str, Json], expected: str
) -> None:
    """J12-J14: unsigned does not mean unread."""
    assert expected in problem(make_envelope(CHAIN, header=changes))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"payload":"e30","payload":"e30"}',
        make_envelope(CHAIN) + b"x",
        b"a.b.c",
        b'{"payload":"e30","signatures":[]}',
    ],
)
def test_other_serializations_are_refused(raw: bytes) -> None:
    """JW239: only the flattened one."""
    problem(raw)
    assert untrusted_chain(JWS_MEDIA_TYPE, raw) == ()


def test_duplicate_names_in_the_protected_header_are_refused() -> None:
    """Facts 2.1.9: Go takes the last `alg`, others the first."""
    raw = json.dumps(header())[:-1].encode() + b',"alg":"ES256"}'

    assert 'duplicate name "alg"' in problem(make_envelope(CHAIN, protected=raw))


def test_a_time_with_escapes_is_refused() -> None:
    """Found against notation: Go reads a time's JSON as written, and fails."""
    plain = json.dumps(header()).encode()
    escaped = plain.replace(b'"2026-', b'"\\u00326-').replace(b"u00326-", b"u0032026-")
    assert json.loads(escaped) == header()

    problem_ = problem(make_envelope(CHAIN, protected=escaped))

    assert problem_ == f"{SIGNING_TIME} is written with escapes"
    verify(make_envelope(CHAIN, protected=plain.replace(b'"cty"', b'"\\u0063ty"')))


def test_size_is_bounded() -> None:
    """D14."""
    with pytest.raises(TooLargeError):
        parse_jws(b" " * (MAX_ENVELOPE_BYTES + 1))


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
    """A1, J3: the key decides; nothing is negotiable."""
    chain = make_chain(key=key)
    others = {"PS256", "PS384", "PS512", "ES256", "ES384", "ES512"} - {alg}

    verify(make_envelope(chain, protected=header(alg=alg)))
    for other in others:
        with pytest.raises(MalformedError, match=f"says alg {other}, but"):
            verify(make_envelope(chain, protected=header(alg=other)))


def resigned(raw: bytes, signature: bytes) -> bytes:
    members = json.loads(raw)
    return json.dumps(members | {"signature": base64url(signature)}).encode()


def signing_input(raw: bytes) -> bytes:
    return parse_jws(raw).signing_input


def test_an_ecdsa_signature_is_not_der() -> None:
    """J15, RFC 7518 3.4: two forms of one signature would be two digests."""
    raw = make_envelope(CHAIN)
    key = CHAIN[0].key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = key.sign(signing_input(raw), ec.ECDSA(hashes.SHA256()))

    for signature in (der, b"\0" * 64, b"\0" + parse_jws(raw).signature, b"\xff" * 64):
        with pytest.raises(MalformedError, match="does not verify with the leaf's key"):
            verify(resigned(raw, signature))


def test_a_pss_salt_may_have_any_length() -> None:
    """Facts 2.4: golang-jwt, under notation, takes any in JWS; other padding none."""
    key = rsa_key(2048)
    chain = make_chain(key=key)
    raw = make_envelope(chain, protected=header(alg="PS256"))
    mgf = padding.MGF1(hashes.SHA256())

    for salt in (0, 32, 222):
        signature = key.sign(
            signing_input(raw), padding.PSS(mgf, salt), hashes.SHA256()
        )
        verify(resigned(raw, signature))
    wrong = key.sign(signing_input(raw), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(MalformedError, match="does not verify"):
        verify(resigned(raw, wrong))


def test_the_chain_is_a_hint_before_it_is_anything_else() -> None:
    """The cache orders by it; it is never believed."""
    raw = make_envelope(CHAIN)
    stranger = base64.b64encode(issue(leaf_template()).der).decode()
    other = make_envelope(CHAIN, header={"x5c": [stranger]})

    assert untrusted_chain(JWS_MEDIA_TYPE, raw) == ders(CHAIN)
    assert untrusted_chain(JWS_MEDIA_TYPE, other) not in ((), ders(CHAIN))
    assert untrusted_chain("application/other", raw) == ()


SIGNED = make_envelope(CHAIN)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_flipped_bit_changes_nothing_that_was_signed(at: int, mask: int) -> None:
    """Law 8: accepted implies payload, protected header and leaf are identical."""
    damaged = bytearray(SIGNED)
    damaged[at] ^= mask
    try:
        envelope = parse_jws(bytes(damaged))
        chain = parse_chain(envelope.x5c)
        verify_envelope_signature(envelope, chain)
    except EnforcerError:
        return
    original = parse_jws(SIGNED)
    assert envelope.signing_input == original.signing_input
    assert envelope.payload == original.payload
    assert chain.leaf.public_key() == parse_chain(original.x5c).leaf.public_key()


@given(st.binary(max_size=300))
def test_hostile_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    problem(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(header(**{EXPIRY: "x"}))), JSON))
def test_hostile_protected_headers_are_malformed_or_read(
    changes: dict[str, Json],
) -> None:
    """Law 5, inside a right signature."""
    raw = make_envelope(CHAIN, protected=header() | changes)

    with contextlib.suppress(MalformedError):
        parse_jws(raw)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "targetArtifact is not a JSON object"),
        (b'{"TargetArtifact":{}}', "only by case"),
        (b'{"targetArtifact":{},"targetArtifact":{}}', "duplicate name"),
        (b'{"targetArtifact":{}} x', "not valid JSON"),
    ],
)
def test_a_payload_without_a_target_is_malformed(payload: bytes, expected: str) -> None:
    """P2, P7."""
    with pytest.raises(MalformedError, match=expected) as caught:
        parse_payload(payload)
    assert caught.value.code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mediaType", 5),
        ("mediaType", None),
        ("digest", "sha256:abc"),
        ("digest", None),
        ("size", "259"),
        ("size", 259.0),
        ("size", True),
        ("size", -1),
        ("size", None),
        ("annotations", []),
        ("annotations", {"a": 1}),
        ("artifactType", 5),
        ("urls", {}),
        ("platform", []),
        ("MediaType", "x"),
    ],
)
def test_a_malformed_target_is_refused(name: str, value: Json) -> None:
    """P2: a descriptor, of the types Go reads."""
    target = payload_for()["targetArtifact"]
    assert isinstance(target, dict)
    changed = {k: v for k, v in (target | {name: value}).items() if v is not None}

    with pytest.raises(MalformedError):
        parse_payload(json.dumps({"targetArtifact": changed}).encode())


def test_other_members_of_a_payload_are_passed_over() -> None:
    """SS32-38: others may be there; annotations are the user's metadata."""
    payload = payload_for(IMAGE, buildId="42") | {"other": 1}

    found = parse_payload(json.dumps(payload).encode())

    assert found.target == IMAGE
    assert dict(found.annotations) == {"buildId": "42"}


@given(st.binary(max_size=200))
def test_hostile_payloads_are_malformed_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    with pytest.raises(MalformedError):
        parse_payload(raw)
