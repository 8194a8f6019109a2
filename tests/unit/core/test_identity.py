"""Trusted identities: who is meant, and never somebody notation would refuse."""

import contextlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.errors import MalformedError
from enforcer.core.identity import (
    Identity,
    IdentityKind,
    identity_problem,
    parse_identity,
    subject_text,
)
from tests.pki import name

ACME = name("C=US,ST=WA,O=acme,OU=dev,CN=signer")


def is_meant(identity: str, subject: x509.Name) -> bool:
    return identity_problem([parse_identity(identity)], subject) is None


def subject(**attributes: str) -> x509.Name:
    oids = {"C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME}
    oids |= {"O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oids[k], v) for k, v in attributes.items()])


@pytest.mark.parametrize(
    ("identity", "meant"),
    [
        ("*", True),
        ("x509.subject: C=US, ST=WA, O=acme", True),
        ("x509.subject:O=acme,ST=WA,C=US", True),
        ("x509.subject: C=US; S=WA; O=acme; CN=signer", True),
        ("x509.subject:  C = US , ST = WA , O = acme  ", True),
        ("x509.subject: C=US, ST=WA, O=\\61cme", True),
        ("x509.subject: C=US, ST=WA, O=ACME", False),
        ("x509.subject: C=US, ST=WA, O=acm", False),
        ("x509.subject: C=US, ST=WA, O=acme, L=Seattle", False),
        ("x509.subject: C=US, ST=WA, O=acme, UID=7", False),
        ("X509.Subject: C=US, ST=WA, O=acme", False),
        ("did: abc", False),
    ],
)
def test_an_identity_matches_by_every_attribute_it_names(
    identity: str, *, meant: bool
) -> None:
    """I1, I2, I4, I5: case counts, order does not, more in the certificate is fine."""
    assert is_meant(identity, ACME) is meant


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("", 'expected "\\*" or'),
        ("x509.subject C=US, ST=WA, O=acme", 'expected "\\*" or'),
        (": x", 'expected "\\*" or'),
        ("x509.subject: ST=WA, O=acme", "C is missing"),
        ("x509.subject: C=US, O=acme", "ST is missing"),
        ("x509.subject: C=US, ST=WA", "O is missing"),
        ("x509.subject: c=US, st=WA, o=acme", "C is missing"),
        ("x509.subject: C=US, S=WA, ST=WA, O=acme", "ST is there twice"),
        ("x509.subject: C=US, ST=WA, O=acme, OU=a, OU=b", "OU is there twice"),
        ("x509.subject: C=US+ST=WA, O=acme", "joined by \\+"),
        ("x509.subject: C=US, ST=WA, O=#0401ff", "=#"),
        ("x509.subject: C=US, ST=WA, O=a=#b", "=#"),
        ("x509.subject: C=US, ST=WA, O=", "is not NAME=value"),
        ("x509.subject: C=US, ST=WA, acme", "is not NAME=value"),
        ("x509.subject: C=US, ST=WA, O=acme,", "is not NAME=value"),
        ("x509.subject: C=US, ST=WA, O=a\\q", "escapes nothing"),
        ("x509.subject: C=US, ST=WA, O=a\\", "escapes nothing"),
        ("x509.subject: C=US, ST=WA, O=\\ff", "not UTF-8"),
        ("x509.subject: C=US, ST=WA, O=a\\\\ ", "ends in a backslash and a space"),
    ],
)
def test_a_malformed_identity_is_refused_with_its_reason(
    identity: str, expected: str
) -> None:
    """I3, I6: an identity that means less than it seems would trust too many."""
    with pytest.raises(MalformedError, match=expected):
        parse_identity(identity)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Acme, Inc", "Acme\\, Inc"),
        ("Acme; Inc", "Acme\\; Inc"),
        ("A+B", "A\\+B"),
        ("A\\B", "A\\\\B"),
        ("Acme ", "Acme\\ "),
        (" Acme", "\\ Acme"),
        ("#1 Co", "\\#1 Co"),
        ("a=b", "a=b"),
        ("Ämter", "Ämter"),
        ("Ämter", "\\C3\\84mter"),
    ],
)
def test_escapes_are_undone(value: str, written: str) -> None:
    """I5, RFC 4514 section 2.4."""
    found = subject(C="US", ST="WA", O=value)

    assert is_meant(f"x509.subject: C=US, ST=WA, O={written}", found)


def test_attributes_inside_a_value_are_only_text() -> None:
    """A common name must not be able to spell another organization."""
    found = subject(CN="x,C=US,ST=WA,O=acme")

    assert not is_meant("x509.subject: C=US, ST=WA, O=acme", found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (name("C=US,ST=WA,O=acme,OU=a,OU=b"), "which has OU twice"),
        (name("C=US,ST=WA,O=acme,DC=x"), "whose attribute 0.9.2342.19200300.100.1.25"),
        (subject(C="US", ST="WA", O="acme", CN="a=#b"), "whose CN has characters"),
        (subject(C="US", ST="WA", O="acme\t"), "whose O has characters"),
    ],
)
def test_what_notation_cannot_match_is_not_matched_either(
    found: x509.Name, expected: str
) -> None:
    """I7, law 9: but the reason is said, and `*` still means everybody."""
    wanted = [parse_identity("x509.subject: C=US, ST=WA, O=acme")]

    assert expected in (identity_problem(wanted, found) or "")
    assert is_meant("*", found)


def test_nobody_is_meant_by_no_identity() -> None:
    """An empty list of requirements is a mistake, never a pass."""
    assert identity_problem([], ACME) is not None


def test_who_was_wanted_is_said() -> None:
    """An operator compares the two names."""
    wanted = [parse_identity("x509.subject: C=US, ST=WA, O=other")]

    assert identity_problem(wanted, ACME) == (
        "which is not an identity the statement trusts "
        '("x509.subject: C=US, ST=WA, O=other")'
    )


def test_a_subject_identity_without_attributes_does_not_exist() -> None:
    """It would match everybody."""
    with pytest.raises(ValueError, match="a subject has attributes"):
        Identity(IdentityKind.SUBJECT, "x509.subject:")


def test_one_identity_inside_another_overlaps() -> None:
    """I8 as notation reads it: only a subset does."""
    small = parse_identity("x509.subject: C=US, ST=WA, O=acme")
    large = parse_identity("x509.subject: C=US, ST=WA, O=acme, OU=dev")
    other = parse_identity("x509.subject: C=US, ST=WA, O=acme, L=Seattle")

    assert small.overlaps(large)
    assert large.overlaps(small)
    assert small.overlaps(small)
    assert not large.overlaps(other)
    assert not small.overlaps(parse_identity("did: abc"))


def test_a_subject_is_shown_as_notation_shows_it() -> None:
    """Trap 3 of the facts: reverse order, so that people can compare outputs."""
    found = subject(C="US", O="A, B+C", CN="#x ")

    assert subject_text(found) == "CN=\\#x\\ ,O=A\\, B\\+C,C=US"


def test_a_subject_cannot_drive_a_terminal() -> None:
    """Whoever makes a certificate chooses its name."""
    assert subject_text(subject(CN="a\x1b[31m\nb")) == "CN=a\\x1b[31m\\nb"


@given(st.text(max_size=60))
def test_hostile_identities_are_malformed_and_nothing_else(text: str) -> None:
    """Law 5."""
    with contextlib.suppress(MalformedError):
        parse_identity(f"x509.subject:{text}")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_only_the_named_organization_is_meant(value: str) -> None:
    """Whatever a certificate says, an identity means its own words only."""
    organization = value or "x"
    try:
        found = subject(C="US", ST="WA", O=organization)
    except ValueError:
        return

    assert is_meant("x509.subject: C=US, ST=WA, O=acme", found) is (value == "acme")


@pytest.mark.parametrize(
    "value",
    [
        "\u0430cme", "\uff41cme", "ACME", "acme\u200b", "acme\u202e", "ac\u00adme",
        "acme ", " acme", "acme\n", "acme\\", "acme,O=acme", "acm\u00e9", "acme\u0301",
    ],
)  # fmt: skip
def test_what_only_looks_like_the_organization_is_not_meant(value: str) -> None:
    """T-PF-6: other alphabets, widths, cases, marks, and what no eye sees."""
    found = subject(C="US", ST="WA", O=value)

    assert not is_meant("x509.subject: C=US, ST=WA, O=acme", found)
