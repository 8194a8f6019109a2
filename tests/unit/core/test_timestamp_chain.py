"""Who may countersign: chains to the roots of a tsa store, and none other."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from enforcer.core.codes import Code
from enforcer.core.timestamp import (
    TimestampError,
    verify_countersignature,
)
from tests.asn1 import (
    attribute,
    utc_time,
)
from tests.pki import NOW, Party, ca_template, ders, issue
from tests.tsa import (
    Authority,
    timestamping,
    tsa_chain,
    tsa_template,
)

SIGNED = b"the primitive signature"
TSA = Authority(tsa_chain())
OTHER = Authority(tsa_chain())  # of the same names
ELSEWHERE = Authority(tsa_chain(root=ca_template("C=US,ST=WA,O=tsa,CN=elsewhere")))
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
WHAT = "the countersignature"
UNTRUSTED = f"{WHAT} is not trusted: "
MIDDLE = ca_template("C=US,ST=WA,O=tsa,CN=tsa middle")
NO_CHECK = ObjectIdentifier("1.3.6.1.5.5.7.48.1.5")


def refusal(
    token: bytes, roots: Sequence[bytes] = (TSA.root,), signed: bytes = SIGNED
) -> str:
    with pytest.raises(TimestampError) as caught:
        verify_countersignature(token, signed, roots)
    assert caught.value.code is Code.TIMESTAMP_INVALID
    return caught.value.what


def untrusted(chain: Sequence[Party]) -> str:
    authority = Authority(tuple(chain))
    what = refusal(authority.token(SIGNED), (authority.root,))
    assert what.startswith(UNTRUSTED)
    return what.removeprefix(UNTRUSTED)


def extended(*extensions: tuple[x509.ExtensionType, bool]) -> tuple[Party, ...]:
    """A TSA's chain with these extensions instead of the right key purpose."""
    return tsa_chain(replace(tsa_template(), extra=extensions))


def test_a_tsa_nobody_trusts_is_named_with_those_who_are() -> None:
    """H9: only roots of the statement's tsa stores count, not the token's own."""
    what = refusal(TSA.token(SIGNED, certificates=ders(TSA.chain)), (ELSEWHERE.root,))

    assert what == (
        'the countersignature is not trusted: signed by "CN=clock,O=tsa,ST=WA,C=US", '
        "which chains to none of the roots trusted for time stamps "
        '("CN=elsewhere,O=tsa,ST=WA,C=US")'
    )


def test_no_root_trusts_nobody() -> None:
    """An empty list of anchors is no pass."""
    assert refusal(TSA.token(SIGNED), ()).endswith("for time stamps (none)")


def test_a_chain_goes_over_intermediates_that_the_token_carries() -> None:
    """H9: in any order; without the intermediate there is no chain."""
    authority = Authority(tsa_chain(middle=MIDDLE))
    leaf, middle, root = ders(authority.chain)
    roots = (root,)

    mixed = authority.token(SIGNED, certificates=(middle, root, leaf))
    assert verify_countersignature(mixed, SIGNED, roots).chain.der == (
        leaf,
        middle,
        root,
    )
    alone = authority.token(SIGNED, certificates=(leaf,))
    assert "chains to none of the roots" in refusal(alone, roots)


def test_a_look_alike_root_does_not_hide_the_right_one() -> None:
    """Two roots of one name (a renewed key): the one that signed is found."""
    found = verify_countersignature(TSA.token(SIGNED), SIGNED, (OTHER.root, TSA.root))

    assert found.chain.der[-1] == TSA.root


def test_many_certificates_of_one_name_end_the_search() -> None:
    """A token from anybody must not make us walk every order of its certificates."""
    subject = ca_template("C=US,ST=WA,O=tsa,CN=tsa root")
    copies = tuple(issue(subject).der for _ in range(15))
    token = TSA.token(SIGNED, certificates=(TSA.chain[0].der, *copies))

    assert "chains to none" in refusal(token, (issue(ca_template()).der,))


@pytest.mark.parametrize(
    ("chain", "what"),
    [
        (
            extended(),
            "certificate #1, the TSA's, lacks a critical extendedKeyUsage of "
            "timeStamping and nothing else",
        ),
        (extended((timestamping(), False)), "lacks a critical extendedKeyUsage"),
        (
            extended((timestamping(ExtendedKeyUsageOID.CODE_SIGNING), True)),
            "lacks a critical extendedKeyUsage",
        ),
        (
            extended(
                (
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
                    True,
                )
            ),
            "lacks a critical extendedKeyUsage",
        ),
        (
            tsa_chain(replace(tsa_template(), usages=None)),
            "certificate #1, the leaf, lacks a keyUsage with digitalSignature",
        ),
        (
            tsa_chain(
                replace(tsa_template(), usages=("digital_signature", "crl_sign"))
            ),
            "certificate #1, the leaf, has the key usage crl_sign",
        ),
        (
            tsa_chain(replace(tsa_template(), ca=True)),
            "certificate #1, the leaf, is a CA certificate",
        ),
        (
            tsa_chain(key=ec.generate_private_key(ec.SECP256K1())),
            "the signing key is ECDSA on secp256k1",
        ),
        (
            tsa_chain(middle=replace(MIDDLE, usages=None)),
            "certificate #2 lacks a keyUsage with keyCertSign",
        ),
        (
            tsa_chain(middle=replace(MIDDLE, ca=False)),
            "certificate #2 is not a CA certificate",
        ),
        (
            tsa_chain(middle=MIDDLE, root=replace(ca_template(), path_length=0)),
            "certificate #3 allows 0 CA certificates below it, but has 1",
        ),
        (
            tsa_chain(
                middle=replace(MIDDLE, purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))
            ),
            "certificate #2 is a CA's that is not for time stamping",
        ),
        (
            tsa_chain(replace(tsa_template(), ends=NOW - SECOND)),
            '"CN=clock,O=tsa,ST=WA,C=US" expired at 2026-06-01T11:59:59Z',
        ),
        (
            tsa_chain(replace(tsa_template(), starts=NOW + SECOND)),
            'certificate #1 "CN=clock,O=tsa,ST=WA,C=US" is not valid before '
            "2026-06-01T12:00:01Z",
        ),
        (
            tsa_chain(root=replace(ca_template(), ends=NOW - SECOND)),
            'certificate #2 "CN=root,O=acme,ST=WA,C=US" expired at 2026-06-01T',
        ),
        (
            extended(
                (timestamping(), True),
                (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0"), True),
            ),
            "certificate #1 has the extension 1.2.3, which is not understood here",
        ),
        (
            tsa_chain(
                middle=replace(
                    MIDDLE,
                    extra=(
                        (
                            x509.NameConstraints([x509.DNSName("example.org")], None),
                            False,
                        ),
                    ),
                )
            ),
            "certificate #2 has the extension 2.5.29.30, which is not understood here",
        ),
    ],
)
def test_a_tsas_chain_that_breaks_a_rule_is_refused(
    chain: tuple[Party, ...], what: str
) -> None:
    """X15 and H9: the profile, every certificate valid at genTime, nothing unread."""
    assert what in untrusted(chain)


@pytest.mark.parametrize(
    "chain",
    [
        tsa_chain(replace(tsa_template(), usages_critical=False)),
        tsa_chain(
            replace(tsa_template(), usages=("digital_signature", "content_commitment"))
        ),
        tsa_chain(root=replace(ca_template(), usages_critical=False)),
        tsa_chain(
            middle=replace(MIDDLE, purposes=(ExtendedKeyUsageOID.TIME_STAMPING,))
        ),
        tsa_chain(replace(tsa_template(), ends=NOW)),
        tsa_chain(replace(tsa_template(), starts=NOW, hash=hashes.SHA384)),
        extended(
            (timestamping(), True),
            (x509.UnrecognizedExtension(NO_CHECK, b"\5\0"), False),
        ),
    ],
)
def test_a_tsas_chain_may_be_laxer_than_a_signers(chain: tuple[Party, ...]) -> None:
    """SS315, SS327: keyUsage need not be critical. Bounds of validity count."""
    authority = Authority(chain)

    token = authority.token(SIGNED)
    found = verify_countersignature(token, SIGNED, (authority.root,))

    assert found.not_after == NOW


def test_a_self_signed_signer_is_no_anchor_for_itself() -> None:
    """A tsa store holds CAs; a chain of one would trust what is in the token."""
    alone = issue(tsa_template())

    what = untrusted((alone,) * 2)

    assert "chains to none of the roots" in what


def test_the_tokens_own_signing_time_must_be_within_the_tsas_validity() -> None:
    """H6: a sanity check of notation's."""
    late = attribute("signing-time", utc_time(NOW + 900 * DAY))

    what = refusal(TSA.token(SIGNED, attributes={"t": late}))

    assert 'certificate #1 "CN=clock,O=tsa,ST=WA,C=US" expired at' in what
