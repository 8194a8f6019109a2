"""Signatures and keys at the edges: what is accepted, and nothing beside it.

The cases are those that Project Wycheproof taught everybody to try, made here. What
each answer is was asked of notation 1.3.2 (tests/real/test_differential.py).
"""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from enforcer.core.certificate import parse_certificate
from enforcer.core.envelope.cose import parse_cose
from enforcer.core.envelope.jws import parse_jws
from enforcer.core.envelope.untrusted import (
    EnvelopeFormat,
    UntrustedEnvelope,
    verify_envelope_signature,
)
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.x509chain import (
    ChainError,
    parse_chain,
    signature_algorithm,
    verify_chain_profile,
)
from tests.differential.certificates import Element, read, resigned
from tests.differential.envelopes import EC_WAYS, RSA_WAYS, odd_signature
from tests.pki import (
    Key,
    base64url,
    cose_header,
    ders,
    issue,
    leaf_template,
    make_chain,
    make_cose,
    make_envelope,
    protected_header,
    rsa_key,
    sign,
)

NUMBERS = {"ES256": -7, "ES384": -35, "ES512": -36, "PS256": -37}
KEYS: dict[str, Key] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "PS256": rsa_key(2048),
}
CHAINS = {alg: make_chain(intermediates=0, key=key) for alg, key in KEYS.items()}


def signed_oddly(
    format_: EnvelopeFormat, alg: str, how: str | None
) -> UntrustedEnvelope:
    """A right envelope, but signed `how`."""
    chain, key = CHAINS[alg], KEYS[alg]

    def signature(envelope: UntrustedEnvelope) -> bytes:
        message = envelope.signing_input
        return sign(key, message) if how is None else odd_signature(key, message, how)

    if format_ is EnvelopeFormat.JWS:
        protected = protected_header(alg=alg)
        right = parse_jws(make_envelope(chain, protected=protected))
        top = {"signature": base64url(signature(right))}
        return parse_jws(make_envelope(chain, protected=protected, top=dict(top)))
    header = cose_header({1: NUMBERS[alg]})
    right = parse_cose(make_cose(chain, protected=header))
    return parse_cose(make_cose(chain, protected=header, message={3: signature(right)}))


def verifies(envelope: UntrustedEnvelope) -> bool:
    try:
        verify_envelope_signature(envelope, parse_chain(envelope.x5c))
    except MalformedError as error:
        return error.what != "the signature does not verify with the leaf's key"
    return True


@pytest.mark.parametrize("format_", EnvelopeFormat)
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("how", EC_WAYS)
def test_an_odd_ecdsa_signature_is_refused(
    format_: EnvelopeFormat, alg: str, how: str
) -> None:
    """J15, K12: R || S, each in 1 to order-1, of the curve's length, of its hash.

    s and order-s both verify, as ECDSA says and notation does: an envelope is known by
    its digest, and nothing here counts signatures by value.
    """
    assert verifies(signed_oddly(format_, alg, None))
    assert verifies(signed_oddly(format_, alg, how)) is (how == "negated s")


@pytest.mark.parametrize("format_", EnvelopeFormat)
@pytest.mark.parametrize("how", RSA_WAYS)
def test_an_odd_rsa_signature_is_refused(format_: EnvelopeFormat, how: str) -> None:
    """RFC 8017 8.1.2: as long as the modulus, below it, of one hash and padding.

    The salt may have any length in JWS (facts 2.4), in COSE only the hash's (K12).
    """
    any_salt = how.startswith("salt") and format_ is EnvelopeFormat.JWS

    assert verifies(signed_oddly(format_, "PS256", None))
    assert verifies(signed_oddly(format_, "PS256", how)) is any_salt


def test_one_keys_signature_is_not_anothers() -> None:
    """The same curve or size, the same message, another key."""
    for alg, key in (("ES256", ec.generate_private_key(ec.SECP256R1())),):
        right = signed_oddly(EnvelopeFormat.JWS, alg, None)
        top = {"signature": base64url(sign(key, right.signing_input))}
        assert not verifies(parse_jws(make_envelope(CHAINS[alg], top=dict(top))))


def with_key(spki: Element) -> tuple[bytes, ...]:
    """A chain whose leaf has this public key, signed by its issuer as usual."""
    leaf, issuer = make_chain(intermediates=0)

    def change(parts: list[Element]) -> None:
        parts[6] = spki

    return resigned(leaf, issuer, change), issuer.der


def rsa_spki(modulus: int, exponent: int) -> Element:
    numbers = [_integer(modulus), _integer(exponent)]
    inner = Element(0x30, b"", numbers).encode()
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return Element(0x30, b"", [*read(algorithm), Element(0x03, b"\0" + inner)])


def ec_spki(point: bytes) -> Element:
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    return Element(0x30, b"", [*read(algorithm), Element(0x03, b"\0" + point)])


def _integer(number: int) -> Element:
    length = number.bit_length() // 8 + 1
    return Element(0x02, number.to_bytes(length, "big", signed=True))


def public_point() -> bytes:
    numbers = CHAINS["ES256"][0].key.public_key().public_numbers()
    assert isinstance(numbers, ec.EllipticCurvePublicNumbers)
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


N = rsa_key(2048).public_key().public_numbers().n


def test_a_key_put_into_a_certificate_by_hand_is_read() -> None:
    """So that what follows fails for the key, and not for how it got there."""
    for spki in (rsa_spki(N, 65537), ec_spki(public_point())):
        verify_chain_profile(parse_chain(with_key(spki)))


@pytest.mark.parametrize(
    ("spki", "why"),
    [
        (rsa_spki(N, 1), "every message is its own signature"),
        (rsa_spki(N, 2), "even"),
        (rsa_spki(N, 65536), "even"),
        (rsa_spki(N, 0), "zero"),
        (rsa_spki(N, -3), "negative"),
        (rsa_spki(N, 2**31 + 1), "larger than Go reads"),
        (rsa_spki(N, 2**64 + 1), "larger than anybody needs"),
        (rsa_spki(N + 1, 65537), "an even modulus"),
        (rsa_spki(-N, 65537), "a negative modulus"),
        (rsa_spki(0, 65537), "no modulus"),
        (rsa_spki(1, 65537), "no modulus"),
        (rsa_spki(2**2047, 65537), "a power of two"),
        (rsa_spki(N >> 1025 | 1, 65537), "1023 bits"),
        (ec_spki(b"\x00"), "the point at infinity"),
        (ec_spki(b"\x00" * 65), "the point at infinity, written out"),
        (ec_spki(b"\x04" + b"\x00" * 64), "the origin, which is on no such curve"),
        (ec_spki(public_point()[:-1] + b"\x00"), "a point off the curve"),
        (ec_spki(public_point()[:-1]), "too short"),
        (ec_spki(public_point() + b"\x00"), "too long"),
        (ec_spki(b"\x06" + public_point()[1:]), "hybrid form"),
        (ec_spki(b"\x04" + b"\xff" * 64), "coordinates above the field's prime"),
        (ec_spki(b""), "nothing"),
    ],
)
def test_a_key_nobody_should_sign_with_is_refused(spki: Element, why: str) -> None:
    """Each would let somebody forge, or is read by one of two readers only."""
    with pytest.raises(ChainError):
        verify_chain_profile(parse_chain(with_key(spki)))


def test_a_leading_zero_in_a_modulus_is_refused() -> None:
    """X.690 8.3.2: one integer, one encoding; and so one key, one certificate."""
    spki = rsa_spki(N, 65537)
    assert spki.parts is not None
    inner = read(spki.parts[1].content[1:])[0]
    assert inner.parts is not None
    inner.parts[0] = Element(0x02, b"\0" + inner.parts[0].content)
    spki.parts[1] = Element(0x03, b"\0" + inner.encode())

    with pytest.raises(ChainError):
        parse_chain(with_key(spki))


@pytest.mark.parametrize(
    ("bits", "alg"),
    [
        (2040, None),
        (2041, "PS256"),
        (2048, "PS256"),
        (2049, None),
        (3064, None),
        (3065, "PS384"),
        (3072, "PS384"),
        (3073, None),
        (4088, None),
        (4089, "PS512"),
        (4096, "PS512"),
        (4097, None),
        (8192, None),
    ],
)
def test_the_modulus_has_one_of_three_lengths_in_bytes(
    bits: int, alg: str | None
) -> None:
    """A2, facts 2.4: whole bytes count, and not one more or less."""
    numbers = rsa.RSAPublicNumbers(65537, (1 << bits - 1) + 1)
    if alg:
        assert signature_algorithm(numbers.public_key()) == alg
    else:
        with pytest.raises(ChainError, match=f"RSA with {bits} bits"):
            signature_algorithm(numbers.public_key())


def test_an_rsa_certificate_signature_is_as_long_as_the_key() -> None:
    """Law 9: OpenSSL takes a PSS signature without its leading zero, Go does not."""
    root = issue(leaf_template(), key=rsa_key(2048))
    whole = read(root.der)[0]
    assert whole.parts is not None
    tbs, algorithm, _ = whole.parts
    chopped = odd_signature(root.key, tbs.encode(), "chopped zero")
    # RSASSA-PSS with SHA-256 throughout and a salt of 32
    pss = read(
        bytes.fromhex(
            "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
            "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
        )
    )[0]
    assert tbs.parts is not None
    tbs.parts[2] = pss
    for how, right in (("salt 32", True), ("chopped zero", False)):
        signature = b"\0" + odd_signature(root.key, tbs.encode(), how)
        parts = [tbs, pss, Element(0x03, signature)]
        chain = parse_chain([Element(0x30, b"", parts).encode()])
        if right:
            verify_chain_profile(chain)
        else:
            with pytest.raises(ChainError, match="not as long as the key's modulus"):
                verify_chain_profile(chain)
    assert len(chopped) == 255
    assert algorithm != pss


def test_hostile_signatures_are_refused_and_nothing_else() -> None:
    """Law 5: lengths and contents nobody chose."""
    for format_ in EnvelopeFormat:
        for alg in KEYS:
            for raw in (b"\0", b"\xff" * 63, b"\xff" * 64, b"\0" * 256, b"\xff" * 256):
                with pytest.raises(EnforcerError):
                    _verify_with(format_, alg, raw)


def _verify_with(format_: EnvelopeFormat, alg: str, signature: bytes) -> None:
    if format_ is EnvelopeFormat.JWS:
        envelope = parse_jws(
            make_envelope(
                CHAINS[alg],
                protected=protected_header(alg=alg),
                top={"signature": base64url(signature)},
            )
        )
    else:
        header = cose_header({1: NUMBERS[alg]})
        envelope = parse_cose(
            make_cose(CHAINS[alg], protected=header, message={3: signature})
        )
    verify_envelope_signature(envelope, parse_chain(envelope.x5c))


def test_a_certificate_is_one_signature_and_no_more() -> None:
    """The chains above are right, so that each refusal is for what it says."""
    for chain in CHAINS.values():
        verify_chain_profile(parse_chain(ders(chain)))
        parse_certificate(chain[0].der, what="it")
