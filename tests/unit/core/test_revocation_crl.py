"""Lists: whose, for what, how old, and what a delta changes."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.evidence import MAX_CRL_BYTES, Evidence, Item, Slot
from enforcer.core.findings import Result
from enforcer.core.notary import Outcome
from enforcer.core.revocation import judge_revocation
from enforcer.core.revocation_crl import freshest_urls, read_list
from enforcer.core.revocation_pointers import pointers_of
from enforcer.core.revocation_signed import EvidenceError
from tests.asn1 import generalized, oid, seq, tlv
from tests.pki import NOW, Party, ca_template, issue, leaf_template
from tests.revoker import (
    DAY,
    HOLD,
    UNHOLD,
    Listed,
    freshest,
    make_crl,
    points,
    responders,
    scope,
    signer_chain,
)

URL, OTHER, DELTA = "http://ca.example/1", "http://ca.example/2", "http://ca.example/d"
CHAIN = signer_chain(points([URL]))
LEAF, MIDDLE, ROOT = CHAIN
SERIAL = LEAF.certificate.serial_number
WHAT = f"the CRL from {URL}"
SHOWN = f"the CRL of 2026-05-31T12:00:00Z from {URL}"
UNKNOWN_OID = x509.ObjectIdentifier("1.2.3.4.9")
STRANGE = x509.UnrecognizedExtension(UNKNOWN_OID, b"\x05\x00")
WITH_DELTA = ((freshest(DELTA), False),)


def item(der: bytes, url: str = URL, chain: Sequence[Party] = CHAIN) -> Item:
    return Item(Slot.crl(key_digest(chain[1].certificate), url), url, NOW, der)


def judge(*items: Item, chain: Sequence[Party] = CHAIN) -> Outcome:
    certificates = [party.certificate for party in chain]
    return judge_revocation(certificates, Evidence(items), NOW).outcome


def said(*items: Item, chain: Sequence[Party] = CHAIN) -> str:
    """Why it is not known, without which certificate it is about."""
    found = judge(*items, chain=chain)
    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.REVOCATION_UNKNOWN)
    return found.because.partition('": ')[2]


def is_good(*items: Item, chain: Sequence[Party] = CHAIN) -> bool:
    return judge(*items, chain=chain).result is Result.PASSED


def is_revoked(*items: Item, chain: Sequence[Party] = CHAIN) -> bool:
    return judge(*items, chain=chain).code is Code.CERTIFICATE_REVOKED


def base(*listed: Listed, **options: object) -> Item:
    options = {"number": 5, "extra": WITH_DELTA} | options
    return item(make_crl(MIDDLE, *listed, **options))  # type: ignore[arg-type]  # as make_crl


def delta(*listed: Listed, **options: object) -> Item:
    options = {"number": 7, "base_number": 5} | options
    return item(make_crl(MIDDLE, *listed, **options), DELTA)  # type: ignore[arg-type]  # as make_crl


def test_a_list_that_does_not_name_it_is_good() -> None:
    """R9."""
    assert is_good(item(make_crl(MIDDLE, Listed(SERIAL + 1))))


NO_REASONS = (x509.ReasonFlags.unspecified, UNHOLD)


@pytest.mark.parametrize(
    "reason",
    [None, *(r for r in x509.ReasonFlags if r not in NO_REASONS)],
)
def test_every_reason_is_a_revocation(reason: x509.ReasonFlags | None) -> None:
    """R10: a hold is one, too, as long as it lasts."""
    assert is_revoked(item(make_crl(MIDDLE, Listed(SERIAL, reason))))


def test_an_expired_list_still_revokes_and_no_longer_clears() -> None:
    """TP579: listed is revoked, be the list expired or not."""
    over = NOW - timedelta(seconds=1)

    assert is_revoked(item(make_crl(MIDDLE, Listed(SERIAL), next_update=over)))
    found = judge(item(make_crl(MIDDLE, next_update=over)))
    assert found.code is Code.EVIDENCE_STALE
    assert is_good(item(make_crl(MIDDLE, next_update=NOW)))


def test_a_list_without_next_update_is_stale() -> None:
    """C: RFC 5280 requires it; the library cannot make one without."""
    tbs = seq(
        b"\x02\x01\x01",
        seq(oid("ecdsa-sha256")),
        MIDDLE.certificate.subject.public_bytes(),
        generalized(NOW - DAY),
    )
    signature = _signed(MIDDLE, tbs)
    raw = seq(tbs, seq(oid("ecdsa-sha256")), tlv(0x03, b"\x00" + signature))

    found = judge(item(raw))

    assert found.code is Code.EVIDENCE_STALE
    assert "does not say until when it holds" in found.because


def test_a_list_of_version_1_is_refused() -> None:
    """Law 9: Go, under notation, reads none."""
    tbs = seq(
        seq(oid("ecdsa-sha256")),
        MIDDLE.certificate.subject.public_bytes(),
        generalized(NOW - DAY),
        generalized(NOW + DAY),
    )
    signature = _signed(MIDDLE, tbs)
    raw = seq(tbs, seq(oid("ecdsa-sha256")), tlv(0x03, b"\x00" + signature))

    assert said(item(raw)) == "the CRL is not of version 2"


def test_whose_list_it_is_is_compared() -> None:
    """2.1.3: issuer name (S), signature, cRLSign (RFC 5280 6.3.3 (f))."""
    stranger = signer_chain()[1]
    no_crl_sign = issue(ca_template("C=US,ST=WA,O=acme,CN=issuing"), ROOT)
    leaf = replace(leaf_template(), extra=((points([URL]), False),))
    theirs = (issue(leaf, no_crl_sign), no_crl_sign, ROOT)
    other_name = make_crl(MIDDLE, issuer_name=ROOT.certificate.subject)

    assert said(item(make_crl(MIDDLE, signer=stranger))) == (
        f"{WHAT} has a signature that does not verify"
    )
    assert said(item(other_name)) == f"{WHAT} is another issuer's"
    assert said(item(make_crl(no_crl_sign), chain=theirs), chain=theirs) == (
        "the certificate of the CRL's issuer may not sign CRLs"
    )
    weak = make_crl(MIDDLE, hash_=hashes.SHA224())
    assert "is not allowed here" in said(item(weak))


@pytest.mark.parametrize("listed", [[], [Listed(SERIAL)]])
def test_a_list_from_the_future_is_refused(listed: list[Listed]) -> None:
    """2.1.3 (S); five minutes of clock skew are borne."""
    ahead = NOW + timedelta(minutes=5)
    late = ahead + timedelta(seconds=1)
    near = make_crl(MIDDLE, *listed, this_update=ahead)
    far = make_crl(MIDDLE, *listed, this_update=late)

    assert is_revoked(item(near)) if listed else is_good(item(near))
    assert said(item(far)) == f"{WHAT} is from the future"


def test_what_is_critical_must_be_understood() -> None:
    """RFC 5280 5.2, 5.3: in the list, and in the entry about us."""
    critical, noted = ((STRANGE, True),), ((STRANGE, False),)

    assert said(item(make_crl(MIDDLE, extra=critical))) == (
        f"{WHAT} demands that 1.2.3.4.9 be understood"
    )
    assert is_good(item(make_crl(MIDDLE, extra=noted)))
    strange = Listed(SERIAL, extra=critical)
    assert "1.2.3.4.9" in said(item(make_crl(MIDDLE, strange)))
    assert is_revoked(item(make_crl(MIDDLE, Listed(SERIAL, extra=noted))))


@pytest.mark.parametrize(
    ("limited", "good"),
    [
        (scope(URL), True),
        (scope(OTHER, URL), True),
        (scope(OTHER), False),
        (scope(users=True), True),
        (scope(cas=True), False),
        (scope(attributes=True), False),
        (scope(URL, indirect=True), False),
    ],
)
@pytest.mark.parametrize("critical", [True, False])
def test_a_list_of_something_else_does_not_clear(
    limited: x509.IssuingDistributionPoint, *, good: bool, critical: bool
) -> None:
    """2.1.3 (S): another partition's list answers for nothing here."""
    assert is_good(item(make_crl(MIDDLE, extra=((limited, critical),)))) is good


def test_urls_of_one_point_are_alternates() -> None:
    """2.3 (L): the first may be dead."""
    chain = signer_chain(points([URL, OTHER]))
    clear = make_crl(chain[1])

    for url in (URL, OTHER):
        assert is_good(item(clear, url, chain), chain=chain)
    bad = make_crl(chain[1], Listed(chain[0].certificate.serial_number), number=2)
    both = (item(clear, URL, chain), item(bad, OTHER, chain))
    assert is_revoked(*both, chain=chain)


def test_points_add_up_until_every_reason_is_covered() -> None:
    """RFC 5280 6.3.3: a list for some reasons clears of those only."""
    some = frozenset({x509.ReasonFlags.key_compromise})
    rest = frozenset(x509.ReasonFlags) - some
    rest -= {x509.ReasonFlags.unspecified, UNHOLD}
    chain = signer_chain(points(_limited(URL, some), _limited(OTHER, rest)))
    one, two = (
        item(make_crl(chain[1]), URL, chain),
        item(make_crl(chain[1]), OTHER, chain),
    )

    assert is_good(one, two, chain=chain)
    for alone in (one, two):
        assert said(alone, chain=chain) == "the lists at hand tell of some reasons only"
    narrow = ((scope(reasons=some), True),)
    whole = signer_chain(points([URL]))
    only_some = make_crl(whole[1], extra=narrow)
    assert not is_good(item(only_some, URL, whole), chain=whole)


def test_one_point_for_all_reasons_is_enough() -> None:
    """Vectors rev-crl-two-first-dead, rev-crl-ldap-then-http: TP567 wants one 200.

    Whatever says "revoked" counts all the same.
    """
    chain = signer_chain(points(["ldap://ca.example/x"], [URL], [OTHER]))
    bad = make_crl(chain[1], Listed(chain[0].certificate.serial_number))

    assert is_good(item(make_crl(chain[1]), OTHER, chain), chain=chain)
    assert is_revoked(
        item(make_crl(chain[1]), URL, chain), item(bad, OTHER, chain), chain=chain
    )


@pytest.mark.parametrize(
    "extra",
    [
        points(["https://ca.example/1"]),
        points(["ldap://ca.example/1"]),
        points(["http://ca.example/a b"]),
        points(["http://ca.example/" + "a" * 2048]),
        responders("https://ca.example/o"),
        freshest(DELTA),
    ],
)
def test_pointers_that_cannot_be_followed_are_not_no_pointers(
    extra: x509.ExtensionType,
) -> None:
    """R3, R8, R11: http only; somebody wanted revocation to be checked."""
    chain = signer_chain(extra)

    assert not is_good(chain=chain)
    pointers = pointers_of(chain[0].certificate)
    assert (pointers.any, pointers.responders) == (True, ())
    assert all(point.urls == () for point in pointers.points)


def test_a_list_of_another_issuer_is_not_supported() -> None:
    """An indirect CRL: cRLIssuer in the certificate."""
    named = [x509.UniformResourceIdentifier(URL)]
    other = [x509.DirectoryName(ROOT.certificate.subject)]
    chain = signer_chain(points(x509.DistributionPoint(named, None, None, other)))

    assert not is_good(item(make_crl(chain[1]), URL, chain), chain=chain)


# -- deltas -----------------------------------------------------------------------


def test_a_delta_adds_to_its_base() -> None:
    """R11."""
    assert is_good(base(), delta())
    assert is_revoked(base(), delta(Listed(SERIAL)))
    assert is_revoked(base(Listed(SERIAL)), delta())
    assert is_revoked(base(Listed(SERIAL)), delta(Listed(SERIAL, UNHOLD, at=NOW)))


def test_a_base_that_announces_deltas_counts_with_one_only() -> None:
    """R11: unreachable -> unknown."""
    assert said(base()) == f"no delta list from {DELTA} is at hand"
    nowhere = make_crl(MIDDLE, extra=((freshest("ldap://ca.example/d"), False),))
    assert said(item(nowhere)) == "no list that can be fetched tells of it"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base_number": None}, "is not a delta CRL"),
        ({"base_number": 6}, "needs a base numbered 6 or more, not 5"),
        ({"number": 5}, "is numbered 5, not more than its base"),
        ({"number": 4}, "is numbered 4, not more than its base"),
        ({"number": None}, "and its base are not both numbered"),
        ({"extra": ((scope(URL), True),)}, "has another scope than its base"),
        ({"signer": ROOT}, "has a signature that does not verify"),
        ({"this_update": NOW + DAY}, "is from the future"),
    ],
)
def test_a_delta_must_continue_its_base(options: dict[str, object], why: str) -> None:
    """RFC 5280 5.2.4, TP591-598."""
    options = {"next_update": NOW + 2 * DAY} | options

    assert said(base(), delta(**options)).endswith(why)


def test_an_old_delta_is_stale_and_still_revokes() -> None:
    """As a complete list."""
    over = NOW - timedelta(seconds=1)

    assert judge(base(), delta(next_update=over)).code is Code.EVIDENCE_STALE
    assert is_revoked(base(), delta(Listed(SERIAL), next_update=over))


def test_a_delta_is_not_a_base_nor_a_base_a_delta() -> None:
    """A delta lists little, and would clear everybody."""
    alone = make_crl(MIDDLE, number=7, base_number=5)

    assert said(item(alone)).endswith("is not a complete list")


def test_a_hold_ends_by_a_later_removal_in_a_delta() -> None:
    """R10: compared by date, and not by one of the same moment, as in notation."""
    held = base(Listed(SERIAL, HOLD, at=NOW - 5 * DAY))

    assert is_good(held, delta(Listed(SERIAL, UNHOLD, at=NOW - 4 * DAY)))
    assert is_revoked(held, delta(Listed(SERIAL, UNHOLD, at=NOW - 5 * DAY)))
    assert is_revoked(held, delta(Listed(SERIAL, UNHOLD, at=NOW - 6 * DAY)))
    assert is_revoked(held, delta())
    assert is_revoked(base(), delta(Listed(SERIAL, HOLD)))


def test_a_base_cannot_remove() -> None:
    """RFC 5280 5.3.1: removeFromCRL "appears only in delta CRLs"."""
    assert "removes what only a delta can" in said(
        base(Listed(SERIAL, UNHOLD)), delta()
    )


def test_a_certificate_that_announces_deltas_wants_its_base_to() -> None:
    """As notation: a FreshestCRL in the certificate alone is not supported."""
    chain = signer_chain(points([URL]), freshest(DELTA))

    plain = item(make_crl(chain[1]), URL, chain)
    assert "announces deltas" in said(plain, chain=chain)


def test_where_deltas_are_can_be_read_from_any_list() -> None:
    """For notation's cache, where base and delta lie together."""
    assert freshest_urls(make_crl(MIDDLE, extra=WITH_DELTA)) == (DELTA,)
    assert freshest_urls(make_crl(MIDDLE)) == ()


# -- hostile ----------------------------------------------------------------------


def test_a_serial_listed_twice_counts_by_its_worst_entry() -> None:
    """The library finds only the first."""
    twice = (Listed(SERIAL, HOLD), Listed(SERIAL + 2), Listed(SERIAL))
    found = judge(item(make_crl(MIDDLE, *twice)))

    assert "(keyCompromise)" in found.because


def test_a_list_as_large_as_the_limit_is_refused() -> None:
    """D14: == fails, as in notation."""
    with pytest.raises(EvidenceError, match=f"has {MAX_CRL_BYTES} bytes or more"):
        read_list(item(bytes(MAX_CRL_BYTES)), MIDDLE.certificate, NOW)


def test_pem_is_not_der() -> None:
    """Vector rev-crl-pem."""
    crl = x509.load_der_x509_crl(make_crl(MIDDLE))

    assert "cannot be read" in said(item(crl.public_bytes(Encoding.PEM)))


RIGHT = make_crl(MIDDLE, Listed(SERIAL), extra=((scope(URL), True),))


@settings(max_examples=300)
@given(st.integers(0, len(RIGHT) - 1), st.binary(min_size=1, max_size=4))
def test_hostile_bytes_are_one_error(at: int, patch: bytes) -> None:
    """What the library throws never leaves, a panic included."""
    raw = RIGHT[:at] + patch + RIGHT[at + len(patch) :]

    with suppress(EvidenceError):
        read_list(item(raw), MIDDLE.certificate, NOW)


def _limited(url: str, reasons: frozenset[x509.ReasonFlags]) -> x509.DistributionPoint:
    named = [x509.UniformResourceIdentifier(url)]
    return x509.DistributionPoint(named, None, reasons, None)


def _signed(party: Party, tbs: bytes) -> bytes:

    assert isinstance(party.key, ec.EllipticCurvePrivateKey)
    return party.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
