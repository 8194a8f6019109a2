"""The signing chain profile: one wrong thing at a time, and who is to blame."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.certificate import parse_certificate
from enforcer.core.x509chain import (
    MAX_CHAIN,
    Chain,
    ChainError,
    SignatureAlgorithm,
    has_expired,
    has_revocation_pointers,
    not_valid_at,
    parse_chain,
    signature_algorithm,
    verify_chain_profile,
)
from tests.pki import (
    NOW,
    Party,
    Template,
    ca_template,
    ders,
    issue,
    leaf_template,
    make_chain,
    new_key,
    rsa_key,
)

HTTP = x509.UniformResourceIdentifier("http://ca.example/x")
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING


def check(*parties: Party) -> None:
    verify_chain_profile(parse_chain(ders(parties)))


def leaf_problem(template: Template) -> str:
    with pytest.raises(ChainError) as caught:
        check(*make_chain(template))
    return caught.value.what


def ca_problem(template: Template) -> str:
    root = issue(template)
    with pytest.raises(ChainError) as caught:
        check(issue(leaf_template(), root), root)
    return caught.value.what


@pytest.mark.parametrize("intermediates", [0, 1, 10])
def test_a_chain_of_any_usual_depth_is_one_to_sign_with(intermediates: int) -> None:
    """X16: the specification has no limit, and ten intermediates occur."""
    check(*make_chain(intermediates=intermediates))


def test_a_single_self_signed_certificate_meets_the_leafs_rules() -> None:
    """X3: that is what `notation cert generate-test` makes."""
    check(issue(leaf_template()))


def test_a_single_ca_certificate_is_no_signing_certificate() -> None:
    """X3: a root that signs images itself would have to be a leaf."""
    with pytest.raises(ChainError, match="#1, the leaf, is a CA certificate"):
        check(issue(ca_template()))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (replace(leaf_template(), usages=None), "lacks a critical keyUsage"),
        (replace(leaf_template(), usages_critical=False), "lacks a critical keyUsage"),
        (replace(leaf_template(), usages=("content_commitment",)), "digitalSignature"),
        (replace(leaf_template(), ca=True), "is a CA certificate"),
    ],
)
def test_a_leaf_must_be_made_for_signing(template: Template, expected: str) -> None:
    """X8, X9: a key with another duty could be tricked into signing."""
    assert expected in leaf_problem(template)


@pytest.mark.parametrize(
    "usage",
    [
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    ],
)
def test_a_leaf_must_not_have_another_key_usage(usage: str) -> None:
    """SS325-329, one by one."""
    template = replace(leaf_template(), usages=("digital_signature", usage))

    assert f"has the key usage {usage}" in leaf_problem(template)


def test_a_leaf_may_also_be_for_non_repudiation() -> None:
    """X9: the one other bit that is not forbidden."""
    usages = ("digital_signature", "content_commitment")

    check(*make_chain(replace(leaf_template(), usages=usages)))


@pytest.mark.parametrize(
    ("purpose", "shown"),
    [
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, "anyExtendedKeyUsage"),
        (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"),
        (ExtendedKeyUsageOID.EMAIL_PROTECTION, "emailProtection"),
        (ExtendedKeyUsageOID.TIME_STAMPING, "timeStamping"),
        (ExtendedKeyUsageOID.OCSP_SIGNING, "OCSPSigning"),
    ],
)
def test_a_leaf_must_not_serve_another_purpose(
    purpose: x509.ObjectIdentifier, shown: str
) -> None:
    """SS330-331: MUST NOT, `any` included."""
    template = replace(leaf_template(), purposes=(CODE_SIGNING, purpose))

    assert shown in leaf_problem(template)


@pytest.mark.parametrize(
    "purposes", [(), (CODE_SIGNING,), (x509.ObjectIdentifier("1.2.3.4.5"),)]
)
def test_a_leafs_other_purposes_are_its_own_business(
    purposes: tuple[x509.ObjectIdentifier, ...],
) -> None:
    """X10: extended key usage is optional, unknown ones are allowed."""
    check(*make_chain(replace(leaf_template(), purposes=purposes)))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (replace(ca_template(), ca=None), "#2 is not a CA certificate"),
        (replace(ca_template(), ca=False), "#2 is not a CA certificate"),
        (replace(ca_template(), usages=None), "#2 lacks a critical keyUsage"),
        (replace(ca_template(), usages=("crl_sign",)), "keyCertSign"),
        (replace(ca_template(), usages_critical=False), "#2 lacks a critical"),
    ],
)
def test_an_issuer_must_be_a_ca(template: Template, expected: str) -> None:
    """X5, X7: without it any leaf could issue another (CVE-2002-0862's kin)."""
    assert expected in ca_problem(template)


def test_a_cas_constraints_need_not_be_critical() -> None:
    """Many private CAs are like that: taken, for compatibility."""
    root = issue(replace(ca_template(), ca_critical=False))

    check(issue(leaf_template(), root), root)


def test_a_path_length_counts_the_cas_below() -> None:
    """X6: a CA that may have no CA below it has none."""
    root = issue(replace(ca_template(), path_length=0))
    middle = issue(ca_template("C=US,ST=WA,O=acme,CN=middle"), root)

    check(issue(leaf_template(), root), root)
    with pytest.raises(ChainError, match="#3 allows 0 CA certificates below it, but"):
        check(issue(leaf_template(), middle), middle, root)


def test_the_order_is_leaf_to_root() -> None:
    """X1: a reader that sorts for itself can be led astray."""
    leaf, middle, root = make_chain()

    for order in ([leaf, root, middle], [root, middle, leaf], [leaf, middle]):
        with pytest.raises(ChainError):
            check(*order)


def test_the_chain_ends_in_its_root() -> None:
    """SS339: complete, the root included; the text names the issuer that is missing."""
    leaf, middle, _ = make_chain()

    with pytest.raises(ChainError, match=r"certificate #2, the last of the chain,"):
        check(leaf, middle)


def test_nothing_else_may_be_in_the_chain() -> None:
    """X2: neither a root twice nor a stranger."""
    leaf, middle, root = make_chain()
    stranger = issue(ca_template("C=US,ST=WA,O=other,CN=root"))

    with pytest.raises(ChainError, match="#3 is self-signed, but is not the last"):
        check(leaf, middle, root, root)
    with pytest.raises(ChainError, match="#3 is self-signed, but is not the last"):
        check(leaf, middle, root, stranger)


def test_an_issuer_is_found_by_name_and_by_key() -> None:
    """X1: the same key under another name is another CA, the same name another key."""
    root = issue(ca_template())
    renamed = issue(ca_template("C=US,ST=WA,O=acme,CN=renamed"), key=root.key)
    impostor = issue(ca_template())
    leaf = issue(leaf_template(), root)

    with pytest.raises(
        ChainError, match='#1 was issued by "CN=root,O=acme,ST=WA,C=US"'
    ):
        check(leaf, renamed)
    with pytest.raises(ChainError, match="#1 has a signature that does not verify"):
        check(leaf, impostor)


def test_leaf_and_root_may_share_a_name() -> None:
    """X4: notation's own test chains do; self-signed is about the signature."""
    root = issue(ca_template())

    check(issue(Template(root.certificate.subject), root), root)


def test_a_self_issued_certificate_by_another_key_is_no_root() -> None:
    """Subject equal to issuer proves nothing."""
    template = leaf_template()
    other = issue(replace(template, ca=True, usages=("key_cert_sign",)))

    with pytest.raises(ChainError, match="does not verify"):
        check(issue(template, other))


def test_validity_need_not_nest() -> None:
    """SS345: verifiers MUST NOT enforce it."""
    root = issue(replace(ca_template(), ends=NOW + timedelta(days=1)))

    check(issue(leaf_template(), root), root)


def test_unknown_extensions_are_not_looked_at() -> None:
    """X11, even critical ones; notation does the same."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")

    check(*make_chain(replace(leaf_template(), extra=((unknown, True),))))


def test_weak_hashes_are_refused_anywhere_in_the_chain() -> None:
    """A4, law 9: Go knows no SHA-224 for certificates, so notation denies it."""
    for template in (leaf_template(), ca_template()):
        weak = replace(template, hash=hashes.SHA224)
        root = issue(weak if template.ca else ca_template())
        leaf = issue(leaf_template() if template.ca else weak, root)

        with pytest.raises(ChainError, match="is not allowed"):
            check(leaf, root)


def test_a_pss_signed_chain_needs_the_usual_salt() -> None:
    """Law 9: Go reads no other PSS parameters than salt and MGF1 of the same hash."""
    for salt, right in ((32, True), (20, False)):
        root = issue(replace(ca_template(), pss_salt=salt), key=rsa_key(2048))
        leaf = issue(replace(leaf_template(), pss_salt=salt), root)

        if right:
            check(leaf, root)
        else:
            with pytest.raises(ChainError, match="does not verify"):
                check(leaf, root)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (ec.SECP256R1(), SignatureAlgorithm.ES256),
        (ec.SECP384R1(), SignatureAlgorithm.ES384),
        (ec.SECP521R1(), SignatureAlgorithm.ES512),
        (ec.SECP224R1(), None),
        (ec.SECP256K1(), None),
    ],
)
def test_the_curve_decides_the_algorithm(
    curve: ec.EllipticCurve, expected: SignatureAlgorithm | None
) -> None:
    """SS276: the table, and nothing beside it."""
    key = ec.generate_private_key(curve).public_key()

    if expected:
        assert signature_algorithm(key) is expected
    else:
        with pytest.raises(ChainError, match=f"is ECDSA on {curve.name}; expected RSA"):
            signature_algorithm(key)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (2048, SignatureAlgorithm.PS256),
        (2047, SignatureAlgorithm.PS256),  # A2: whole bytes count, as in notation
        (3072, SignatureAlgorithm.PS384),
        (1024, None),
        (2056, None),
    ],
)
def test_the_modulus_decides_the_algorithm(
    bits: int, expected: SignatureAlgorithm | None
) -> None:
    """SS276: three sizes, exactly."""
    key = rsa_key(bits).public_key()

    if expected:
        assert signature_algorithm(key) is expected
    else:
        with pytest.raises(ChainError, match=f"is RSA with {bits} bits; expected"):
            signature_algorithm(key)


def test_ed25519_signs_no_images() -> None:
    """SS276 does not list it."""
    with pytest.raises(ChainError, match="is Ed25519; expected"):
        signature_algorithm(ed25519.Ed25519PrivateKey.generate().public_key())


def test_a_compressed_point_is_not_read() -> None:
    """Law 9: Go, under notation, reads uncompressed points only."""
    key = new_key()
    party = issue(leaf_template(), key=key)
    long, short = (
        key.public_key().public_bytes(serialization.Encoding.X962, form)
        for form in (
            serialization.PublicFormat.UncompressedPoint,
            serialization.PublicFormat.CompressedPoint,
        )
    )

    def bits(point: bytes) -> bytes:
        return bytes([0x03, len(point) + 1, 0]) + point

    assert bits(long) in party.der
    spki_long = _sequence(_ALGORITHM + bits(long))
    spki_short = _sequence(_ALGORITHM + bits(short))
    tampered = _shrunk(party.der, spki_long, spki_short)

    with pytest.raises(ChainError, match="public key in an unusual form"):
        parse_chain([tampered])


_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")


def _sequence(content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([0x30, len(content)]) + content


def _shrunk(der: bytes, old: bytes, new: bytes) -> bytes:
    """Replace inside the TBS certificate, mending the two lengths around it."""
    assert old in der
    assert der[:2] == b"\x30\x82"
    assert der[4:6] == b"\x30\x82"
    less = len(old) - len(new)
    outer = int.from_bytes(der[2:4], "big") - less
    inner = int.from_bytes(der[6:8], "big") - less
    body = der[8:].replace(old, new)
    return (
        b"\x30\x82"
        + outer.to_bytes(2, "big")
        + b"\x30\x82"
        + inner.to_bytes(2, "big")
        + body
    )


def test_the_number_of_certificates_is_bounded() -> None:
    """Law 6: every certificate costs a signature check."""
    der = issue(leaf_template()).der

    for count in (0, MAX_CHAIN + 1):
        with pytest.raises(ChainError, match=f"the chain has {count} certificates"):
            parse_chain([der] * count)


def test_a_chain_without_certificates_does_not_exist() -> None:
    """The invariant lives in the constructor."""
    with pytest.raises(ValueError, match="at least one"):
        Chain((), ())


def test_bytes_after_a_certificate_are_not_passed_over() -> None:
    """Byte equality with a trust store means nothing if the bytes may vary."""
    with pytest.raises(ChainError, match="#1 cannot be read"):
        parse_chain([issue(leaf_template()).der + b"\x00"])


@given(st.binary(max_size=300))
def test_hostile_bytes_are_a_chain_error_and_nothing_else(raw: bytes) -> None:
    """Law 5: what the X.509 library throws stays inside."""
    with pytest.raises(ChainError):
        parse_chain([raw])


PARTY = issue(leaf_template())


# A flipped sign bit of the serial number makes cryptography warn, and read on.
@pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")
@given(st.integers(0, len(PARTY.der) - 1), st.integers(1, 255))
def test_a_damaged_certificate_reads_or_is_a_chain_error(at: int, mask: int) -> None:
    """Whatever still parses is other bytes, so its own signature no longer verifies."""
    damaged = bytearray(PARTY.der)
    damaged[at] ^= mask
    try:
        chain = parse_chain([bytes(damaged)])
    except ChainError:
        return
    with pytest.raises(ChainError):
        verify_chain_profile(chain)


def test_every_certificate_counts_towards_validity() -> None:
    """X13: an expired root ends it all; the text names which and when."""
    root = issue(replace(ca_template(), ends=NOW))
    chain = parse_chain(ders((issue(leaf_template(), root), root)))

    assert not_valid_at(chain, NOW) is None
    assert not_valid_at(chain, NOW + timedelta(seconds=1)) == (
        'certificate #2 "CN=root,O=acme,ST=WA,C=US" expired at 2026-06-01T12:00:00Z'
    )
    assert not_valid_at(chain, NOW - timedelta(days=31)) == (
        'certificate #1 "CN=signer,O=acme,ST=WA,C=US" is not valid before '
        "2026-05-02T12:00:00Z"
    )
    assert not has_expired(chain, NOW)
    assert has_expired(chain, NOW + timedelta(seconds=1))
    assert not has_expired(chain, NOW - timedelta(days=31))


def test_revocation_pointers_are_seen() -> None:
    """R1: OCSP, CRL, and a FreshestCRL alone all ask to be looked up."""
    point = x509.DistributionPoint([HTTP], None, None, None)

    def access(method: x509.ObjectIdentifier) -> x509.ExtensionType:
        described = x509.AccessDescription(method, HTTP)
        return x509.AuthorityInformationAccess([described])

    cases: list[tuple[x509.ExtensionType, bool]] = [
        (x509.CRLDistributionPoints([point]), True),
        (x509.FreshestCRL([point]), True),
        (access(AuthorityInformationAccessOID.OCSP), True),
        (access(AuthorityInformationAccessOID.CA_ISSUERS), False),
    ]
    for extension, expected in cases:
        party = issue(replace(leaf_template(), extra=((extension, False),)))
        certificate = parse_certificate(party.der, what="it")
        assert has_revocation_pointers(certificate) is expected
    assert not has_revocation_pointers(PARTY.certificate)
