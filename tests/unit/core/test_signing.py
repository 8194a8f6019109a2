"""Signing: what notation would accept, and errors that say what is wrong with a key."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from enforcer import __version__
from enforcer.core.cbor import parse_cbor
from enforcer.core.codes import Code
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.envelope.jws import parse_jws
from enforcer.core.envelope.payload import parse_payload
from enforcer.core.envelope.untrusted import verify_envelope_signature
from enforcer.core.errors import MalformedError
from enforcer.core.signing import (
    EnvelopeFormat,
    KeyInvalidError,
    Signer,
    generate_test_chain,
    parse_signer,
    sign_cose,
    sign_envelope,
    sign_jws,
    thumbprints,
)
from enforcer.core.x509chain import parse_chain, verify_chain_profile
from tests.differential.tree import Pairs, Tagged, to_cbor
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Key,
    ders,
    issue,
    leaf_template,
    make_chain,
    new_key,
    pems,
    rsa_key,
)

CHAIN = make_chain()
SIGNER = parse_signer(CHAIN[0].key_pem, pems(CHAIN), at=NOW)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def problem(key_pem: bytes, chain_pem: bytes, at: datetime = NOW) -> KeyInvalidError:
    with pytest.raises(KeyInvalidError) as caught:
        parse_signer(key_pem, chain_pem, at=at)
    assert caught.value.code is Code.KEY_INVALID
    return caught.value


def test_the_layout_is_notations() -> None:
    """Facts 5.2: names sorted, times to the second, header in notation's order."""
    raw = sign_jws(
        IMAGE,
        SIGNER,
        at=NOW.replace(microsecond=5),
        expires_at=NOW + timedelta(days=1),
        user_metadata={"b": "2", "a": "1"},
    )

    members = json.loads(raw)
    assert list(members) == ["payload", "protected", "header", "signature"]
    assert list(members["header"]) == ["x5c", f"{NOTARY}signingAgent"]
    assert members["header"][f"{NOTARY}signingAgent"] == f"enforcer/{__version__}"
    assert unpadded(members["protected"]).decode() == (
        '{"alg":"ES256","crit":["io.cncf.notary.signingScheme","io.cncf.notary.expiry"],'
        '"cty":"application/vnd.cncf.notary.payload.v1+json",'
        '"io.cncf.notary.expiry":"2026-06-02T12:00:00Z",'
        '"io.cncf.notary.signingScheme":"notary.x509",'
        '"io.cncf.notary.signingTime":"2026-06-01T12:00:00Z"}'
    )
    assert unpadded(members["payload"]).decode() == (
        '{"targetArtifact":{"annotations":{"a":"1","b":"2"},'
        f'"digest":"{IMAGE.digest}","mediaType":"{IMAGE.media_type}",'
        f'"size":{IMAGE.size}}}}}'
    )


@pytest.mark.parametrize(
    "key",
    [
        new_key(),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa_key(2048),
        rsa_key(3072),
        rsa_key(4096),
    ],
)
def test_every_kind_of_key_signs_what_verifies(key: Key) -> None:
    """A1: six algorithms; the salt is the hash's length, as RFC 7518 wants."""
    chain = make_chain(key=key)
    signer = parse_signer(chain[0].key_pem, pems(chain), at=NOW)

    for format_ in EnvelopeFormat:
        raw = sign_envelope(format_, IMAGE, signer, at=NOW)

        envelope = parse_envelope(format_, raw)
        verify_envelope_signature(envelope, parse_chain(envelope.x5c))
        assert envelope.attributes.algorithm is signer.algorithm
        assert parse_payload(envelope.payload).target == IMAGE


def test_a_cose_envelope_is_laid_out_as_notations() -> None:
    """K13, facts 5.2: core deterministic order, scheme before expiry in crit."""
    raw = sign_cose(
        IMAGE,
        SIGNER,
        at=NOW.replace(microsecond=5),
        expires_at=NOW + timedelta(days=1),
        user_metadata={"b": "2", "a": "1"},
    )

    assert raw[:2] == b"\xd2\x84"
    message = parse_cbor(raw[1:], what="it", max_bytes=len(raw))
    assert isinstance(message, list)
    protected, header, payload, signature = message
    assert protected == to_cbor(
        Pairs(
            [
                (1, -7),
                (2, [f"{NOTARY}signingScheme", f"{NOTARY}expiry"]),
                (3, "application/vnd.cncf.notary.payload.v1+json"),
                (f"{NOTARY}expiry", Tagged(1, 1780401600)),
                (f"{NOTARY}signingTime", Tagged(1, 1780315200)),
                (f"{NOTARY}signingScheme", "notary.x509"),
            ]
        )
    )
    assert isinstance(header, dict)
    assert header == {
        33: list(ders(CHAIN)),
        f"{NOTARY}signingAgent": f"enforcer/{__version__}",
    }
    assert isinstance(payload, bytes)
    assert parse_payload(payload).target == IMAGE
    assert isinstance(signature, bytes)
    assert len(signature) == 64


@pytest.mark.parametrize("format_", EnvelopeFormat)
def test_a_timestamp_is_asked_for_last_and_put_where_it_belongs(
    format_: EnvelopeFormat,
) -> None:
    """JW176, CO186: the token is about the primitive signature, and unprotected."""
    asked: list[bytes] = []

    def timestamp(signature: bytes) -> bytes:
        asked.append(signature)
        return b"a token"

    raw = sign_envelope(format_, IMAGE, SIGNER, at=NOW, timestamp=timestamp)

    envelope = parse_envelope(format_, raw)
    assert envelope.timestamp_token == b"a token"
    assert asked == [envelope.signature]
    verify_envelope_signature(envelope, parse_chain(envelope.x5c))


@pytest.mark.parametrize("format_", EnvelopeFormat)
def test_what_cannot_be_timestamped_is_not_handed_out(format_: EnvelopeFormat) -> None:
    """The authority's error is the caller's to show; a bad key never reaches it."""

    def refuse(signature: bytes) -> bytes:
        raise MalformedError("no answer", remedy="Try again.")

    mixed = Signer(new_key(), SIGNER.chain, SIGNER.algorithm)

    with pytest.raises(MalformedError, match="no answer"):
        sign_envelope(format_, IMAGE, SIGNER, at=NOW, timestamp=refuse)
    with pytest.raises(KeyInvalidError, match="what was just signed does not verify"):
        sign_envelope(format_, IMAGE, mixed, at=NOW, timestamp=refuse)


def test_a_traditional_pem_key_is_read_too() -> None:
    """What `openssl ecparam -genkey` writes."""
    pem = CHAIN[0].key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )

    assert parse_signer(pem, pems(CHAIN), at=NOW).chain.der == ders(CHAIN)


def test_a_key_that_cannot_be_used_says_what_was_expected() -> None:
    """The operator sees what was found, and what the specification asks for."""
    encrypted = CHAIN[0].key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for pem, said in (
        (b"", "the private key cannot be read"),
        (b"x" * 70000, "the private key file has 70000 bytes"),
        (encrypted, "the private key cannot be read: Password was not given"),
        (edwards, "the private key is a Ed25519 one"),
        (pems(CHAIN), "the private key cannot be read"),
    ):
        error = problem(pem, pems(CHAIN))
        assert error.what.startswith(said)
        assert error.remedy == (
            "Expected unencrypted PEM (PKCS #8): RSA with 2048, 3072 or 4096 bits, "
            "or ECDSA on P-256, P-384 or P-521."
        )


def test_a_chain_that_cannot_be_used_names_the_rule() -> None:
    """The same rules as at verification, before anything is signed."""
    key = CHAIN[0].key_pem
    bad = make_chain(replace(leaf_template(), usages=None))
    rsa1024 = make_chain(key=rsa_key(1024))

    assert "lacks a critical keyUsage" in problem(bad[0].key_pem, pems(bad)).what
    assert "must end in its root" in problem(key, pems(CHAIN[:-1])).what
    assert "#1" in problem(key, pems(CHAIN[::-1])).what
    assert "RSA with 1024 bits" in problem(rsa1024[0].key_pem, pems(rsa1024)).what
    assert "whole PEM certificates" in problem(key, b"").what
    assert "more than 32" in problem(key, CHAIN[0].pem * 33).what
    assert "1100000 bytes" in problem(key, b"x" * 1_100_000).what


def test_the_key_must_be_the_leafs() -> None:
    """Otherwise nobody could verify what it signs."""
    stranger = issue(leaf_template())

    assert problem(stranger.key_pem, pems(CHAIN)).what == (
        "the private key is not that of the chain's first certificate"
    )


def test_all_certificates_must_be_valid_when_signing() -> None:
    """X14."""
    error = problem(CHAIN[0].key_pem, pems(CHAIN), NOW + timedelta(days=400))

    assert error.what.startswith("certificate #1")
    assert "expired at" in error.what


@pytest.mark.parametrize("name", ["io.cncf.notary", "io.cncf.notary.x", ""])
def test_reserved_metadata_names_are_refused(name: str) -> None:
    """P5: "MUST NOT use keys with prefix io.cncf.notary"."""
    with pytest.raises(MalformedError, match="user metadata must not be named"):
        sign_jws(IMAGE, SIGNER, at=NOW, user_metadata={name: "x"})


def test_an_expiry_is_after_the_signing_time() -> None:
    """J11: to the second, because that is what is written."""
    for expires in (NOW, NOW + timedelta(microseconds=5), NOW - timedelta(days=1)):
        with pytest.raises(MalformedError, match="which is not after its signing time"):
            sign_jws(IMAGE, SIGNER, at=NOW, expires_at=expires)


def test_what_does_not_verify_is_not_handed_out() -> None:
    """A broken key store must not fill a registry with useless signatures."""
    mixed = Signer(new_key(), SIGNER.chain, SIGNER.algorithm)

    with pytest.raises(KeyInvalidError, match="what was just signed does not verify"):
        sign_jws(IMAGE, mixed, at=NOW)


def test_a_private_key_is_not_shown() -> None:
    """A signer may end up in a traceback."""
    assert "PrivateKey" not in repr(SIGNER)


def test_thumbprints_are_of_der_in_lower_case() -> None:
    """D10: as notation writes them."""
    expected = [sha256(der).hexdigest() for der in ders(CHAIN)]

    assert list(thumbprints(SIGNER.chain)) == expected


def test_a_test_chain_signs() -> None:
    """From nothing to a signature in two calls."""
    at = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
    key_pem, chain_pem, root_pem = generate_test_chain("acme.example", at=at)

    signer = parse_signer(key_pem, chain_pem, at=at)

    verify_chain_profile(signer.chain)
    leaf, root = signer.chain.certificates
    assert leaf.subject.rfc4514_string() == (
        "CN=acme.example,O=enforcer test,ST=WA,C=US"
    )
    assert root.public_bytes(serialization.Encoding.PEM) == root_pem
    assert leaf.not_valid_after_utc == at.replace(microsecond=0) + timedelta(days=365)
    parse_jws(sign_jws(IMAGE, signer, at=at))


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_a_name_no_certificate_can_have_is_refused(name: str) -> None:
    """X.520 has a limit, and names are shown to people."""
    with pytest.raises(MalformedError, match="cannot be a certificate's common name"):
        generate_test_chain(name, at=NOW)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=10),
        st.text(st.characters(codec="utf-8"), max_size=20),
        max_size=4,
    ).filter(lambda d: not any(k.startswith(NOTARY[:-1]) for k in d))
)
def test_any_metadata_survives_signing(metadata: dict[str, str]) -> None:
    """What is asked for is what is signed, to the letter."""
    for format_ in EnvelopeFormat:
        raw = sign_envelope(format_, IMAGE, SIGNER, at=NOW, user_metadata=metadata)

        payload = parse_payload(parse_envelope(format_, raw).payload)
        assert dict(payload.annotations) == metadata


@given(st.binary(max_size=200))
def test_hostile_files_are_an_invalid_key_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    problem(raw, pems(CHAIN))
    problem(CHAIN[0].key_pem, raw)


def test_metadata_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate would be something else in Go."""
    with pytest.raises(MalformedError, match="not Unicode"):
        sign_jws(IMAGE, SIGNER, at=NOW, user_metadata={"a": "\ud800"})
