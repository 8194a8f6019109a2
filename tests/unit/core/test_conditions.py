"""What a host policy asks beyond Notation: each condition only ever takes away."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.certificate import SignatureAlgorithm, key_digest
from enforcer.core.codes import Code
from enforcer.core.conditions import Conditions, Denial, DenyList
from enforcer.core.digest import Digest
from enforcer.core.envelope.formats import parse_envelope
from enforcer.core.envelope.untrusted import EnvelopeFormat
from enforcer.core.evidence import NO_EVIDENCE, Evidence, Item, Slot
from enforcer.core.findings import Check, Finding, Result, SignatureReport
from enforcer.core.identity import parse_identity
from enforcer.core.level import VerificationLevel
from enforcer.core.revocation_rules import OnStale, RevocationRules
from enforcer.core.statement import (
    GLOBAL_SCOPE,
    Statement,
    StoreName,
    StoreType,
    VerifyTimestamp,
)
from enforcer.core.strictjson import Json
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature, verify_signature
from tests.asn1 import generalized
from tests.pki import (
    IMAGE,
    NOTARY,
    NOW,
    Party,
    base64url,
    ca_template,
    issue,
    leaf_template,
    make_chain,
    make_cose,
    make_envelope,
    payload_for,
    protected_header,
    rsa_key,
)
from tests.revoker import DAY, Listed, make_crl, points, revoking_ca
from tests.tsa import Authority, accuracy, long_lived, tsa_chain, tsa_template

JWS, COSE = "application/jose+json", "application/cose"
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ES256, PS256 = SignatureAlgorithm.ES256, SignatureAlgorithm.PS256
LIST_URL = "http://ca.example/list"

# Valid for years: some signatures here are older than those of the other tests.
OLD_ROOT = issue(long_lived(revoking_ca()))
OLD_MIDDLE = issue(long_lived(revoking_ca("C=US,ST=WA,O=acme,CN=issuing")), OLD_ROOT)
CHAIN = (issue(long_lived(leaf_template()), OLD_MIDDLE), OLD_MIDDLE, OLD_ROOT)
LISTED_LEAF = issue(
    replace(leaf_template(), extra=((points([LIST_URL]), False),)), OLD_MIDDLE
)
LISTED = (LISTED_LEAF, OLD_MIDDLE, OLD_ROOT)
RSA = (issue(leaf_template(), OLD_MIDDLE, key=rsa_key(2048)), OLD_MIDDLE, OLD_ROOT)
TSA = Authority(
    tsa_chain(long_lived(tsa_template()), root=long_lived(ca_template())),
)
ACME = StoreName(StoreType.CA, "acme")
AUTHORITY = StoreName(StoreType.SIGNING_AUTHORITY, "acme")
TIME = StoreName(StoreType.TSA, "time")
STORES = TrustStores(
    {
        ACME: TrustStore(ACME, (OLD_ROOT.der,)),
        AUTHORITY: TrustStore(AUTHORITY, (OLD_ROOT.der,)),
        TIME: TrustStore(TIME, (TSA.root,)),
    }
)
WHY = Denial(datetime(2026, 5, 1, tzinfo=NOW.tzinfo), "the key leaked")
DENIED = "denied since 2026-05-01: the key leaked"


def statement(conditions: Conditions, *stores: StoreName) -> Statement:
    return Statement(
        "acme",
        (GLOBAL_SCOPE,),
        VerificationLevel.named("strict"),
        VerifyTimestamp.ALWAYS,
        stores or (ACME,),
        (parse_identity("*"),),
        conditions,
    )


def judge(
    raw: bytes,
    conditions: Conditions | None = None,
    *stores: StoreName,
    at: datetime = NOW,
    evidence: Evidence = NO_EVIDENCE,
    media_type: str = JWS,
) -> SignatureReport:
    return verify_signature(
        StoredSignature(Digest.of(raw), media_type, raw),
        (IMAGE,),
        statement(conditions or Conditions(), *stores),
        STORES,
        at,
        evidence=evidence,
    )


def refusal(report: SignatureReport) -> Finding:
    assert not report.accepted
    assert report.first_problem is not None
    return report.first_problem


def header(claimed: datetime | None = None, **changes: Json) -> dict[str, Json]:
    time = {} if claimed is None else {f"{NOTARY}signingTime": _text(claimed)}
    return protected_header(**(time | changes))


def expiring(expiry: datetime, claimed: datetime) -> dict[str, Json]:
    crit: list[Json] = [f"{NOTARY}signingScheme", f"{NOTARY}expiry"]
    return header(claimed, crit=crit, **{f"{NOTARY}expiry": _text(expiry)})


def by_authority(at: datetime, **more: Json) -> dict[str, Json]:
    crit: list[Json] = [f"{NOTARY}signingScheme", f"{NOTARY}authenticSigningTime"]
    changes: dict[str, Json] = {
        "crit": [*crit, *more],
        f"{NOTARY}signingScheme": "notary.x509.signingAuthority",
        f"{NOTARY}signingTime": None,
        f"{NOTARY}authenticSigningTime": _text(at),
    }
    return protected_header(**changes, **more)


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def countersigned(raw: bytes, at: datetime, tsa: Authority = TSA) -> bytes:
    members = json.loads(raw)
    signature = base64.urlsafe_b64decode(members["signature"] + "==")
    token = tsa.token(signature, gen_time=generalized(at), accuracy=accuracy(1))
    stamp = {f"{NOTARY}timestampSignature": base64.b64encode(token).decode()}
    return json.dumps(members | {"header": members["header"] | stamp}).encode()


def signed(
    claimed: datetime,
    stamped: datetime | None = None,
    chain: Sequence[Party] = CHAIN,
) -> bytes:
    """Sign at `claimed`, as the signer says, and have it countersigned."""
    algorithm: dict[str, Json] = {} if chain is not RSA else {"alg": "PS256"}
    raw = make_envelope(chain, protected=header(claimed, **algorithm))
    return raw if stamped is None else countersigned(raw, stamped)


def key(party: Party) -> Digest:
    return key_digest(party.certificate)


SIGNED = make_envelope(CHAIN)


def test_conditions_that_ask_for_nothing_change_nothing() -> None:
    """Everything below would pass by accident if this did not."""
    assert judge(SIGNED).accepted
    assert judge(countersigned(SIGNED, NOW), None, ACME, TIME).accepted


@pytest.mark.parametrize("age", [timedelta(0), -DAY])
def test_an_age_that_nothing_could_have_is_a_mistake(age: timedelta) -> None:
    """A condition that refuses everything, or nothing, is a typing error."""
    with pytest.raises(ValueError, match="more than nothing"):
        Conditions(signed_within=age)


def test_conditions_cannot_be_changed_once_made() -> None:
    """They are shared between threads."""
    conditions = Conditions(
        user_metadata={"a": "1"}, denied=DenyList(keys={key(CHAIN[0]): WHY})
    )

    with pytest.raises(TypeError):
        conditions.user_metadata["a"] = "2"  # type: ignore[index]
    with pytest.raises(TypeError):
        del conditions.denied.keys[key(CHAIN[0])]  # type: ignore[attr-defined]


# -- deny lists --------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2], ids=["leaf", "intermediate", "root"])
def test_a_denied_key_anywhere_in_the_chain_denies(place: int) -> None:
    """A CA that was broken into is denied as a whole."""
    found = key(CHAIN[place])

    problem = refusal(judge(SIGNED, Conditions(denied=DenyList(keys={found: WHY}))))

    assert (problem.check, problem.code) == (Check.AUTHENTICITY, Code.DENY_LISTED)
    assert problem.because == (
        'signed by "CN=signer,O=acme,ST=WA,C=US", whose chain has the key '
        f"{found.short}, {DENIED}"
    )


def test_a_denied_key_is_named_even_if_no_store_has_it() -> None:
    """Whoever denied it wants to hear of it, not of a trust store."""
    stranger = make_chain()
    denied = Conditions(denied=DenyList(keys={key(stranger[0]): WHY}))

    assert refusal(judge(make_envelope(stranger))).code is Code.WRONG_SIGNER
    assert refusal(judge(make_envelope(stranger), denied)).code is Code.DENY_LISTED


def test_a_key_that_is_not_in_the_chain_denies_nobody() -> None:
    """Nor does the digest of a certificate, where one of a key is expected."""
    keys = {key(issue(ca_template())): WHY, Digest.of(CHAIN[0].der): WHY}

    assert judge(SIGNED, Conditions(denied=DenyList(keys=keys))).accepted


def test_a_denied_key_is_denied_in_every_certificate_that_has_it() -> None:
    """A leaf issued anew for the same key is the same signer."""
    again = (issue(leaf_template(), OLD_MIDDLE, key=CHAIN[0].key), *CHAIN[1:])
    denied = Conditions(denied=DenyList(keys={key(CHAIN[0]): WHY}))

    assert judge(make_envelope(again)).accepted
    assert refusal(judge(make_envelope(again), denied)).code is Code.DENY_LISTED


@pytest.mark.parametrize("place", [0, 1], ids=["leaf", "root"])
def test_a_denied_key_of_the_tsa_denies_the_countersignature(place: int) -> None:
    """Else a leaked TSA key could make any signature as old as it likes."""
    found = key(TSA.chain[place])
    denied = Conditions(denied=DenyList(keys={found: WHY}))

    problem = refusal(judge(countersigned(SIGNED, NOW), denied, ACME, TIME))

    assert (problem.check, problem.code) == (Check.TIMESTAMP, Code.DENY_LISTED)
    assert problem.because == (
        f"countersigned by a TSA whose chain has the key {found.short}, {DENIED}"
    )
    assert judge(countersigned(SIGNED, NOW), denied).accepted  # nobody asks for it


def test_a_denied_tsa_proves_no_time() -> None:
    """Neither for expiry by authentic time nor for the end of an algorithm."""
    raw = countersigned(
        make_envelope(CHAIN, protected=expiring(NOW - HOUR, NOW - 3 * HOUR)),
        NOW - 2 * HOUR,
    )
    denied = DenyList(keys={key(TSA.chain[0]): WHY})
    proven = Conditions(authentic_expiry=True)

    assert judge(raw, proven, ACME, TIME).accepted
    problem = refusal(judge(raw, replace(proven, denied=denied), ACME, TIME))
    assert (problem.check, problem.result) == (Check.EXPIRY, Result.INCONCLUSIVE)
    aged = Conditions(algorithms={ES256: NOW - DAY}, denied=denied)
    assert not judge(signed(NOW - 2 * DAY, NOW - 2 * DAY), aged, ACME, TIME).accepted


def twin_of(signature: bytes) -> bytes:
    """The other ECDSA signature of the same: (r, n - s). Anybody can make it."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + (P256_ORDER - s).to_bytes(32, "big")


def jws_wrappers() -> list[tuple[str, bytes]]:
    members = json.loads(SIGNED)
    signature = base64.urlsafe_b64decode(members["signature"] + "==")
    agent = {"header": members["header"] | {f"{NOTARY}signingAgent": "another/1.0"}}
    again = make_envelope(
        (issue(leaf_template(), OLD_MIDDLE, key=CHAIN[0].key), *CHAIN[1:])
    )
    header_ = {"header": json.loads(again)["header"]}
    wrappers = [{}, agent, {"signature": base64url(twin_of(signature))}, header_]
    found = [json.dumps(members | change).encode() for change in wrappers]
    found += [json.dumps(members, indent=3).encode(), countersigned(SIGNED, NOW)]
    return [(JWS, raw) for raw in found]


def cose_wrappers() -> list[tuple[str, bytes]]:
    first = make_cose(CHAIN)
    signature = parse_envelope(EnvelopeFormat.COSE, first).signature
    agent = f"{NOTARY}signingAgent"
    return [
        (COSE, make_cose(CHAIN, message={3: signature})),
        (COSE, make_cose(CHAIN, message={3: twin_of(signature)})),
        (COSE, make_cose(CHAIN, message={3: signature}, header={agent: "another/1"})),
    ]


@pytest.mark.parametrize("wrappers", [jws_wrappers(), cose_wrappers()])
def test_a_denied_signature_is_denied_in_every_wrapper(
    wrappers: list[tuple[str, bytes]],
) -> None:
    """By what it signs: spaces, unsigned headers, (r, n - s), another chain."""
    assert len({raw for _, raw in wrappers}) == len(wrappers)
    found = {judge(raw, media_type=type_).signed for type_, raw in wrappers}
    assert len(found) == 1
    digest = found.pop()
    assert digest is not None
    denied = Conditions(denied=DenyList(signatures={digest: WHY}))

    for type_, raw in wrappers:
        assert judge(raw, media_type=type_).accepted
        problem = refusal(judge(raw, denied, media_type=type_))
        assert (problem.check, problem.code) == (Check.AUTHENTICITY, Code.DENY_LISTED)
        assert problem.because == (
            f'signed by "CN=signer,O=acme,ST=WA,C=US", in a signature that is {DENIED}'
        )


def test_what_a_jws_signs_is_what_anybody_can_hash() -> None:
    """RFC 7515 5.1: BASE64URL(header) "." BASE64URL(payload)."""
    members = json.loads(SIGNED)
    text = f"{members['protected']}.{members['payload']}"

    assert judge(SIGNED).signed == Digest.of(text.encode())


def test_a_denied_signature_denies_no_other_one_by_the_same_signer() -> None:
    """Nor does the digest of the wrapper name a signature."""
    other = make_envelope(CHAIN, payload=payload_for(IMAGE, build="2"))
    signed_ = judge(SIGNED).signed
    assert signed_ is not None
    denied = {signed_: WHY, Digest.of(other): WHY}

    assert judge(other, Conditions(denied=DenyList(signatures=denied))).accepted


def test_an_image_entry_is_not_about_signatures() -> None:
    """The weigher asks it of images; here it must not match by chance."""
    signed_ = judge(SIGNED).signed
    assert signed_ is not None
    images = {signed_: WHY, key(CHAIN[0]): WHY}

    assert judge(SIGNED, Conditions(denied=DenyList(images=images))).accepted


# -- pins --------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2], ids=["leaf", "intermediate", "root"])
def test_a_pin_may_be_of_any_certificate_or_key_in_the_chain(place: int) -> None:
    party = CHAIN[place]
    wrong = Digest.of(b"nobody's")

    for pinned in (
        Conditions(certificates=frozenset({Digest.of(party.der)})),
        Conditions(keys=frozenset({key(party)})),
        Conditions(certificates=frozenset({wrong}), keys=frozenset({key(party)})),
        Conditions(keys=frozenset({wrong, key(party)})),
    ):
        assert judge(SIGNED, pinned).accepted


@pytest.mark.parametrize(
    "pins",
    [
        {"keys": {key(issue(ca_template()))}},
        {"certificates": {Digest.of(b"nobody's")}},
        {"certificates": {key(CHAIN[0])}},  # a key's digest is no certificate's
        {"keys": {Digest.of(CHAIN[0].der)}},
        {"keys": {key(TSA.chain[0])}, "certificates": {Digest.of(TSA.root)}},
    ],
)
def test_a_chain_without_a_pinned_one_does_not_count(
    pins: Mapping[str, set[Digest]],
) -> None:
    """Whatever the trust store says; the TSA's chain is not the signer's."""
    pinned = Conditions(**{name: frozenset(of) for name, of in pins.items()})  # type: ignore[arg-type]

    problem = refusal(judge(countersigned(SIGNED, NOW), pinned, ACME, TIME))

    assert (problem.check, problem.code) == (Check.AUTHENTICITY, Code.CONDITION_UNMET)
    assert problem.because == (
        'signed by "CN=signer,O=acme,ST=WA,C=US", whose chain has none of the pinned '
        "certificates or keys"
    )


def test_a_pin_does_not_make_a_stranger_trusted() -> None:
    """It narrows a trust store; it is none."""
    stranger = make_chain()
    pinned = Conditions(keys=frozenset({key(stranger[0])}))

    assert refusal(judge(make_envelope(stranger), pinned)).code is Code.WRONG_SIGNER


# -- algorithms --------------------------------------------------------------------


def test_only_listed_algorithms_count() -> None:
    rsa = signed(NOW, chain=RSA)
    assert judge(rsa, Conditions(algorithms={PS256: None})).accepted

    problem = refusal(judge(rsa, Conditions(algorithms={ES256: None})))

    assert (problem.check, problem.code) == (Check.AUTHENTICITY, Code.CONDITION_UNMET)
    assert problem.because == (
        'signed by "CN=signer,O=acme,ST=WA,C=US", by PS256, where only ES256 counts'
    )


def test_an_algorithm_counts_until_its_sunset() -> None:
    """The very moment still counts; without proof only now says when it was used."""
    for ends in (NOW, NOW + DAY):
        assert judge(SIGNED, Conditions(algorithms={ES256: ends})).accepted

    problem = refusal(judge(SIGNED, Conditions(algorithms={ES256: NOW - SECOND})))

    assert (problem.check, problem.code) == (Check.TIMESTAMP, Code.CONDITION_UNMET)
    assert problem.because == (
        "ES256 counts only for what is proven to be signed until 2026-06-01T11:59:59Z"
    )


def test_another_algorithms_sunset_is_not_this_ones() -> None:
    ends = {ES256: None, PS256: NOW - DAY}

    assert judge(SIGNED, Conditions(algorithms=ends)).accepted
    assert not judge(signed(NOW, chain=RSA), Conditions(algorithms=ends)).accepted


def test_a_countersignature_from_before_the_sunset_helps() -> None:
    """Down to the last second that the TSA vouches for."""
    ends = NOW - 5 * DAY
    rules = Conditions(algorithms={ES256: ends})
    before = NOW - 10 * DAY

    assert judge(signed(before, before), rules, ACME, TIME).accepted
    assert judge(signed(before, ends - SECOND), rules, ACME, TIME).accepted
    for stamped in (ends, NOW):
        assert not judge(signed(before, stamped), rules, ACME, TIME).accepted
    assert not judge(signed(before, before), rules).accepted  # nobody asks the TSA


def test_a_signing_authoritys_own_time_does_not_outlive_a_sunset() -> None:
    """A time inside the signature is as good as its algorithm is."""
    raw = make_envelope(CHAIN, protected=by_authority(NOW - 10 * DAY))
    rules = Conditions(algorithms={ES256: NOW - 5 * DAY})

    assert judge(raw, None, AUTHORITY, TIME).accepted
    for given_ in (raw, countersigned(raw, NOW - 10 * DAY)):
        problem = refusal(judge(given_, rules, AUTHORITY, TIME))
        assert (problem.check, problem.code) == (
            Check.TIMESTAMP,
            Code.CONDITION_UNMET,
        )


# -- age ---------------------------------------------------------------------------

MONTH = Conditions(signed_within=30 * DAY)


def test_a_signature_is_as_old_as_its_countersignature() -> None:
    """To the second, by the latest moment the TSA vouches for."""
    edge = NOW - 30 * DAY

    assert judge(signed(NOW, NOW), MONTH, ACME, TIME).accepted
    assert judge(signed(edge, edge), MONTH, ACME, TIME).accepted
    old = edge - 2 * SECOND
    problem = refusal(judge(signed(old, old), MONTH, ACME, TIME))

    assert (problem.check, problem.code) == (Check.TIMESTAMP, Code.CONDITION_UNMET)
    assert problem.because == (
        "it was signed at 2026-05-02T11:59:58Z, more than 30 days ago"
    )


def test_an_old_signature_countersigned_anew_is_old() -> None:
    """Anybody can have any signature countersigned; the signer's word counts, too."""
    old = NOW - 40 * DAY

    assert judge(signed(old, NOW), None, ACME, TIME).accepted
    problem = refusal(judge(signed(old, NOW), MONTH, ACME, TIME))
    assert problem.code is Code.CONDITION_UNMET
    assert problem.because.startswith("it was signed at 2026-04-22T12:00:00Z, ")


def test_a_claimed_time_does_not_make_an_old_signature_young() -> None:
    """It is only claimed: the countersignature says that it existed by then."""
    problem = refusal(judge(signed(NOW, NOW - 40 * DAY), MONTH, ACME, TIME))

    assert problem.code is Code.CONDITION_UNMET


def test_without_an_authentic_time_nothing_is_young_enough() -> None:
    """The signer's own word proves nothing, however new it says it is."""
    problem = refusal(judge(signed(NOW), MONTH))

    assert (problem.check, problem.code) == (Check.TIMESTAMP, Code.CONDITION_UNMET)
    assert problem.because == (
        "it must be signed within 30 days by authentic time, and there is no such time"
    )


def test_a_signing_authoritys_time_is_authentic() -> None:
    edge = NOW - 30 * DAY

    for at, accepted in ((NOW, True), (edge, True), (edge - SECOND, False)):
        raw = make_envelope(CHAIN, protected=by_authority(at))
        assert judge(raw, MONTH, AUTHORITY).accepted is accepted


@pytest.mark.parametrize("hours", [6, 36])
def test_an_age_in_hours_is_told_in_hours(hours: int) -> None:
    """`signedWithin: 6h` is not "0 days"."""
    rules = Conditions(signed_within=hours * HOUR)
    old = NOW - 40 * DAY

    told = refusal(judge(signed(old, old), rules, ACME, TIME)).because
    none = refusal(judge(signed(old), rules)).because

    assert told.endswith(f", more than {hours} hours ago")
    assert none.startswith(f"it must be signed within {hours} hours by ")


def test_a_signing_authoritys_time_from_the_future_is_not_young() -> None:
    """Else one signature dated 2030 would stay fresh for years."""
    soon = make_envelope(CHAIN, protected=by_authority(NOW + timedelta(minutes=5)))
    future = make_envelope(
        CHAIN, protected=by_authority(NOW + 6 * timedelta(minutes=1))
    )

    assert judge(soon, MONTH, AUTHORITY).accepted
    problem = refusal(judge(future, MONTH, AUTHORITY))
    assert (problem.check, problem.code) == (Check.TIMESTAMP, Code.CONDITION_UNMET)
    assert problem.because == (
        "it was signed at 2026-06-01T12:06:00Z, but here it is 2026-06-01T12:00:00Z"
    )


# -- user metadata -----------------------------------------------------------------


def test_user_metadata_asked_of_a_signer_must_be_signed() -> None:
    raw = make_envelope(CHAIN, payload=payload_for(IMAGE, stage="prod", n="1"))

    for wanted in ({"stage": "prod"}, {"stage": "prod", "n": "1"}):
        assert judge(raw, Conditions(user_metadata=wanted)).accepted
    for wanted, told in (
        ({"stage": "test"}, "stage=test"),
        ({"Stage": "prod"}, "Stage=prod"),
        ({"stage": "prod", "m": "1"}, "m=1"),
    ):
        problem = refusal(judge(raw, Conditions(user_metadata=wanted)))
        assert (problem.check, problem.code) == (Check.METADATA, Code.METADATA_MISSING)
        assert problem.because == f'the signature lacks user metadata "{told}"'


def test_what_the_question_asks_for_is_asked_as_well() -> None:
    """A signer's condition and `--user-metadata` add up, neither hides the other."""
    raw = make_envelope(CHAIN, payload=payload_for(IMAGE, stage="prod"))
    for of_signer, of_question, accepted in (
        ({"stage": "prod"}, {"stage": "prod"}, True),
        ({"stage": "prod"}, {"stage": "test"}, False),
        ({"stage": "test"}, {"stage": "prod"}, False),
    ):
        report = verify_signature(
            StoredSignature(Digest.of(raw), JWS, raw),
            (IMAGE,),
            statement(Conditions(user_metadata=of_signer)),
            STORES,
            NOW,
            of_question,
        )
        assert report.accepted is accepted


# -- expiry by authentic time ------------------------------------------------------

PROVEN = Conditions(authentic_expiry=True)


def test_an_expired_signature_counts_if_it_is_proven_to_be_older() -> None:
    """`expiry: authentic-time`: alive when it was signed is good enough."""
    ends = NOW - HOUR
    raw = make_envelope(CHAIN, protected=expiring(ends, NOW - 3 * HOUR))

    assert refusal(judge(countersigned(raw, ends - HOUR), None, ACME, TIME)).code is (
        Code.SIGNATURE_EXPIRED
    )
    assert judge(countersigned(raw, ends - HOUR), PROVEN, ACME, TIME).accepted
    for late in (ends - SECOND, ends, NOW):  # a second is the TSA's accuracy
        problem = refusal(judge(countersigned(raw, late), PROVEN, ACME, TIME))
        assert (problem.check, problem.code) == (Check.EXPIRY, Code.SIGNATURE_EXPIRED)


def test_a_signing_authoritys_time_proves_that_it_was_alive() -> None:
    ends: dict[str, Json] = {f"{NOTARY}expiry": _text(NOW - HOUR)}

    for at, accepted in ((NOW - 2 * HOUR, True), (NOW - HOUR, False)):
        raw = make_envelope(CHAIN, protected=by_authority(at, **ends))
        assert judge(raw, PROVEN, AUTHORITY).accepted is accepted
        assert not judge(raw, None, AUTHORITY).accepted


@pytest.mark.parametrize("proof", ["none", "garbage", "another's", "not asked for"])
@pytest.mark.parametrize("days", [-1, 1])
def test_without_proof_expiry_is_not_known(proof: str, days: int) -> None:
    """Also for one that has not expired yet: the policy compares what is proven."""
    raw = make_envelope(CHAIN, protected=expiring(NOW + days * DAY, NOW - 2 * DAY))
    stranger = Authority(tsa_chain(long_lived(tsa_template())))
    stores = (ACME,) if proof == "not asked for" else (ACME, TIME)
    stamp = {f"{NOTARY}timestampSignature": "AAEC"}
    members = json.loads(raw)
    garbage = json.dumps(members | {"header": members["header"] | stamp}).encode()
    given_ = {
        "none": raw,
        "garbage": garbage,
        "another's": countersigned(raw, NOW - 2 * DAY, stranger),
        "not asked for": countersigned(raw, NOW - 2 * DAY),
    }[proof]

    problem = refusal(judge(given_, PROVEN, *stores))

    assert (problem.check, problem.result) == (Check.EXPIRY, Result.INCONCLUSIVE)
    assert problem.because.endswith(
        "the policy compares that with the proven signing time, and there is none"
    )


def test_a_signature_that_does_not_expire_needs_no_proof() -> None:
    assert judge(SIGNED, PROVEN).accepted


# -- revocation rules --------------------------------------------------------------


def evidence(*, age: timedelta, revoked: bool = False, over: bool = False) -> Evidence:
    entries = [Listed(LISTED_LEAF.certificate.serial_number)] if revoked else []
    der = make_crl(
        OLD_MIDDLE,
        *entries,
        this_update=NOW - age,
        next_update=NOW - SECOND if over else NOW + DAY,
    )
    slot = Slot.crl(key(OLD_MIDDLE), LIST_URL)
    return Evidence((Item(slot, LIST_URL, NOW, der),))


def ruled(
    max_age: timedelta | None = None, on_stale: OnStale = OnStale.DENY
) -> Conditions:
    return Conditions(revocation=RevocationRules(max_age, on_stale))


@pytest.mark.parametrize(
    ("on_stale", "stale", "missing"),
    [
        (OnStale.DENY, False, False),
        (OnStale.USE_STALE, True, False),
        (OnStale.ALLOW_AND_FLAG, True, True),
    ],
)
def test_the_policy_says_what_old_and_missing_evidence_counts_for(
    on_stale: OnStale, *, stale: bool, missing: bool
) -> None:
    """Design 6: use-stale: old counts, missing denies; allow-and-flag: both pass."""
    raw = make_envelope(LISTED)
    fresh = evidence(age=6 * DAY)

    assert judge(raw, ruled(7 * DAY, on_stale), evidence=fresh).accepted
    old = judge(raw, ruled(5 * DAY, on_stale), evidence=fresh)
    assert old.accepted is stale
    assert judge(raw, ruled(on_stale=on_stale)).accepted is missing
    code = next(f.code for f in old.findings if f.check is Check.REVOCATION)
    assert code is Code.EVIDENCE_STALE  # flagged where it passes
    bad = evidence(age=6 * DAY, revoked=True)
    for rules in (ruled(7 * DAY, on_stale), ruled(5 * DAY, on_stale)):
        assert not judge(raw, rules, evidence=bad).accepted


def test_the_same_rules_hold_for_the_tsas_chain() -> None:
    """H11: a countersignature is as good as what is known about its TSA."""
    root = issue(long_lived(revoking_ca("C=US,ST=WA,O=tsa,CN=tsa root")))
    listed_ = (*tsa_template().extra, (points([LIST_URL]), False))
    leaf = issue(long_lived(replace(tsa_template(), extra=listed_)), root)
    tsa = Authority((leaf, root))
    stores = TrustStores({**STORES.stores, TIME: TrustStore(TIME, (root.der,))})
    der = make_crl(root, this_update=NOW - 6 * DAY, next_update=NOW + DAY)
    known = Evidence((Item(Slot.crl(key(root), LIST_URL), LIST_URL, NOW, der),))
    raw = countersigned(SIGNED, NOW, tsa)

    def accepted(conditions: Conditions) -> bool:
        given_ = StoredSignature(Digest.of(raw), JWS, raw)
        by = statement(conditions, ACME, TIME)
        return verify_signature(
            given_, (IMAGE,), by, stores, NOW, evidence=known
        ).accepted

    assert accepted(ruled(7 * DAY))
    assert not accepted(ruled(5 * DAY))
    assert accepted(ruled(5 * DAY, OnStale.USE_STALE))


# -- the law -----------------------------------------------------------------------

_EXPIRING = make_envelope(CHAIN, protected=expiring(NOW + DAY, NOW - HOUR))
POOL: tuple[bytes, ...] = (
    SIGNED,
    signed(NOW, chain=RSA),
    signed(NOW - 40 * DAY, NOW - 40 * DAY),
    signed(NOW - 40 * DAY, NOW),
    countersigned(_EXPIRING, NOW),
    make_envelope(CHAIN, payload=payload_for(IMAGE, stage="prod")),
    make_envelope(CHAIN, protected=by_authority(NOW - DAY)),
    make_envelope(LISTED),
    make_envelope(make_chain()),
    b"{}",
)
digests = st.sets(
    st.sampled_from(
        [
            *(key(party) for party in (*CHAIN, RSA[0], TSA.chain[0])),
            *(Digest.of(party.der) for party in CHAIN),
            *(d for raw in POOL if (d := judge(raw).signed)),
            Digest.of(b""),
        ]
    ),
    max_size=3,
).map(frozenset)
denials = digests.map(lambda found: dict.fromkeys(found, WHY))
ends = st.sampled_from([None, NOW - 5 * DAY, NOW, NOW + DAY])
# Not `authentic_expiry` and `on_stale`: those two say what else to compare with.
added = st.fixed_dictionaries(
    {},
    optional={
        "signed_within": st.sampled_from([HOUR, 30 * DAY, 100 * DAY]),
        "user_metadata": st.dictionaries(
            st.sampled_from(["stage", "x"]), st.just("prod")
        ),
        "certificates": digests,
        "keys": digests,
        "algorithms": st.dictionaries(st.sampled_from([ES256, PS256]), ends),
        "revocation": st.sampled_from([DAY, 9 * DAY]).map(RevocationRules),
        "denied": st.builds(DenyList, images=denials, signatures=denials, keys=denials),
    },
)
stores = st.sampled_from([(ACME,), (ACME, TIME), (AUTHORITY,), (AUTHORITY, ACME, TIME)])
known = st.sampled_from(
    [NO_EVIDENCE, evidence(age=6 * DAY), evidence(age=6 * DAY, revoked=True)]
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(POOL), added, st.booleans(), stores, st.integers(-45, 45), known)
def test_no_condition_makes_a_refused_signature_count(
    raw: bytes,
    conditions: Mapping[str, object],
    proven: bool,  # noqa: FBT001 - hypothesis gives it
    stores: tuple[StoreName, ...],
    days: int,
    evidence: Evidence,
) -> None:
    """The law of this module; under either way to compare expiry."""
    without = Conditions(authentic_expiry=proven)
    more = replace(without, **conditions)  # type: ignore[arg-type]
    at = NOW + days * DAY

    before = judge(raw, without, *stores, at=at, evidence=evidence)
    after = judge(raw, more, *stores, at=at, evidence=evidence)

    assert before.accepted or not after.accepted
    if conditions.get("denied") and after.accepted:
        denied = more.denied
        assert judge(raw).signed not in denied.signatures
