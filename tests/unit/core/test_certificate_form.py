"""The form of certificates: what one of two readers refuses is refused.

Cases after those of x509-limbo, for code signing, and after what Go's reader was found
to refuse under notation (tests/real/test_differential.py).
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.x509chain import ChainError, parse_chain, verify_chain_profile
from tests.differential.certificates import Element, read, resigned
from tests.pki import (
    NOW,
    Party,
    ca_template,
    ders,
    issue,
    leaf_template,
    make_chain,
    name,
    rsa_key,
)

LEAF, ROOT = make_chain(intermediates=0)
SERIAL, ALGORITHM, VALIDITY, SUBJECT, EXTENSIONS = 1, 2, 4, 5, 7
Extension = tuple[x509.ExtensionType, bool]
POLICY = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)
DIRECTORY = x509.DirectoryName(name("C=US,O=x"))


def check(*parties: Party) -> None:
    verify_chain_profile(parse_chain(ders(parties)))


def problem_with(*extra: Extension) -> str:
    root = issue(ca_template())
    with pytest.raises(ChainError) as caught:
        check(issue(replace(leaf_template(), extra=extra), root), root)
    return caught.value.what


def accept_with(*extra: Extension) -> None:
    root = issue(replace(ca_template(), extra=extra))
    check(issue(replace(leaf_template(), extra=extra), root), root)


def edited_problem(change: Callable[[list[Element]], None]) -> str:
    """Change what the leaf says, with its issuer's signature over it."""
    with pytest.raises(ChainError) as caught:
        verify_chain_profile(parse_chain([resigned(LEAF, ROOT, change), ROOT.der]))
    return caught.value.what


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def san(value: x509.GeneralName) -> Extension:
    return x509.SubjectAlternativeName([value]), False


def constraint(value: x509.GeneralName) -> Extension:
    return x509.NameConstraints(None, [value]), True


def access(*, critical: bool) -> Extension:
    method = AuthorityInformationAccessOID.CA_ISSUERS
    described = x509.AccessDescription(method, uri("http://ca.example/x"))
    return x509.AuthorityInformationAccess([described]), critical


def mappings(encoded: str) -> Extension:
    oid = x509.ObjectIdentifier("2.5.29.33")
    return x509.UnrecognizedExtension(oid, bytes.fromhex(encoded)), True


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ((x509.SubjectKeyIdentifier(b"1"), True), "a critical SubjectKeyIdentifier"),
        (
            (x509.AuthorityKeyIdentifier(b"1", None, None), True),
            "a critical AuthorityKeyIdentifier",
        ),
        (access(critical=True), "a critical AuthorityInformationAccess"),
        ((x509.CertificatePolicies([POLICY, POLICY]), False), "names a policy twice"),
        (san(uri("%zz:::")), "which is no URI"),
        (san(uri("no scheme")), "which is no URI"),
        (san(uri("http://a b/")), "which is no URI"),
        (san(uri("http://a..b/")), "which is no URI"),
        (san(uri("http://[::1/")), "which is no URI"),
        (san(uri("http://a/%4")), "which is no URI"),
        (san(uri("http://a\\b/")), "which is no URI"),
        (constraint(uri("http://a/")), "which is no domain"),
        (constraint(x509.DNSName("a..b")), "which is no domain"),
        (mappings("3000"), "lacks mapping"),
        (mappings("0500"), "cannot be read"),
        (mappings("30053003060155"), "lacks subject's policy"),
        (mappings("300c300a06032a030406032a030500"), "cannot be read"),
    ],
)
def test_an_extension_that_go_does_not_read_is_refused(
    extension: Extension, expected: str
) -> None:
    """RFC 5280 4.2.1 and 4.2.2.1; each of these notation calls malformed."""
    assert expected in problem_with(extension)


@pytest.mark.parametrize(
    "extension",
    [
        (x509.SubjectKeyIdentifier(b"1"), False),
        (x509.AuthorityKeyIdentifier(b"1", [DIRECTORY], 5), False),
        access(critical=False),
        (x509.CertificatePolicies([POLICY]), True),
        san(uri("https://github.com/acme/app/.github/workflows/r.yml@refs/tags/v1")),
        san(uri("spiffe://acme.example/ns/ci")),
        san(uri("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
        san(uri("file:///etc/x?a=%20#b")),
        san(x509.DNSName("*.acme.example")),
        san(x509.RFC822Name("signer@acme.example")),
        san(DIRECTORY),
        constraint(x509.DNSName(".acme.example")),
        constraint(x509.RFC822Name("acme.example")),
        constraint(x509.RFC822Name("a@acme.example")),
        constraint(DIRECTORY),
        mappings("300c300a06032a030406032a0305"),
        (x509.PolicyConstraints(0, None), True),
        (x509.InhibitAnyPolicy(0), True),
        (x509.OCSPNoCheck(), True),
        (x509.PrecertPoison(), True),
    ],
)
def test_an_extension_nobody_evaluates_changes_nothing(extension: Extension) -> None:
    """X11, SS344: readable is enough, critical or not."""
    accept_with(extension)


def test_a_certificate_is_of_version_3() -> None:
    """RFC 5280 4.1.2.1: before that there were no extensions, and Go reads none."""

    def drop(parts: list[Element]) -> None:
        del parts[0]

    assert edited_problem(drop) == "certificate #1 is not of version 3"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_serial_number_is_not_negative() -> None:
    """RFC 5280 4.1.2.2; Go calls it malformed."""

    def negate(parts: list[Element]) -> None:
        parts[SERIAL].content = b"\xff"

    assert edited_problem(negate) == "certificate #1 has a negative serial number"


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (0x17, b"260101000000Z"),
        (0x18, b"20260101000000Z"),
        (0x1C, b"\0\0\0x"),
        (0x1A, b"x"),
        (0x13, b"x@y"),
        (0x13, b"x_y"),
        (0x14, b"\xe4"),
        (0x16, b"\xe4"),
        (0x12, b"x"),
        (0x0C, b"\xff"),
        (0x1E, b"\0x\0"),
        (0x04, b"x"),
        (0x30, b""),
    ],
)
def test_a_name_is_text_that_go_reads(tag: int, content: bytes) -> None:
    """RFC 5280 4.1.2.4: a name is what identities are compared with."""

    def rename(parts: list[Element]) -> None:
        _common_name(parts).tag = tag
        _common_name(parts).content = content

    assert edited_problem(rename).startswith("certificate #1")


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (0x0C, "Jürgen".encode()),
        (0x12, b"12 3"),
        (0x13, b"O'Neil (a+b), 1-2/3: 4=5?"),
        (0x14, b"x"),
        (0x16, b"x@y"),
        (0x1E, "é".encode("utf-16-be")),
    ],
)
def test_a_name_may_be_in_any_of_the_usual_encodings(tag: int, content: bytes) -> None:
    """Old authorities write old strings."""

    def rename(parts: list[Element]) -> None:
        _common_name(parts).tag = tag
        _common_name(parts).content = content

    verify_chain_profile(parse_chain([resigned(LEAF, ROOT, rename), ROOT.der]))


def test_an_extension_is_there_once() -> None:
    """RFC 5280 4.2: two readers would take one each."""

    def double(parts: list[Element]) -> None:
        extensions = _extensions(parts)
        extensions.append(extensions[0])

    assert "certificate #1 cannot be read" in edited_problem(double)


def test_nothing_follows_the_content_of_an_extension() -> None:
    """A reader that stops early would miss it."""

    def append(parts: list[Element]) -> None:
        value = _extensions(parts)[0].parts
        assert value is not None
        value[-1] = Element(0x04, value[-1].encode()[2:] + b"\x05\x00")

    assert "certificate #1" in edited_problem(append)


def test_inner_and_outer_algorithm_are_the_same() -> None:
    """RFC 5280 4.1.1.2: what is signed says how."""

    def change(parts: list[Element]) -> None:
        parts[ALGORITHM] = read(bytes.fromhex("300a06082a8648ce3d040303"))[0]

    assert "certificate #1" in edited_problem(change)


def test_a_certificate_that_was_never_valid_reads_and_is_never_valid() -> None:
    """X12, X13: time is the timestamp check's business, and it says no."""

    def reverse(parts: list[Element]) -> None:
        validity = parts[VALIDITY].parts
        assert validity is not None
        validity.reverse()

    chain = parse_chain([resigned(LEAF, ROOT, reverse), ROOT.der])

    verify_chain_profile(chain)
    leaf = chain.leaf
    assert leaf.not_valid_before_utc > leaf.not_valid_after_utc


def test_names_chain_byte_for_byte() -> None:
    """X1, RawIssuer == RawSubject: RFC 5280's folding of case is not done."""
    root = issue(ca_template("C=US,ST=WA,O=acme,CN=root"))
    folded = x509.Name(list(name("C=US,ST=WA,O=acme,CN=ROOT")))

    with pytest.raises(ChainError, match="#1 was issued by"):
        check(issue(leaf_template(), root, issuer_name=folded), root)


def test_a_self_issued_intermediate_counts_for_the_path_length() -> None:
    """X6: unlike RFC 5280 6.1.4, as notation counts: by position in the chain."""
    root = issue(replace(ca_template(), path_length=0))
    middle = issue(ca_template(), root)

    with pytest.raises(ChainError, match="allows 0 CA certificates below it, but has"):
        check(issue(leaf_template(), middle), middle, root)


def test_an_issuers_key_must_fit_the_signature() -> None:
    """A certificate signed by RSA cannot be by the EC key of the same name."""
    by_rsa = issue(ca_template(), key=rsa_key(2048))
    by_ec = issue(ca_template())

    with pytest.raises(ChainError, match="a signature that does not verify"):
        check(issue(leaf_template(), by_rsa), by_ec)


def test_the_algorithm_named_must_be_of_the_issuers_kind_of_key() -> None:
    """An ECDSA signature that calls itself RSA: the OID is signed, so it must fit."""
    rsa_with_sha256 = bytes.fromhex("300d06092a864886f70d01010b0500")

    def change(parts: list[Element]) -> None:
        parts[ALGORITHM] = read(rsa_with_sha256)[0]

    whole = read(resigned(LEAF, ROOT, change))[0]
    assert whole.parts is not None
    whole.parts[1] = read(rsa_with_sha256)[0]

    with pytest.raises(ChainError, match="certificate #1"):
        verify_chain_profile(parse_chain([whole.encode(), ROOT.der]))


def test_purposes_of_a_ca_do_not_narrow_those_below() -> None:
    """X10: extended key usage of a CA is not looked at."""
    server = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")])
    root = issue(replace(ca_template(), extra=((server, True),)))

    check(issue(leaf_template(), root), root)


def test_name_constraints_do_not_count() -> None:
    """X11: SS344 lists what is evaluated, and they are not on it."""
    other = x509.NameConstraints([x509.DirectoryName(name("O=other"))], None)
    root = issue(replace(ca_template(), extra=((other, True),)))

    check(issue(leaf_template(), root), root)


def test_two_trusted_roots_of_one_name_are_two() -> None:
    """A cross-certificate is no root: its issuer is someone else."""
    old = issue(ca_template("C=US,O=acme,CN=old"))
    cross = issue(ca_template("C=US,O=acme,CN=new"), old)
    leaf = issue(leaf_template(), cross)

    check(leaf, cross, old)
    with pytest.raises(ChainError, match="the chain must end in its root"):
        check(leaf, cross)


def test_a_leaf_valid_longer_than_its_issuer_is_a_chain() -> None:
    """X12: nesting MUST NOT be enforced, in either direction."""
    root = issue(replace(ca_template(), starts=NOW - timedelta(days=1)))

    check(issue(leaf_template(), root), root)


@given(st.text(max_size=30))
def test_hostile_uris_are_refused_or_plain(text: str) -> None:
    """Law 5; and what passes has nothing a terminal or another reader acts on."""
    with contextlib.suppress(ValueError, ChainError):
        accept_with(san(uri("x:" + text)))
        assert text.isascii()
        assert text.isprintable()


def _common_name(parts: list[Element]) -> Element:
    subject = parts[SUBJECT].parts
    assert subject is not None
    attribute = subject[-1].parts
    assert attribute is not None
    values = attribute[0].parts
    assert values is not None
    return values[1]


def _extensions(parts: list[Element]) -> list[Element]:
    wrapped = parts[EXTENSIONS].parts
    assert wrapped is not None
    assert wrapped[0].parts is not None
    return wrapped[0].parts
