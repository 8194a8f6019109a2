"""The check authenticTimestamp where a countersignature is asked for (H1-H13)."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.findings import Check, Finding, Result, SignatureReport
from enforcer.core.policy import Statement, StoreName, StoreType, parse_trust_policy
from enforcer.core.strictjson import Json
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature, verify_signature
from tests.asn1 import generalized
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Party,
    Template,
    ca_template,
    leaf_template,
    make_chain,
    make_envelope,
    protected_header,
)
from tests.tsa import (
    Authority,
    accuracy,
    long_lived,
    timestamping,
    tsa_chain,
    tsa_template,
)

DAY = timedelta(days=1)
CHAIN = make_chain()  # valid from 30 days before NOW to 300 after
MISSING = "the statement asks for an RFC 3161 countersignature, and there is none"
HTTP = x509.UniformResourceIdentifier("http://tsa.example/crl")
CRL = x509.CRLDistributionPoints([x509.DistributionPoint([HTTP], None, None, None)])
ACME = StoreName(StoreType.CA, "acme")
AUTHORITY = StoreName(StoreType.SIGNING_AUTHORITY, "acme")
TIME = StoreName(StoreType.TSA, "time")


def authority(leaf: Template | None = None) -> Authority:
    leaf = long_lived(leaf or tsa_template())
    return Authority(tsa_chain(leaf, root=long_lived(ca_template())))


TSA = authority()


def stores(**changes: TrustStore | EnforcerError | None) -> TrustStores:
    found: dict[StoreName, TrustStore | EnforcerError | None] = {
        ACME: TrustStore(ACME, (CHAIN[-1].der,)),
        AUTHORITY: TrustStore(AUTHORITY, (CHAIN[-1].der,)),
        TIME: changes.get("tsa", TrustStore(TIME, (TSA.root,))),
    }
    return TrustStores({k: v for k, v in found.items() if v is not None})


def statement(
    level: str = "strict",
    *,
    listed: Sequence[str] = ("ca:acme", "tsa:time"),
    **verification: Any,
) -> Statement:
    members = {
        "name": "p",
        "registryScopes": ["*"],
        "signatureVerification": {"level": level, **verification},
        "trustStores": listed,
        "trustedIdentities": ["*"],
    }
    document = {"version": "1.0", "trustPolicies": [members]}
    return parse_trust_policy(json.dumps(document).encode()).statements[0]


def envelope(
    token: bytes | None = None,
    *,
    chain: Sequence[Party] = CHAIN,
    tsa: Authority = TSA,
    **changes: object,
) -> bytes:
    """A signature with a countersignature of itself, unless a token is given."""
    members = json.loads(make_envelope(chain))
    signature = base64.urlsafe_b64decode(members["signature"] + "==")
    made = tsa.token(signature, **changes) if token is None else token
    stamp = {f"{NOTARY}timestampSignature": base64.b64encode(made).decode()}
    return json.dumps(members | {"header": members["header"] | stamp}).encode()


def judge(
    raw: bytes,
    policy: Statement | None = None,
    *,
    at: datetime = NOW,
    trusted: TrustStores | None = None,
) -> tuple[SignatureReport, Finding]:
    report = verify_signature(
        StoredSignature(Digest.of(raw), "application/jose+json", raw),
        (IMAGE,),
        policy or statement(),
        trusted or stores(),
        at,
    )
    found = next(f for f in report.findings if f.check is Check.TIMESTAMP)
    return report, found


def test_a_countersignature_outlives_the_signers_certificate() -> None:
    """What it is for: signed while valid, believed afterwards."""
    report, found = judge(envelope(accuracy=accuracy(1)), at=NOW + 400 * DAY)

    assert report.accepted
    assert found.because == (
        "countersigned at 2026-06-01T11:59:59Z to 2026-06-01T12:00:01Z by "
        '"CN=clock,O=tsa,ST=WA,C=US", when every certificate was valid'
    )


@pytest.mark.parametrize(
    ("when", "days", "triggered"),
    [
        ("always", 0, True),
        ("always", 400, True),
        ("afterCertExpiry", 0, False),
        ("afterCertExpiry", 400, True),
    ],
)
def test_the_policy_says_when_a_countersignature_is_looked_at(
    when: str, days: int, *, triggered: bool
) -> None:
    """H1-H3: where it is asked for, none and garbage are failures."""
    policy, at = statement(verifyTimestamp=when), NOW + days * DAY

    assert judge(envelope(), policy, at=at)[0].accepted
    missing, no_token = judge(make_envelope(CHAIN), policy, at=at)
    garbage, bad_token = judge(envelope(b"\0\1\2"), policy, at=at)

    assert missing.accepted is garbage.accepted is not triggered
    if triggered:
        assert (no_token.result, no_token.because) == (Result.FAILED, MISSING)
        assert no_token.code is bad_token.code is Code.TIMESTAMP_INVALID
        assert bad_token.because.startswith("the countersignature lacks its outermost")


def test_without_a_tsa_store_nobody_reads_the_token() -> None:
    """H1, H2: and then every certificate has to be valid now."""
    policy = statement(listed=["ca:acme"])

    assert judge(envelope(b"\0\1\2"), policy)[0].accepted
    late = judge(envelope(), policy, at=NOW + 400 * DAY)[1]
    assert (late.result, late.code) == (Result.FAILED, Code.CERTIFICATE_NOT_VALID)


def test_a_signing_authoritys_signature_needs_no_countersignature() -> None:
    """H12: its own time is authentic; a token beside it is not read."""
    crit: list[Json] = [f"{NOTARY}signingScheme", f"{NOTARY}authenticSigningTime"]
    changes: dict[str, Json] = {
        "crit": crit,
        f"{NOTARY}signingScheme": "notary.x509.signingAuthority",
        f"{NOTARY}signingTime": None,
        f"{NOTARY}authenticSigningTime": "2026-06-01T11:00:00Z",
    }
    raw = make_envelope(
        CHAIN,
        protected=protected_header(**changes),
        header={f"{NOTARY}timestampSignature": "AAEC"},
    )
    policy = statement(listed=["signingAuthority:acme", "tsa:time"])

    assert judge(raw, policy, at=NOW + 400 * DAY)[0].accepted


@pytest.mark.parametrize(
    ("gen_time", "because"),
    [
        (NOW - 30 * DAY, "is not valid before 2026-05-02T12:00:00Z"),
        (NOW + 300 * DAY, "expired at 2027-03-28T12:00:00Z"),
    ],
)
def test_a_time_outside_the_signers_validity_fails(
    gen_time: datetime, because: str
) -> None:
    """H10: expected and actual are both said, to the second the TSA vouches for."""
    raw = envelope(gen_time=generalized(gen_time), accuracy=accuracy(1))

    found = judge(raw, at=NOW + 400 * DAY)[1]

    assert (found.result, found.code) == (Result.FAILED, Code.CERTIFICATE_NOT_VALID)
    assert found.because.startswith('certificate #1 "CN=signer,O=acme,ST=WA,C=US" ')
    assert f"{because} (countersigned at 20" in found.because


def test_a_countersignature_from_the_future_fails() -> None:
    """T-CR-7: some skew is let pass, a wrong clock is not."""
    raw = envelope(gen_time=generalized(NOW + timedelta(seconds=301)))

    found = judge(raw)[1]

    assert judge(raw, at=NOW + timedelta(seconds=1))[0].accepted
    assert (found.result, found.code) == (Result.FAILED, Code.CERTIFICATE_NOT_VALID)
    assert found.because == (
        "the signature was countersigned at 2026-06-01T12:05:01Z, but here it is "
        "2026-06-01T12:00:00Z"
    )


def test_a_token_of_another_signature_fails() -> None:
    """T-CR-7: a splice. The time of one signature says nothing of another."""
    found = judge(envelope(TSA.token(b"another signature")))[1]

    assert (found.result, found.code) == (Result.FAILED, Code.TIMESTAMP_INVALID)
    assert found.because.startswith("the countersignature is about another signature:")


def test_the_signers_own_stores_do_not_vouch_for_time() -> None:
    """S1: a root in a ca store is not one for time stamps."""
    other = TrustStore(TIME, (authority().root,))
    both = TrustStores({ACME: TrustStore(ACME, (CHAIN[-1].der, TSA.root)), TIME: other})

    found = judge(envelope(), trusted=both)[1]

    assert (found.result, found.code) == (Result.FAILED, Code.TIMESTAMP_INVALID)
    assert found.because.startswith("the countersignature is not trusted: ")


def test_a_tsa_store_that_cannot_be_used_is_inconclusive() -> None:
    """H9: we could not find out, and so it does not start."""
    report, found = judge(envelope(), trusted=stores(tsa=None))

    assert not report.accepted
    assert (found.result, found.code) == (
        Result.INCONCLUSIVE,
        Code.TRUST_STORE_MISSING,
    )
    assert found.because.startswith('trust store "tsa:time" is missing or empty. Run')


@pytest.mark.parametrize("override", [{}, {"revocation": "skip"}])
def test_a_tsa_that_may_be_revoked_is_inconclusive(override: dict[str, str]) -> None:
    """H11: whatever the policy does about the signer's revocation (TP389)."""
    extra = ((timestamping(), True), (CRL, False))
    tsa = authority(replace(tsa_template(), extra=extra))
    trusted = stores(tsa=TrustStore(TIME, (tsa.root,)))

    report, found = judge(
        envelope(tsa=tsa), statement(override=override), trusted=trusted
    )

    assert not report.accepted
    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.REVOCATION_UNKNOWN)
    assert found.because.startswith("the TSA's certificate #1 ")


def test_a_failed_countersignature_may_be_only_noted() -> None:
    """The action of authenticTimestamp governs all of it, revocation included."""
    report, found = judge(envelope(b"\0"), statement("permissive"))

    assert report.accepted
    assert found.result is Result.FAILED


def test_a_short_lived_signer_is_judged_by_when_it_signed() -> None:
    """H13: the time bounds the signature from above; expiry is asked all the same."""
    short = make_chain(replace(leaf_template(), ends=NOW + timedelta(minutes=10)))
    trusted = TrustStores(
        {
            ACME: TrustStore(ACME, (short[-1].der,)),
            TIME: TrustStore(TIME, (TSA.root,)),
        }
    )

    raw = envelope(chain=short)
    assert judge(raw, at=NOW + 30 * DAY, trusted=trusted)[0].accepted
    late = envelope(chain=short, gen_time=generalized(NOW + DAY))
    assert not judge(late, at=NOW + 30 * DAY, trusted=trusted)[0].accepted
