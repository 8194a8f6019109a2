"""One signature, every check: what passes, what stops it, and what is said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.policy import Statement, StoreName, StoreType, parse_trust_policy
from enforcer.core.strictjson import Json
from enforcer.core.truststore import (
    TrustStore,
    TrustStoreInvalidError,
    TrustStores,
)
from enforcer.core.verify import (
    REMEMBERED_BYTES,
    StoredSignature,
    read_signature,
    verify_signature,
)
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Party,
    ca_template,
    cose_header,
    issue,
    leaf_template,
    make_chain,
    make_cose,
    make_envelope,
    payload_for,
    protected_header,
)

JWS, COSE = "application/jose+json", "application/cose"
CHAIN = make_chain()
LEAF, MIDDLE, ROOT = CHAIN
ACME = StoreName(StoreType.CA, "acme")
AUTHORITY = StoreName(StoreType.SIGNING_AUTHORITY, "acme")
TSA = StoreName(StoreType.TSA, "time")
STORES = TrustStores(
    {
        ACME: TrustStore(ACME, (ROOT.der,)),
        AUTHORITY: TrustStore(AUTHORITY, (ROOT.der,)),
        TSA: TrustStore(TSA, (ROOT.der,)),
    }
)
OTHER = Descriptor.of(IMAGE.media_type, b"other")
EXPIRY = f"{NOTARY}expiry"
SCHEME = f"{NOTARY}signingScheme"
SIGNING_TIME = f"{NOTARY}signingTime"
AUTHENTIC_TIME = f"{NOTARY}authenticSigningTime"
HTTP = x509.UniformResourceIdentifier("http://ca.example/crl")
CRL = x509.CRLDistributionPoints([x509.DistributionPoint([HTTP], None, None, None)])


def statement(
    level: str = "strict",
    *,
    stores: Sequence[str] = ("ca:acme",),
    identities: Sequence[str] = ("*",),
    **verification: Any,
) -> Statement:
    members: dict[str, Any] = {
        "name": "p",
        "registryScopes": ["*"],
        "signatureVerification": {"level": level, **verification},
    }
    if level != "skip":
        members |= {"trustStores": stores, "trustedIdentities": identities}
    document = {"version": "1.0", "trustPolicies": [members]}
    return parse_trust_policy(json.dumps(document).encode()).statements[0]


def stored(raw: bytes, media_type: str = JWS) -> StoredSignature:
    return StoredSignature(Digest.of(raw), media_type, raw)


def judge(
    raw: bytes | None = None,
    policy: Statement | None = None,
    *,
    stores: TrustStores = STORES,
    at: datetime = NOW,
    subjects: Sequence[Descriptor] = (IMAGE,),
    user_metadata: Mapping[str, str] | None = None,
    media_type: str = JWS,
) -> SignatureReport:
    report = verify_signature(
        stored(make_envelope(CHAIN) if raw is None else raw, media_type),
        subjects,
        policy or statement(),
        stores,
        at,
        user_metadata or {},
    )
    assert [finding.check for finding in report.findings] == [
        Check.INTEGRITY,
        Check.AUTHENTICITY,
        Check.EXPIRY,
        Check.TIMESTAMP,
        Check.REVOCATION,
        Check.METADATA,
    ]
    return report


def refusal(report: SignatureReport) -> Finding:
    assert not report.accepted
    assert report.first_problem is not None
    return report.first_problem


def finding(report: SignatureReport, check: Check) -> Finding:
    return next(f for f in report.findings if f.check is check)


def scheme_authority(time: str = "2026-06-01T11:00:00Z") -> dict[str, Json]:
    changes: dict[str, Json] = {
        "crit": [SCHEME, AUTHENTIC_TIME],
        SCHEME: "notary.x509.signingAuthority",
        SIGNING_TIME: None,
        AUTHENTIC_TIME: time,
    }
    return protected_header(**changes)


def expiring(time: str) -> dict[str, Json]:
    changes: dict[str, Json] = {"crit": [SCHEME, EXPIRY], EXPIRY: time}
    return protected_header(**changes)


def test_a_right_signature_passes_every_check() -> None:
    """The story, once."""
    report = judge()

    assert report.accepted
    assert report.authenticated
    assert report.format == "jws"
    assert report.signer == "CN=signer,O=acme,ST=WA,C=US"
    assert {f.result for f in report.findings} == {Result.PASSED}
    assert {f.code for f in report.findings} == {Code.ALLOWED}


def test_a_signature_may_be_about_any_of_the_subjects() -> None:
    """The manifest, or an index that lists it."""
    assert judge(subjects=(OTHER, IMAGE)).accepted


@pytest.mark.parametrize(
    "target",
    [
        OTHER,
        replace(IMAGE, size=IMAGE.size + 1),
        replace(IMAGE, media_type="application/vnd.oci.image.index.v1+json"),
    ],
)
def test_a_signature_about_other_content_does_not_count(target: Descriptor) -> None:
    """P3: media type, digest and size; at every level."""
    raw = make_envelope(CHAIN, payload=payload_for(target))

    problem = refusal(judge(raw, statement("audit")))

    assert (problem.check, problem.code) == (Check.INTEGRITY, Code.WRONG_CONTENT)
    assert problem.because.startswith(f"the signature is about {target.digest.short} (")


def test_no_subject_means_no_signature_counts() -> None:
    """An image whose manifest is unknown cannot be signed for."""
    problem = refusal(judge(subjects=()))

    assert problem.because.endswith("not about nothing known")


def test_an_unknown_critical_attribute_is_refused() -> None:
    """SS124: what the signer says must be understood, and is not, fails."""
    changes: dict[str, Json] = {"crit": [SCHEME, "com.example.x"], "com.example.x": "1"}
    problem = refusal(
        judge(make_envelope(CHAIN, protected=protected_header(**changes)))
    )

    assert (problem.result, problem.code) == (Result.FAILED, Code.NOT_SUPPORTED)
    assert problem.because == (
        'the signature demands that "com.example.x" be understood, and this version '
        "does not"
    )


@pytest.mark.parametrize("critical", [True, False])
def test_a_plugin_that_is_a_path_is_refused_at_every_level(*, critical: bool) -> None:
    """PL64-71: a name, looked up only after authenticity."""
    name = f"{NOTARY}verificationPlugin"
    crit: list[Json] = [SCHEME, name] if critical else [SCHEME]
    changes: dict[str, Json] = {"crit": crit, name: "../../evil"}
    raw = make_envelope(CHAIN, protected=protected_header(**changes))

    problem = refusal(judge(raw, statement("audit")))

    assert (problem.result, problem.code) == (Result.FAILED, Code.PLUGIN_FAILED)


def test_a_cose_signature_passes_every_check() -> None:
    """Both formats are judged alike; only the reading differs."""
    report = judge(make_cose(CHAIN), media_type=COSE)

    assert report.accepted
    assert report.authenticated
    assert report.format == "cose"
    assert report.signer == "CN=signer,O=acme,ST=WA,C=US"


def test_a_format_is_what_the_media_type_says() -> None:
    """Never guessed: JWS bytes called COSE are malformed, and the other way round."""
    for raw, media_type in ((make_envelope(CHAIN), COSE), (make_cose(CHAIN), JWS)):
        problem = refusal(judge(raw, media_type=media_type))
        assert problem.check is Check.INTEGRITY
        assert problem.code is Code.SIGNATURE_INVALID


def test_a_critical_attribute_nobody_knows_is_refused_in_cose_too() -> None:
    """Facts 2.1.1: named by text or by number; notation 1.3.2 lets both through."""
    for label in ("com.example.must", 100):
        protected = cose_header({2: [SCHEME, label], label: 1})
        problem = refusal(judge(make_cose(CHAIN, protected=protected), media_type=COSE))
        assert problem.code is Code.NOT_SUPPORTED
        assert f'the signature demands that "{label}" be understood' in problem.because


@pytest.mark.parametrize(
    ("media_type", "format_"),
    [
        ("application/cose+json", "application/cose+json"),
        ("application/vnd.dev.cosign.x", "application/vnd.dev.cosign.x"),
        ("application/jose+json; a=b", "application/jose+json; a=b"),
        ("a\x1b[31m", "a\\x1b[31m"),
    ],
)
def test_another_format_is_inconclusive_and_refused(
    media_type: str, format_: str
) -> None:
    """What is not understood is refused, and says so."""
    report = judge(media_type=media_type)

    problem = refusal(report)
    assert (problem.result, problem.code) == (Result.INCONCLUSIVE, Code.NOT_SUPPORTED)
    assert report.format == format_
    assert report.signer == ""


def test_a_tampered_payload_fails_even_in_audit() -> None:
    """Integrity is enforced at every level; nothing after it is asked."""
    members = json.loads(make_envelope(CHAIN, payload=payload_for(OTHER)))
    signed = json.loads(make_envelope(CHAIN))
    raw = json.dumps(members | {"signature": signed["signature"]}).encode()

    report = judge(raw, statement("audit"), subjects=(OTHER,))

    problem = refusal(report)
    assert (problem.check, problem.code) == (Check.INTEGRITY, Code.SIGNATURE_INVALID)
    assert problem.because == "the signature does not verify with the leaf's key"
    assert {f.result for f in report.findings[1:]} == {Result.NOT_RUN}
    assert report.signer == "CN=signer,O=acme,ST=WA,C=US"


def test_a_chain_that_breaks_a_rule_names_it() -> None:
    """X9 as integrity, also in audit."""
    chain = make_chain(replace(leaf_template(), usages=None))

    problem = refusal(judge(make_envelope(chain), statement("audit")))

    assert problem.because == (
        "certificate #1, the leaf, lacks a critical keyUsage with digitalSignature"
    )


def test_a_stranger_is_named_with_the_store_it_is_not_in() -> None:
    """The operator sees who signed and whom the policy wants."""
    leaf = leaf_template("C=US,ST=WA,O=Evil,CN=evil")
    problem = refusal(judge(make_envelope(make_chain(leaf))))

    assert (problem.check, problem.code) == (Check.AUTHENTICITY, Code.WRONG_SIGNER)
    assert problem.because == (
        'signed by "CN=evil,O=Evil,ST=WA,C=US", which chains to no certificate in '
        'trust store "ca:acme" (CN=root,O=acme,ST=WA,C=US)'
    )


@pytest.mark.parametrize("anchor", [ROOT, MIDDLE])
def test_any_certificate_of_the_chain_may_be_the_anchor(anchor: Party) -> None:
    """S2: a root or an intermediate, byte for byte."""
    assert judge(stores=TrustStores({ACME: TrustStore(ACME, (anchor.der,))})).accepted


def test_a_reissued_root_is_another_anchor() -> None:
    """S2: same key, same name, other bytes."""
    again = issue(ca_template(), key=ROOT.key)
    stores = TrustStores({ACME: TrustStore(ACME, (again.der,))})

    assert refusal(judge(stores=stores)).code is Code.WRONG_SIGNER


def test_another_identity_is_named_with_those_wanted() -> None:
    """Whoever the CA vouches for is not whoever the statement means."""
    wanted = "x509.subject: C=US, ST=WA, O=acme, CN=release"
    problem = refusal(judge(policy=statement(identities=[wanted])))

    assert problem.because == (
        'signed by "CN=signer,O=acme,ST=WA,C=US", which is not an identity the '
        f'statement trusts ("{wanted}")'
    )
    assert judge(
        policy=statement(identities=["x509.subject: C=US,ST=WA,O=acme"])
    ).accepted


def test_a_store_that_is_missing_or_broken_fails_authenticity_only() -> None:
    """S8: logged in audit, and the remedy is in the text."""
    broken = TrustStoreInvalidError("x is broken", remedy="Mend it.")
    for stores, code, said in (
        (TrustStores({}), Code.TRUST_STORE_MISSING, "enforcer trust add"),
        (TrustStores({ACME: broken}), Code.TRUST_STORE_INVALID, "x is broken. Mend it"),
    ):
        problem = refusal(judge(stores=stores))
        audited = judge(policy=statement("audit"), stores=stores)

        assert (problem.result, problem.code) == (Result.INCONCLUSIVE, code)
        assert said in problem.because
        assert audited.accepted
        assert not audited.authenticated


def test_one_broken_store_spoils_the_check_even_if_another_would_do() -> None:
    """Law 9: notation loads them all first."""
    broken = TrustStoreInvalidError("x is broken", remedy="Mend it.")
    second = StoreName(StoreType.CA, "second")
    stores = TrustStores({ACME: TrustStore(ACME, (ROOT.der,)), second: broken})
    policy = statement(stores=["ca:acme", "ca:second"])

    assert refusal(judge(policy=policy, stores=stores)).code is Code.TRUST_STORE_INVALID


def test_stores_of_the_two_schemes_are_never_mixed() -> None:
    """S1."""
    authority = make_envelope(CHAIN, protected=scheme_authority())
    theirs = statement(stores=["signingAuthority:acme"])

    assert judge(authority, theirs).accepted
    for raw, policy in ((authority, statement()), (make_envelope(CHAIN), theirs)):
        problem = refusal(judge(raw, policy))
        assert problem.code is Code.WRONG_SIGNER
        assert "the statement lists none" in problem.because


@pytest.mark.parametrize(
    ("level", "accepted"), [("strict", False), ("permissive", False), ("audit", True)]
)
def test_audit_only_notes_who_signed(level: str, *, accepted: bool) -> None:
    """T5: accepted, and never called authenticated."""
    report = judge(make_envelope(make_chain()), statement(level))

    assert report.accepted is accepted
    assert not report.authenticated


def test_a_signature_expires_at_that_very_moment() -> None:
    """E1: TP321 and SS375 say >=; strict enforces, permissive notes."""
    raw = make_envelope(CHAIN, protected=expiring("2026-06-01T12:00:00Z"))

    problem = refusal(judge(raw))

    assert (problem.check, problem.code) == (Check.EXPIRY, Code.SIGNATURE_EXPIRED)
    assert problem.because == "the signature expired at 2026-06-01T12:00:00Z"
    assert judge(raw, at=NOW - timedelta(microseconds=1)).accepted
    assert judge(raw, statement("permissive")).accepted


def test_an_expired_certificate_is_named() -> None:
    """X13: strict enforces, an override to log notes."""
    later = NOW + timedelta(days=400)
    problem = refusal(judge(at=later))

    assert problem.check is Check.TIMESTAMP
    assert problem.code is Code.CERTIFICATE_NOT_VALID
    assert problem.because.startswith('certificate #1 "CN=signer,O=acme,ST=WA,C=US" ex')
    logged = statement(override={"authenticTimestamp": "log"})
    assert judge(policy=logged, at=later).accepted


def test_a_signing_authoritys_time_is_what_counts() -> None:
    """H12: certificates may have expired since, not before."""
    policy = statement(stores=["signingAuthority:acme"])
    later = NOW + timedelta(days=400)

    raw = make_envelope(CHAIN, protected=scheme_authority())
    assert judge(raw, policy, at=later).accepted
    early = make_envelope(CHAIN, protected=scheme_authority("2020-01-01T00:00:00Z"))
    problem = refusal(judge(early, policy))
    assert problem.code is Code.CERTIFICATE_NOT_VALID
    assert problem.because.endswith("(signed at 2020-01-01T00:00:00Z)")


@pytest.mark.parametrize("place", ["leaf", "intermediate"])
def test_a_revocation_pointer_without_evidence_is_inconclusive(place: str) -> None:
    """R1, R2: enforced by strict, noted by permissive, not asked when skipped."""
    extra = ((CRL, False),)
    root = issue(ca_template())
    middle_template = ca_template("C=US,ST=WA,O=acme,CN=middle")
    leaf = leaf_template()
    if place == "leaf":
        leaf = replace(leaf, extra=extra)
    else:
        middle_template = replace(middle_template, extra=extra)
    middle = issue(middle_template, root)
    raw = make_envelope((issue(leaf, middle), middle, root))
    stores = TrustStores({ACME: TrustStore(ACME, (root.der,))})

    problem = refusal(judge(raw, stores=stores))
    skipped = judge(raw, statement(override={"revocation": "skip"}), stores=stores)

    assert (problem.result, problem.code) == (
        Result.INCONCLUSIVE,
        Code.REVOCATION_UNKNOWN,
    )
    assert judge(raw, statement("permissive"), stores=stores).accepted
    assert skipped.accepted
    assert finding(skipped, Check.REVOCATION).result is Result.NOT_RUN
    assert finding(skipped, Check.REVOCATION).action is Action.SKIP


def test_a_roots_own_pointer_is_not_followed() -> None:
    """R1: every certificate but the root."""
    root = issue(replace(ca_template(), extra=((CRL, False),)))
    raw = make_envelope((issue(leaf_template(), root), root))
    stores = TrustStores({ACME: TrustStore(ACME, (root.der,))})

    assert judge(raw, stores=stores).accepted


def test_user_metadata_asked_for_must_be_signed() -> None:
    """P4: enforced at every level."""
    raw = make_envelope(CHAIN, payload=payload_for(IMAGE, a="1", b="2"))

    assert judge(raw, user_metadata={"a": "1", "b": "2"}).accepted
    for asked in ({"a": "2"}, {"c": "1"}, {"a": "1", "b": "3"}):
        problem = refusal(judge(raw, statement("audit"), user_metadata=asked))
        assert (problem.check, problem.code) == (
            Check.METADATA,
            Code.METADATA_MISSING,
        )


def test_skip_verifies_nothing_and_counts_for_nothing() -> None:
    """The level lets the image through; no signature does."""
    report = judge(policy=statement("skip"))

    assert not report.accepted
    assert {f.result for f in report.findings} == {Result.NOT_RUN}


def test_size_is_bounded_before_anything_is_read() -> None:
    """D14."""
    problem = refusal(judge(b" " * (32 * 1024 * 1024 + 1)))

    assert problem.code is Code.TOO_LARGE


@given(st.binary(max_size=300), st.sampled_from([JWS, "application/cose", ""]))
def test_hostile_bytes_are_a_report_and_never_an_exception(
    raw: bytes, media_type: str
) -> None:
    """One bad signature must not spoil the good one behind it (facts 2.2)."""
    assert not judge(raw, statement("audit"), media_type=media_type).accepted


SIGNED = make_envelope(CHAIN)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_flipped_bit_is_refused_or_changed_nothing_signed(at: int, mask: int) -> None:
    """Law 8: what is accepted has the same payload, header and leaf."""
    damaged = bytearray(SIGNED)
    damaged[at] ^= mask

    report = judge(bytes(damaged))

    if report.accepted:
        one, other = json.loads(damaged), json.loads(SIGNED)
        assert one["payload"] == other["payload"]
        assert one["protected"] == other["protected"]
        assert one["header"]["x5c"][0] == other["header"]["x5c"][0]


LEVELS = ("strict", "permissive", "audit")
WRONGS: Sequence[bytes] = (
    make_envelope(CHAIN),
    make_envelope(make_chain()),
    make_envelope(CHAIN, protected=expiring("2026-06-01T11:30:00Z")),
    make_envelope(CHAIN, payload=payload_for(OTHER)),
    make_envelope(make_chain(replace(leaf_template(), extra=((CRL, False),)))),
    b"{}",
)


@given(
    st.sampled_from(WRONGS),
    st.sampled_from([Check.AUTHENTICITY, Check.TIMESTAMP, Check.EXPIRY]),
    st.sampled_from(LEVELS),
    st.integers(-400, 400),
)
def test_tightening_a_policy_never_allows_more(
    raw: bytes, check: Check, level: str, days: int
) -> None:
    """More checks enforced, fewer signatures accepted."""
    at = NOW + timedelta(days=days)
    loose = judge(raw, statement(level, override={check.value: "log"}), at=at)
    tight = judge(raw, statement(level, override={check.value: "enforce"}), at=at)

    assert loose.accepted or not tight.accepted


def test_an_error_of_a_kind_of_ours_never_leaves() -> None:
    """A store's error of any class is a finding."""
    stores = TrustStores({ACME: EnforcerError("odd", remedy="Look.")})

    assert refusal(judge(stores=stores)).code is Code.INTERNAL


def test_a_demanded_plugin_that_cannot_be_asked_is_a_refusal_at_every_level() -> None:
    """PL504: also where the level only notes who signed."""
    name = f"{NOTARY}verificationPlugin"
    crit: list[Json] = [SCHEME, name]
    changes: dict[str, Json] = {"crit": crit, name: "com.example.p"}
    raw = make_envelope(CHAIN, protected=protected_header(**changes))

    problem = refusal(judge(raw, statement("audit")))

    assert (problem.result, problem.code) == (Result.FAILED, Code.PLUGIN_FAILED)
    assert "com.example.p" in problem.because


def test_what_was_read_before_is_remembered_by_its_bytes_alone() -> None:
    """A hundred containers of one image cost one look; another byte is another one."""
    chain = make_chain()
    usual = stored(make_envelope(chain))
    changed = replace(usual, envelope=usual.envelope.replace(b'"x5c"', b'"x5C"'))
    huge = stored(make_envelope(chain, header={"pad": "x" * REMEMBERED_BYTES}))

    first = read_signature(usual, (IMAGE,))

    assert first.opened is not None
    assert read_signature(replace(usual), [IMAGE]) is first
    assert read_signature(usual, ()).opened is None
    assert read_signature(changed, (IMAGE,)).opened is None
    assert read_signature(huge, (IMAGE,)) is not read_signature(huge, (IMAGE,))
