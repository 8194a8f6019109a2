"""What the evidence says of a chain: which piece counts, and what none can undo."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.evidence import (
    MAX_ITEMS,
    CertificateId,
    Evidence,
    Floor,
    Item,
    Memory,
    Revocation,
    Slot,
)
from enforcer.core.findings import Result
from enforcer.core.notary import Outcome
from enforcer.core.revocation import (
    ChainRevocation,
    judge_chain_revocation,
    judge_revocation,
)
from enforcer.core.revocation_inquiry import certificate_id
from enforcer.core.revocation_places import learn, places
from enforcer.core.revocation_rules import (
    NOTATION_RULES,
    OnStale,
    RevocationRules,
    Status,
)
from tests.asn1 import oid, seq, tlv
from tests.pki import NOW, Party, issue, leaf_template
from tests.revoker import (
    DAY,
    GOOD,
    HOLD,
    REVOKED,
    UNKNOWN,
    Listed,
    Single,
    answer,
    freshest,
    make_crl,
    make_ocsp,
    points,
    responders,
    revoking_ca,
    signer_chain,
)

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OCSP_URL, LIST_URL = "http://ca.example/ocsp", "http://ca.example/list"
LENIENT = RevocationRules(on_stale=OnStale.ALLOW_AND_FLAG)
STALE_OK = RevocationRules(on_stale=OnStale.USE_STALE)

BOTH = signer_chain(responders(OCSP_URL), points([LIST_URL]))
ONLY_LIST = signer_chain(points([LIST_URL]))
ONLY_OCSP = signer_chain(responders(OCSP_URL))
PLAIN = signer_chain()


def certificates(chain: Sequence[Party]) -> tuple[x509.Certificate, ...]:
    return tuple(party.certificate for party in chain)


def leaf_id(chain: Sequence[Party]) -> CertificateId:
    return certificate_id(chain[0].certificate, chain[1].certificate)


def ocsp_item(chain: Sequence[Party], der: bytes, url: str = OCSP_URL) -> Item:
    return Item(Slot.ocsp(leaf_id(chain)), url, NOW, der)


def crl_item(chain: Sequence[Party], der: bytes, url: str = LIST_URL) -> Item:
    return Item(Slot.crl(key_digest(chain[1].certificate), url), url, NOW, der)


def said(chain: Sequence[Party], status: str = GOOD, **changes: object) -> Item:
    single = Single(chain[0].certificate, chain[1].certificate, status)
    changed = replace(single, **changes)  # type: ignore[arg-type]  # by field name
    return ocsp_item(chain, make_ocsp(changed, signer=chain[1]))


def listed(chain: Sequence[Party], *entries: Listed, number: int = 1) -> Item:
    at = NOW - DAY + timedelta(minutes=number)
    return crl_item(chain, make_crl(chain[1], *entries, number=number, this_update=at))


def entry(chain: Sequence[Party], **changes: object) -> Listed:
    found = Listed(chain[0].certificate.serial_number)
    return replace(found, **changes)  # type: ignore[arg-type]  # by field name


def judge(
    chain: Sequence[Party],
    *items: Item,
    memory: Memory | None = None,
    at: datetime = NOW,
    authentic_time: datetime | None = None,
    rules: RevocationRules = NOTATION_RULES,
) -> ChainRevocation:
    evidence = Evidence(tuple(items), memory or Memory())
    return judge_revocation(
        certificates(chain), evidence, at, authentic_time=authentic_time, rules=rules
    )


def outcome(chain: Sequence[Party], *items: Item, **options: object) -> Outcome:
    return judge(chain, *items, **options).outcome  # type: ignore[arg-type]  # as judge


def passes(chain: Sequence[Party], *items: Item, **options: object) -> bool:
    return outcome(chain, *items, **options).result is Result.PASSED


def test_a_certificate_without_pointers_cannot_be_revoked() -> None:
    """R1; the intermediate's has none, either, and the root is not asked about."""
    found = judge(PLAIN)

    assert [f.status for f in found.findings] == [Status.NOT_REVOKABLE] * 2
    assert found.outcome == Outcome(
        Result.PASSED,
        Code.ALLOWED,
        "non-revokable: no certificate names a list or responder",
    )


def test_a_good_answer_is_told_with_its_age() -> None:
    """Each finding says for which certificate, by what, of when, and why."""
    found = judge(ONLY_OCSP, said(ONLY_OCSP))

    finding = found.findings[0]
    assert (finding.number, finding.status, finding.passes) == (1, Status.GOOD, True)
    assert (finding.url, finding.age) == (OCSP_URL, DAY)
    assert found.outcome == Outcome(
        Result.PASSED,
        Code.ALLOWED,
        'certificate #1 "CN=signer,O=acme,ST=WA,C=US": not revoked, says the OCSP '
        "response of 2026-05-31T12:00:00Z from http://ca.example/ocsp",
    )


def test_a_revoked_certificate_fails_with_when_and_why() -> None:
    """R2."""
    found = outcome(ONLY_LIST, listed(ONLY_LIST, entry(ONLY_LIST)))

    assert found == Outcome(
        Result.FAILED,
        Code.CERTIFICATE_REVOKED,
        'certificate #1 "CN=signer,O=acme,ST=WA,C=US": revoked at '
        "2026-05-22T12:00:00Z (keyCompromise), says the CRL of 2026-05-31T12:01:00Z "
        "from http://ca.example/list",
    )


@pytest.mark.parametrize("chain", [BOTH, ONLY_LIST, ONLY_OCSP])
def test_no_evidence_is_inconclusive(chain: Sequence[Party]) -> None:
    """R2: unknown is not good."""
    found = outcome(chain)

    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.REVOCATION_UNKNOWN)
    assert "is at hand" in found.because


def test_an_answer_is_preferred_to_a_list() -> None:
    """R1: vectors rev-ocsp-good-crl-revoked and rev-ocsp-revoked-crl-good."""
    revoked = listed(BOTH, entry(BOTH))

    assert passes(BOTH, said(BOTH), revoked)
    assert not passes(BOTH, said(BOTH, REVOKED), listed(BOTH))


@pytest.mark.parametrize("status", [UNKNOWN, "expired", "nothing"])
def test_whatever_keeps_an_answer_from_settling_the_lists_are_asked(
    status: str,
) -> None:
    """R1: "unknown for any reason"."""
    items = {
        UNKNOWN: [said(BOTH, UNKNOWN)],
        "expired": [said(BOTH, next_update=NOW - timedelta(seconds=1))],
        "nothing": [],
    }[status]

    assert passes(BOTH, *items, listed(BOTH))
    assert not passes(BOTH, *items, listed(BOTH, entry(BOTH)))
    assert not passes(BOTH, *items)


def test_of_two_answers_of_one_moment_the_worse_counts() -> None:
    """And of two good ones, the one that holds longer."""
    short = said(BOTH, next_update=NOW - timedelta(seconds=1))

    for items in (
        [said(BOTH), said(BOTH, UNKNOWN)],
        [said(BOTH), said(BOTH, REVOKED, reason=HOLD)],
    ):
        assert not passes(BOTH, *items)
        assert not passes(BOTH, *reversed(items))
    assert passes(BOTH, said(BOTH), short)
    assert passes(BOTH, short, said(BOTH))
    clear, held = listed(BOTH), listed(BOTH, entry(BOTH, reason=HOLD))
    assert not passes(BOTH, clear, held)
    assert not passes(BOTH, held, clear)


def test_an_intermediate_is_asked_about_as_well() -> None:
    """R1: every certificate but the root."""
    root = issue(revoking_ca())
    template = revoking_ca("C=US,ST=WA,O=acme,CN=issuing")
    middle = issue(replace(template, extra=((points([LIST_URL]), False),)), root)
    chain = (issue(leaf_template(), middle), middle, root)
    slot = Slot.crl(key_digest(root.certificate), LIST_URL)
    bad = make_crl(root, Listed(middle.certificate.serial_number))

    assert passes(chain, Item(slot, LIST_URL, NOW, make_crl(root)))
    found = outcome(chain, Item(slot, LIST_URL, NOW, bad))
    assert found.because.startswith('certificate #2 "CN=issuing')


def test_what_was_signed_before_the_trouble_stays_good() -> None:
    """R6, R10, TP580: invalidityDate later than the authentic time; not equal to it."""
    trouble = NOW - 5 * DAY
    items = [
        (ONLY_LIST, listed(ONLY_LIST, entry(ONLY_LIST, invalid_from=trouble))),
        (ONLY_OCSP, said(ONLY_OCSP, REVOKED, invalid_from=trouble)),
    ]

    for chain, item in items:
        assert passes(chain, item, authentic_time=trouble - timedelta(seconds=1))
        assert not passes(chain, item, authentic_time=trouble)
        assert not passes(chain, item)


def test_a_revocation_without_invalidity_date_counts_for_all_time() -> None:
    """TP581: "revoked", even if it was signed before."""
    item = listed(ONLY_LIST, entry(ONLY_LIST))

    assert not passes(ONLY_LIST, item, authentic_time=NOW - 300 * DAY)


def test_the_worst_of_several_certificates_is_named() -> None:
    """An operator acts on the revocation, not on the list that is missing."""
    root = issue(revoking_ca())
    template = revoking_ca("C=US,ST=WA,O=acme,CN=issuing")
    middle = issue(replace(template, extra=((points([LIST_URL]), False),)), root)
    leaf = replace(leaf_template(), extra=((points([LIST_URL]), False),))
    chain = (issue(leaf, middle), middle, root)
    slot = Slot.crl(key_digest(root.certificate), LIST_URL)
    bad = make_crl(root, Listed(middle.certificate.serial_number))

    found = outcome(chain, Item(slot, LIST_URL, NOW, bad))

    assert found.code is Code.CERTIFICATE_REVOKED


# -- rules ------------------------------------------------------------------------


def test_stale_evidence_denies_counts_or_is_flagged() -> None:
    """Design 6: deny, use-stale, allow-and-flag."""
    old = said(ONLY_OCSP, next_update=NOW - timedelta(seconds=1))

    denied = outcome(ONLY_OCSP, old)
    assert (denied.result, denied.code) == (Result.INCONCLUSIVE, Code.EVIDENCE_STALE)
    assert denied.because.endswith("held until 2026-06-01T11:59:59Z")
    for rules in (STALE_OK, LENIENT):
        flagged = outcome(ONLY_OCSP, old, rules=rules)
        assert (flagged.result, flagged.code) == (Result.PASSED, Code.EVIDENCE_STALE)
        assert flagged.because.startswith("flagged: certificate #1")


def test_missing_evidence_passes_only_where_that_is_asked_for() -> None:
    """Design 6: "use-stale: ... missing denies; allow-and-flag: missing passes too"."""
    assert not passes(ONLY_OCSP, rules=STALE_OK)
    found = outcome(ONLY_OCSP, rules=LENIENT)
    assert (found.result, found.code) == (Result.PASSED, Code.REVOCATION_UNKNOWN)


@pytest.mark.parametrize("rules", [NOTATION_RULES, STALE_OK, LENIENT])
def test_no_rule_lets_an_issuers_no_pass(rules: RevocationRules) -> None:
    """Revoked, held, disowned, and expired while held: never mere staleness."""
    over = NOW - timedelta(seconds=1)
    for item in (
        said(ONLY_OCSP, REVOKED),
        said(ONLY_OCSP, REVOKED, next_update=over),
        said(ONLY_OCSP, REVOKED, reason=HOLD),
        said(ONLY_OCSP, REVOKED, reason=HOLD, next_update=over),
        said(ONLY_OCSP, UNKNOWN),
        said(ONLY_OCSP, UNKNOWN, next_update=over),
    ):
        assert not passes(ONLY_OCSP, item, rules=rules)
    assert not passes(ONLY_LIST, listed(ONLY_LIST, entry(ONLY_LIST)), rules=rules)


def test_age_counts_from_the_issuers_own_date() -> None:
    """T-TM-5; when we obtained it proves nothing."""
    item = said(ONLY_OCSP)

    assert passes(ONLY_OCSP, item, rules=RevocationRules(max_age=DAY))
    short = RevocationRules(max_age=DAY - timedelta(seconds=1))
    assert outcome(ONLY_OCSP, item, rules=short).code is Code.EVIDENCE_STALE
    with pytest.raises(ValueError, match="more than nothing"):
        RevocationRules(max_age=timedelta(0))


# -- memory -----------------------------------------------------------------------


def test_a_revocation_once_seen_is_remembered() -> None:
    """Newer evidence that says good does not undo it, nor does having no pointers."""
    lesson = learn(
        certificates(BOTH),
        Evidence((listed(BOTH, entry(BOTH), number=5),)),
        NOW,
    )

    found = outcome(BOTH, said(BOTH), listed(BOTH, number=6), memory=lesson)

    assert found.code is Code.CERTIFICATE_REVOKED
    assert found.because.endswith("(remembered)")


def test_a_hold_is_not_remembered_and_may_end() -> None:
    """RFC 5280 5.3.1; what keeps it in force is the number of the list."""
    held = listed(ONLY_LIST, entry(ONLY_LIST, reason=HOLD), number=5)
    lesson = learn(certificates(ONLY_LIST), Evidence((held,)), NOW)

    assert lesson.revoked == {}
    assert passes(ONLY_LIST, listed(ONLY_LIST, number=6), memory=lesson)
    back = outcome(ONLY_LIST, listed(ONLY_LIST, number=4), memory=lesson)
    assert back.code is Code.EVIDENCE_LOST
    assert "number 5, was seen on this host" in back.because


def test_a_remembered_revocation_spares_what_is_older_than_the_trouble() -> None:
    """The invalidityDate is remembered, too."""
    trouble = NOW - 5 * DAY
    item = listed(ONLY_LIST, entry(ONLY_LIST, invalid_from=trouble))
    lesson = learn(certificates(ONLY_LIST), Evidence((item,)), NOW)

    assert not passes(ONLY_LIST, item, memory=lesson)
    early = trouble - DAY
    assert passes(ONLY_LIST, item, memory=lesson, authentic_time=early)


def test_a_certificate_written_in_another_form_is_the_same_one() -> None:
    """An ECDSA signature (r, n - s) is valid as well, and gives DER of another hash.

    Memory by the digest of the DER would not know it.
    """
    evidence = Evidence((listed(ONLY_LIST, entry(ONLY_LIST)),))
    lesson = learn(certificates(ONLY_LIST), evidence, NOW)
    leaf, middle, root = certificates(ONLY_LIST)
    r, s = decode_dss_signature(leaf.signature)
    other = encode_dss_signature(r, P256_ORDER - s)
    algorithm = seq(oid("ecdsa-sha256"))
    der = seq(leaf.tbs_certificate_bytes, algorithm, tlv(0x03, b"\x00" + other))
    twin = x509.load_der_x509_certificate(der)

    found = judge_revocation((twin, middle, root), Evidence(memory=lesson), NOW)

    twin.verify_directly_issued_by(middle)
    assert der != ONLY_LIST[0].der
    assert found.outcome.code is Code.CERTIFICATE_REVOKED


@pytest.mark.parametrize("rules", [NOTATION_RULES, STALE_OK, LENIENT])
def test_evidence_once_held_and_now_missing_denies(rules: RevocationRules) -> None:
    """Design 6; even where missing evidence would pass, or the other kind says good."""
    lesson = learn(certificates(BOTH), Evidence((said(BOTH),)), NOW)

    for items in ([], [listed(BOTH)]):
        found = outcome(BOTH, *items, memory=lesson, rules=rules)
        assert (found.result, found.code) == (
            Result.INCONCLUSIVE,
            Code.EVIDENCE_LOST,
        )
    assert passes(BOTH, said(BOTH), memory=lesson, rules=rules)


def test_a_lost_memory_denies_whatever_has_pointers() -> None:
    """Design 6: "losing state never grants"."""
    lost = Memory(problem="the memory of revocations was lost")

    assert outcome(BOTH, said(BOTH), memory=lost).code is Code.EVIDENCE_LOST
    assert passes(PLAIN, memory=lost)


def test_only_an_issuer_teaches() -> None:
    """Nobody else can make this host remember a revocation, or a number."""
    stranger = signer_chain(points([LIST_URL]))
    forged = make_crl(
        stranger[1],
        entry(ONLY_LIST),
        number=999,
        issuer_name=ONLY_LIST[1].certificate.subject,
    )

    lesson = learn(
        certificates(ONLY_LIST), Evidence((crl_item(ONLY_LIST, forged),)), NOW
    )

    assert lesson == Memory()


def test_what_is_from_the_future_teaches_nothing() -> None:
    """A list of 2044 would make every right one look old."""
    future = make_crl(
        ONLY_LIST[1], number=9, this_update=NOW + DAY, next_update=NOW + 9 * DAY
    )

    lesson = learn(
        certificates(ONLY_LIST), Evidence((crl_item(ONLY_LIST, future),)), NOW
    )

    assert lesson == Memory()


def test_memories_merge_to_what_denies_more() -> None:
    """Of two, the revocation that spares less, and the higher floor."""
    one = leaf_id(BOTH)
    spares = Revocation(NOW, "keyCompromise", NOW - DAY, "a")
    spares_less = Revocation(NOW, "keyCompromise", NOW - 2 * DAY, "b")
    harsh = Revocation(NOW, "keyCompromise", None, "c")
    slot = Slot.ocsp(one)
    low, high = Floor(NOW, 1), Floor(NOW - DAY, 2)

    for first, second in combinations((spares, spares_less, harsh), 2):
        for a, b in ((first, second), (second, first)):
            merged = Memory({one: a}).merged(Memory({one: b}))
            assert merged.revoked[one] == second
    assert Memory({}, {slot: low}).merged(Memory({}, {slot: high})).floors[slot] == high
    assert Memory({}, {slot: high}).merged(Memory({}, {slot: low})).floors[slot] == high


def test_a_floor_is_a_number_or_else_a_time() -> None:
    """RFC 5280 5.2.3: numbers only ever grow; an OCSP answer has none."""
    assert Floor(NOW, 2).is_above(Floor(NOW + DAY, 1))
    assert Floor(NOW, 2).is_above(Floor(NOW - DAY, 2))
    assert not Floor(NOW, 2).is_above(Floor(NOW, 2))
    assert Floor(NOW).is_above(Floor(NOW - DAY, 7))


def test_evidence_is_bounded() -> None:
    """Law 6."""
    with pytest.raises(ValueError, match="more than 1024"):
        Evidence((said(ONLY_OCSP),) * (MAX_ITEMS + 1))


# -- laws -------------------------------------------------------------------------

_OVER = NOW - timedelta(seconds=1)
POOL: tuple[Item, ...] = (
    said(BOTH),
    said(BOTH, this_update=NOW - 2 * DAY),
    said(BOTH, next_update=_OVER),
    said(BOTH, UNKNOWN),
    said(BOTH, REVOKED, this_update=NOW - timedelta(hours=1)),
    said(BOTH, REVOKED, reason=HOLD, this_update=NOW - timedelta(hours=2)),
    said(BOTH, REVOKED, invalid_from=NOW - 5 * DAY),
    said(BOTH, UNKNOWN, next_update=_OVER),
    listed(BOTH, number=1),
    listed(BOTH, number=3),
    listed(BOTH, entry(BOTH), number=2),
    listed(BOTH, entry(BOTH, reason=HOLD), number=4),
    crl_item(BOTH, make_crl(BOTH[1], number=5, next_update=_OVER)),
    crl_item(BOTH, b"garbage"),
    ocsp_item(BOTH, b"garbage"),
)
pools = st.lists(st.sampled_from(POOL), unique=True, max_size=6)
all_rules = st.sampled_from([NOTATION_RULES, STALE_OK, LENIENT])
times = st.sampled_from([None, NOW - 20 * DAY, NOW - DAY])


@settings(max_examples=150)
@given(pools, pools, all_rules, times)
def test_losing_evidence_never_grants(
    kept: list[Item],
    lost: list[Item],
    rules: RevocationRules,
    authentic_time: datetime | None,
) -> None:
    """Law 4: whatever is taken away from what was seen, no denial becomes an allow."""
    everything = (*kept, *(item for item in lost if item not in kept))
    memory = learn(certificates(BOTH), Evidence(everything), NOW)
    options = {"memory": memory, "rules": rules, "authentic_time": authentic_time}

    before = passes(BOTH, *everything, **options)
    after = passes(BOTH, *kept, **options)

    assert before or not after


@settings(max_examples=100)
@given(pools, all_rules, times)
def test_evidence_of_a_revocation_never_allows_more(
    items: list[Item], rules: RevocationRules, authentic_time: datetime | None
) -> None:
    """Without any memory, too."""
    options = {"rules": rules, "authentic_time": authentic_time}
    before = passes(BOTH, *items, **options)

    for bad in (said(BOTH, REVOKED), listed(BOTH, entry(BOTH), number=9)):
        assert before or not passes(BOTH, *items, bad, **options)


@settings(max_examples=100)
@given(pools, st.integers(1, 6), st.integers(1, 6), all_rules)
def test_an_older_list_after_a_newer_one_never_allows_more(
    items: list[Item], older: int, newer: int, rules: RevocationRules
) -> None:
    """T-CA-6, the replay of an old CRL."""
    older, newer = sorted((older, newer))
    had = Evidence((*items, listed(BOTH, number=newer)))
    memory = learn(certificates(BOTH), had, NOW)
    before = passes(BOTH, *had.items, memory=memory, rules=rules)

    replayed = (*had.items, listed(BOTH, number=older))
    only_old = (*items, listed(BOTH, number=older))

    assert before or not passes(BOTH, *replayed, memory=memory, rules=rules)
    assert before or not passes(BOTH, *only_old, memory=memory, rules=rules)


@settings(max_examples=100)
@given(pools, times)
def test_stricter_rules_never_allow_more(
    items: list[Item], authentic_time: datetime | None
) -> None:
    """deny <= use-stale <= allow-and-flag."""
    verdicts = [
        passes(BOTH, *items, rules=rules, authentic_time=authentic_time)
        for rules in (NOTATION_RULES, STALE_OK, LENIENT)
    ]

    assert verdicts == sorted(verdicts)


@given(st.binary(max_size=300), st.booleans())
def test_hostile_bytes_are_unknown_and_never_an_exception(
    raw: bytes, as_answer: object
) -> None:
    """One error type below, one answer here."""
    item = (ocsp_item if as_answer else crl_item)(BOTH, raw)

    assert outcome(BOTH, item).code is Code.REVOCATION_UNKNOWN


SIGNED = (answer(BOTH[0], BOTH[1]), make_crl(BOTH[1], entry(BOTH, reason=HOLD)))


@settings(max_examples=200)
@given(st.sampled_from([0, 1]), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_never_makes_evidence_better(
    which: int, at: int, mask: int
) -> None:
    """What is signed is read from what was signed."""
    damaged = bytearray(SIGNED[which])
    damaged[at % len(damaged)] ^= mask
    item = (ocsp_item, crl_item)[which]

    found = outcome(BOTH, item(BOTH, bytes(damaged)))

    good = which == 0 and found.result is Result.PASSED
    assert good or found.result is not Result.PASSED


def test_places_come_only_from_what_is_vouched_for() -> None:
    """Law 2: a stranger's list must not lead anywhere."""
    stranger = signer_chain(points([LIST_URL]))
    lure = ((freshest("http://169.254.169.254/latest"), False),)
    forged = make_crl(
        stranger[1],
        issuer_name=ONLY_LIST[1].certificate.subject,
        extra=lure,
    )
    right = make_crl(ONLY_LIST[1], extra=lure)

    def urls(der: bytes) -> list[str]:
        evidence = Evidence((crl_item(ONLY_LIST, der),))
        found = places(certificates(ONLY_LIST), evidence, NOW)
        return [url for place in found for url in place.urls]

    assert urls(forged) == [LIST_URL]
    assert urls(right) == [LIST_URL, "http://169.254.169.254/latest"]


def test_the_answer_alone_is_the_same_answer() -> None:
    """What a TSA's chain is asked by (H11)."""
    evidence = Evidence((said(ONLY_OCSP, REVOKED),))

    alone = judge_chain_revocation(certificates(ONLY_OCSP), evidence, NOW)

    assert alone.code is Code.CERTIFICATE_REVOKED
