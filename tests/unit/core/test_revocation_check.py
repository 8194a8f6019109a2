"""The check revocation of one signature, and its part in authenticTimestamp (H11)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.evidence import Evidence, Item, Slot
from enforcer.core.findings import Check, Finding, Result, SignatureReport
from enforcer.core.policy import Statement
from enforcer.core.revocation_chain import AuthenticatedChain, authenticated_chains
from enforcer.core.revocation_inquiry import certificate_id
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import verify_signature
from tests.asn1 import generalized
from tests.pki import IMAGE, NOTARY, NOW, Party, make_envelope, protected_header
from tests.revoker import (
    DAY,
    REVOKED,
    Listed,
    answer,
    make_crl,
    points,
    responders,
    signer_chain,
)
from tests.tsa import Authority, timestamping, tsa_template
from tests.unit.core.test_timestamp_check import (
    ACME,
    AUTHORITY,
    TIME,
    authority,
    envelope,
    statement,
)
from tests.unit.core.test_verify import stored

LIST_URL, TSA_URL = "http://ca.example/list", "http://tsa.example/ocsp"
CHAIN = signer_chain(points([LIST_URL]))
TROUBLE = NOW - 5 * DAY
MINUTE = timedelta(minutes=1)


def tsa_with_pointer() -> Authority:
    extra = ((timestamping(), True), (responders(TSA_URL), False))
    return authority(replace(tsa_template(), extra=extra))


TSA = tsa_with_pointer()
STORES = TrustStores(
    {
        ACME: TrustStore(ACME, (CHAIN[-1].der,)),
        AUTHORITY: TrustStore(AUTHORITY, (CHAIN[-1].der,)),
        TIME: TrustStore(TIME, (TSA.root,)),
    }
)
NO_TIME = statement(listed=("ca:acme",))


def listed(*entries: Listed, chain: Sequence[Party] = CHAIN) -> Item:
    slot = Slot.crl(key_digest(chain[1].certificate), LIST_URL)
    return Item(slot, LIST_URL, NOW, make_crl(chain[1], *entries))


def tsa_said(status: str) -> Item:
    leaf, root = TSA.chain
    slot = Slot.ocsp(certificate_id(leaf.certificate, root.certificate))
    return Item(slot, TSA_URL, NOW, answer(leaf, root, status))


def judge(
    raw: bytes, policy: Statement, *items: Item
) -> tuple[SignatureReport, Finding]:
    report = verify_signature(
        stored(raw), (IMAGE,), policy, STORES, NOW, evidence=Evidence(items)
    )
    found = next(f for f in report.findings if f.check is Check.REVOCATION)
    return report, found


def compromised_from(moment: object) -> Listed:
    entry = Listed(CHAIN[0].certificate.serial_number)
    return replace(entry, invalid_from=moment)  # type: ignore[arg-type]  # a time


def test_evidence_decides_and_nothing_is_fetched() -> None:
    """The story, at the level of one signature."""
    raw = make_envelope(CHAIN)
    bad = listed(compromised_from(None))

    assert judge(raw, NO_TIME, listed())[0].accepted
    report, found = judge(raw, NO_TIME, bad)
    assert not report.accepted
    assert (found.result, found.code) == (Result.FAILED, Code.CERTIFICATE_REVOKED)
    assert judge(raw, NO_TIME)[1].code is Code.REVOCATION_UNKNOWN


@pytest.mark.parametrize("level", ["permissive", "audit"])
def test_a_level_that_only_notes_notes(level: str) -> None:
    """R2; vectors rev-*-permissive and -log."""
    policy = statement(level, listed=("ca:acme",))

    report, found = judge(make_envelope(CHAIN), policy, listed(compromised_from(None)))

    assert report.accepted
    assert found.result is Result.FAILED


def test_a_signing_authoritys_time_spares_what_is_older() -> None:
    """R10: vector rev-crl-inv-sa-before, and its other side."""
    policy = statement(listed=("signingAuthority:acme",))

    def signed(moment: str) -> bytes:
        changes = {
            "crit": [f"{NOTARY}signingScheme", f"{NOTARY}authenticSigningTime"],
            f"{NOTARY}signingScheme": "notary.x509.signingAuthority",
            f"{NOTARY}signingTime": None,
            f"{NOTARY}authenticSigningTime": moment,
        }
        return make_envelope(CHAIN, protected=protected_header(**changes))  # type: ignore[arg-type]  # Json

    item = listed(compromised_from(TROUBLE))
    assert judge(signed("2026-05-27T11:59:59Z"), policy, item)[0].accepted
    assert not judge(signed("2026-05-27T12:00:00Z"), policy, item)[0].accepted


def test_a_countersignature_spares_what_is_older() -> None:
    """TP580: by whichever authentic time; vectors rev-ts-inv-*."""
    item = listed(compromised_from(TROUBLE))

    def stamped(moment: object) -> bytes:
        time = generalized(moment)  # type: ignore[arg-type]  # a time
        return envelope(chain=CHAIN, tsa=TSA, gen_time=time)

    good = tsa_said("good")
    early, late = stamped(TROUBLE - MINUTE), stamped(TROUBLE)
    assert judge(early, statement(), item, good)[0].accepted
    assert "stays good although it is revoked" in (
        judge(early, statement(), item, good)[1].because
    )
    assert not judge(late, statement(), item, good)[0].accepted
    # not asked for, so not looked at; and a TSA that is revoked proves nothing
    assert not judge(early, NO_TIME, item, good)[0].accepted
    logged = statement(override={"authenticTimestamp": "log"})
    assert judge(early, logged, item, good)[0].accepted
    assert not judge(early, logged, item, tsa_said(REVOKED))[0].accepted
    assert not judge(early, logged, item)[0].accepted


def test_a_revoked_tsa_fails_the_timestamp_whatever_revocation_says() -> None:
    """H11, TP389: vectors rev-tsa-*."""
    raw = envelope(chain=CHAIN, tsa=TSA)
    skipping = statement(override={"revocation": "skip"})

    for policy in (statement(), skipping):
        assert judge(raw, policy, listed(), tsa_said("good"))[0].accepted
        report, _ = judge(raw, policy, listed(), tsa_said(REVOKED))
        problem = report.first_problem
        assert problem is not None
        assert (problem.check, problem.code) == (
            Check.TIMESTAMP,
            Code.CERTIFICATE_REVOKED,
        )
        assert problem.because.startswith("the TSA's certificate #1 ")


def test_whose_chains_matter_is_what_the_statement_asks() -> None:
    """The signer's, and the TSA's where a countersignature is wanted and good."""

    def found(raw: bytes, policy: Statement) -> list[bytes]:
        chains = authenticated_chains(stored(raw), (IMAGE,), policy, STORES, NOW)
        assert all(isinstance(chain, AuthenticatedChain) for chain in chains)
        return [chain.chain.der[0] for chain in chains]

    signer, tsa = CHAIN[0].der, TSA.chain[0].der
    raw = envelope(chain=CHAIN, tsa=TSA)
    skipping = statement(override={"revocation": "skip"})
    assert found(raw, statement()) == [signer, tsa]
    assert found(raw, skipping) == [tsa]
    assert found(raw, NO_TIME) == [signer]
    assert found(make_envelope(CHAIN), statement()) == [signer]
    assert found(envelope(b"\0", chain=CHAIN), statement()) == [signer]
    assert found(envelope(chain=CHAIN, tsa=authority()), statement()) == [signer]
    assert found(b"{}", statement()) == []
