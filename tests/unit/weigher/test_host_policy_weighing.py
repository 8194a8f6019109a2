"""A host policy weighed: what overrides what, and the whole of every refusal's text.

Real policies, envelopes and trust stores; the ports are stand-ins that fail on demand.
"""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest

from enforcer.admission import Admission
from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import Evidence
from enforcer.core.host_policy import HostPolicy, parse_host_policy
from enforcer.core.image import OCI_INDEX
from enforcer.core.record import DecisionRecord
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.signing import (
    Signer,
    generate_test_chain,
    parse_signer,
    sign_jws,
)
from enforcer.core.statement import StoreName, StoreType
from enforcer.core.subject import Content, ImageName, bind_subject
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature
from enforcer.ports import AdmissionRequest, CacheError, PolicyInForce
from enforcer.weigher import HostRules
from enforcer.weigher.examiner import Examiner
from enforcer.weigher.host import weigh_by_host_policy
from tests.pki import NOW
from tests.unit.test_admission import CLAIM, DIFF_ID, MANIFEST, START, World, raising

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NAME = ImageName("app:1", "local/app")
ABOUT = MANIFEST.descriptor.digest
INDEX = Content(
    OCI_INDEX,
    json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": MANIFEST.media_type,
                    "digest": str(ABOUT),
                    "size": MANIFEST.descriptor.size,
                    "platform": {"os": "linux", "architecture": "amd64"},
                }
            ],
        }
    ).encode(),
)
WHY = {"since": "2026-05-01", "reason": "the build host was broken into"}
SINCE = "denied since 2026-05-01: the build host was broken into"
SIGNERS = ("acme", "qa", "wabbit")


@cache
def signer(name: str) -> Signer:
    key, chain, _ = generate_test_chain(name, at=NOW - 90 * DAY)
    return parse_signer(key, chain, at=NOW)


@cache
def signed_by(name: str, expiry_days: int | None = None) -> StoredSignature:
    # What is signed differs, as it does for people, who need some seconds each.
    at = NOW - 2 * DAY - len(name) * SECOND
    ends = None if expiry_days is None else NOW + timedelta(days=expiry_days - 2)
    raw = sign_jws(MANIFEST.descriptor, signer(name), at=at, expires_at=ends)
    return StoredSignature(Digest.of(raw), JWS_MEDIA_TYPE, raw)


def key(name: str) -> Digest:
    return key_digest(signer(name).chain.leaf)


def x509(store: str) -> dict[str, object]:
    return {"x509": {"trustStores": [f"ca:{store}"], "identities": ["*"]}}


def force(
    require: object = "acme", scope: str = "*", *, stores: bool = True, **more: object
) -> PolicyInForce:
    """A policy of one statement, `all`, and the trust stores of all signers."""
    document = {
        "apiVersion": "enforcer/v1",
        "signers": {name: x509(name) for name in SIGNERS},
        "always": {"anyOf": SIGNERS},
        "statements": [{"name": "all", "scopes": [scope], "require": require}],
        **more,
    }
    policy = parse_host_policy([("p.yaml", json.dumps(document).encode())])
    names = {n: StoreName(StoreType.CA, n) for n in SIGNERS if stores}
    found = {n: TrustStore(n, (signer(t).chain.der[-1],)) for t, n in names.items()}
    return PolicyInForce(policy, TrustStores(found))


@dataclass
class Host(World):
    """The world of the story's tests, with a time floor and a glass to break."""

    signatures: Sequence[StoredSignature] = ()
    force: PolicyInForce = field(default_factory=force)
    at: datetime = NOW
    floor: datetime | None = None
    broken: frozenset[Digest] = frozenset()

    def now(self) -> datetime:
        return self.at

    def load(self, chains: Sequence[AuthenticatedChain], at: datetime) -> Evidence:
        raise AssertionError((chains, at))  # no certificate here points anywhere

    def time_floor(self) -> datetime | None:
        self._step("time_floor")
        return self.floor

    def broken_for(self, digests: Collection[Digest]) -> str | None:
        self._step("broken_for")
        return "outage 4711" if self.broken & set(digests) else None

    def judge(
        self, request: AdmissionRequest = START, rules: HostRules | None = None
    ) -> DecisionRecord:
        story = Admission(
            rules=rules or HostRules(),
            engines=self,
            cache=self,
            policy=self,
            audit=self,
            clock=self,
            evidence=self,
            glass=self,
        )
        return story.judge(request, until=time.monotonic() + 60)

    def decide(self, *, max_signatures: int = 100) -> Decision:
        """Judge, and see that the record is of this decision."""
        record = self.judge(rules=HostRules(max_signatures=max_signatures))
        assert self.records[-1] == record
        return record.decision


def called(*repositories: str) -> dict[str, Any]:
    names = tuple(ImageName(f"{text}:1", text) for text in repositories)
    return {"claim": replace(CLAIM, names=names)}


def host(*signers: str, force: PolicyInForce | None = None, **more: Any) -> Host:
    found = Host(signatures=[signed_by(name) for name in signers])
    given = more if force is None else more | {"force": force}
    return replace(found, **given)


def exempting(until: datetime, digest: Digest = ABOUT, **more: object) -> PolicyInForce:
    entry = {
        "digest": str(digest),
        "role": "sandbox",
        "reason": "pause image",
        "until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
    }
    return force(exempt=[entry], **more)  # type: ignore[arg-type]  # as force


def denying(kind: str, digest: Digest, **more: object) -> PolicyInForce:
    return force(deny=[{kind: str(digest), **WHY}], **more)  # type: ignore[arg-type]


# -- the story ----------------------------------------------------------------------


def test_who_is_asked_for_signs_and_nobody_else_will_do() -> None:
    """The one way to a yes; everything below would pass by accident without it."""
    decision = host("acme").decide()

    assert (decision.allowed, decision.code) == (True, Code.ALLOWED)
    assert decision.message == ("app:1 is signed by acme, as statement all wants")
    assert [report.vouches_for for report in decision.signatures] == [("acme",)]
    for signers in ((), ("qa",), ("wabbit", "qa"), ("stranger",)):
        assert not host(*signers).decide().allowed


@pytest.mark.parametrize("signers", [("acme", "qa"), ("qa", "stranger", "acme")])
def test_signatures_add_up_whatever_lies_between_them(signers: Sequence[str]) -> None:
    """Scenario 9; a stranger's signature neither helps nor hurts."""
    both = force({"allOf": ["acme", "qa"]})

    assert host(*signers, force=both).decide().allowed
    assert not host(*signers[:-1], force=both).decide().allowed


# -- exemptions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "digest", [ABOUT, CLAIM.config_digest, INDEX.descriptor.digest]
)
def test_what_is_exempt_starts_until_its_end_and_not_at_it(digest: Digest) -> None:
    """By digest of index, manifest or configuration."""
    claim = replace(CLAIM, contents=(MANIFEST, INDEX))
    ends = NOW + SECOND

    before = host(force=exempting(ends, digest), claim=claim).decide()
    after = host(force=exempting(ends, digest), claim=claim, at=ends).decide()

    assert (before.allowed, before.code) == (True, Code.EXEMPT)
    assert before.message == (
        "app:1 is exempt until 2026-06-01T12:00:01Z (sandbox: pause image)"
    )
    assert (after.allowed, after.code) == (False, Code.UNSIGNED)
    assert after.message.endswith(
        "; statement all wants acme; its exemption ended 2026-06-01T12:00:01Z"
    )


def test_only_the_very_digest_is_exempt() -> None:
    """Not a layer's, nor a root file system that other images have, too."""
    for digest in (DIFF_ID, Digest.of(b"another image")):
        assert not host(force=exempting(NOW + DAY, digest)).decide().allowed


def test_an_ended_exemption_does_not_keep_a_signed_image_from_starting() -> None:
    decision = host("acme", force=exempting(NOW - DAY)).decide()

    assert (decision.allowed, decision.code) == (True, Code.ALLOWED)


def test_of_two_exemptions_the_longer_counts() -> None:
    """Whichever comes first in the files."""
    entries = [
        {"digest": str(ABOUT), "role": "x", "reason": "y", "until": until}
        for until in ("2026-05-01", "2026-07-01")
    ]
    for listed in (entries, entries[::-1]):
        assert host(force=force(exempt=listed)).decide().code is Code.EXEMPT


@pytest.mark.parametrize(
    ("floor", "allowed"), [(None, True), (NOW, True), (NOW + DAY, False)]
)
def test_a_clock_in_the_past_ends_no_exemption_late(
    floor: datetime | None, *, allowed: bool
) -> None:
    """Whoever sets the clock back gets no more of it: the floor has proof."""
    decision = host(force=exempting(NOW + DAY), floor=floor).decide()

    assert decision.allowed is allowed
    if not allowed:
        assert decision.message.endswith("; its exemption ended 2026-06-02T12:00:00Z")


def test_a_floor_in_the_past_lengthens_no_exemption() -> None:
    """It may only ever deny; also where the policy judges expiry by it."""
    for expiry in ("now", "floor"):
        policy = exempting(NOW - DAY, expiry=expiry)
        assert not host(force=policy, floor=NOW - 9 * DAY).decide().allowed


# -- deny lists ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "digest",
    [ABOUT, INDEX.descriptor.digest, CLAIM.config_digest, DIFF_ID],
    ids=["manifest", "index", "config", "chain id"],
)
def test_a_denied_image_wins_over_everything(digest: Digest) -> None:
    """Over a signature, an exemption and broken glass, each and all."""
    claim = replace(CLAIM, contents=(MANIFEST, INDEX))
    exemption = {
        "digest": str(ABOUT),
        "role": "x",
        "reason": "y",
        "until": "2027-01-01",
    }
    broken = frozenset({ABOUT, CLAIM.config_digest})

    for policy in (
        denying("image", digest),
        denying("image", digest, exempt=[exemption]),
    ):
        world = host("acme", force=policy, claim=claim, broken=broken)
        decision = world.decide()
        assert (decision.allowed, decision.code) == (False, Code.DENY_LISTED)
        assert decision.message == f"app:1 ({digest.short}) is {SINCE}"


def test_a_denied_image_is_denied_whatever_cannot_be_found_out() -> None:
    """No floor, no store, no cache: none of it is even asked."""
    world = host(
        force=denying("image", ABOUT, expiry="floor", stores=False),
        failing={
            name: raising(EnforcerError("gone", remedy="Mend it."))
            for name in ("time_floor", "broken_for", "signatures_about")
        },
    )

    assert world.decide().code is Code.DENY_LISTED


def test_another_images_entry_denies_nobody() -> None:
    assert host("acme", force=denying("image", Digest.of(b"x"))).decide().allowed


def test_a_denied_key_or_signature_is_as_good_as_none() -> None:
    """And a second signature by who is not denied still counts."""
    signed = host("acme").decide().signatures[0].signed
    assert signed is not None
    either = {"anyOf": ["acme", "qa"]}
    for kind, digest in (("key", key("acme")), ("signature", signed)):
        denied = host("acme", force=denying(kind, digest)).decide()
        assert (denied.allowed, denied.code) == (False, Code.DENY_LISTED)
        more = denying(kind, digest, require=either)
        assert host("acme", "qa", force=more).decide().allowed


# -- broken glass -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signers", "code"),
    [((), Code.UNSIGNED), (("qa",), Code.REQUIREMENT_UNMET)],
)
@pytest.mark.parametrize("digest", [ABOUT, CLAIM.config_digest])
def test_broken_glass_lets_through_and_says_what_it_hid(
    signers: Sequence[str], code: Code, digest: Digest
) -> None:
    """Its own code, the reports, and the refusal that there would have been."""
    denied = host(*signers).decide()
    decision = host(*signers, broken=frozenset({digest})).decide()

    assert denied.code is code
    assert (decision.allowed, decision.code) == (True, Code.BREAK_GLASS)
    assert decision.message == (
        "app:1 starts because root broke the glass (outage 4711); otherwise: "
        f"{denied.message} [{code}]"
    )
    assert decision.signatures == denied.signatures
    assert len(decision.signatures) == len(signers)
    assert decision.statement == "all"


def test_broken_glass_helps_where_signatures_cannot_be_read() -> None:
    """A damaged cache is an emergency, and no decision can be had from it."""
    damaged = CacheError("the cache is torn", remedy="Mend it.")
    failing = {"signatures_about": raising(damaged)}
    denied = host("acme", failing=failing).decide()
    decision = host("acme", failing=failing, broken=frozenset({ABOUT})).decide()

    assert (denied.allowed, denied.code) == (False, Code.CACHE_UNAVAILABLE)
    assert (decision.allowed, decision.code) == (True, Code.BREAK_GLASS)
    assert "otherwise: the cache is torn" in decision.message


def test_broken_glass_is_for_this_content_only() -> None:
    """Not for its layers, nor for what has the same root file system."""
    for digest in (Digest.of(b"another image"), DIFF_ID):
        assert not host(broken=frozenset({digest})).decide().allowed


def test_what_may_start_anyway_needs_no_broken_glass() -> None:
    """The record must not say that a rule was overridden when it was met."""
    broken = frozenset({ABOUT})

    assert host("acme", broken=broken).decide().code is Code.ALLOWED
    exempted = host(force=exempting(NOW + DAY), broken=broken)
    assert exempted.decide().code is Code.EXEMPT


# -- the time to judge by -----------------------------------------------------------


def test_without_proof_of_any_time_the_floor_cannot_be_judged_by() -> None:
    decision = host("acme", force=force(expiry="floor")).decide()

    assert (decision.allowed, decision.code) == (False, Code.TIME_UNKNOWN)
    assert decision.message == (
        "the policy says `expiry: floor`, and this host has no proof of any time yet. "
        "Run `enforcer cache sync`"
    )
    broken = host(force=force(expiry="floor"), broken=frozenset({ABOUT})).decide()
    assert broken.code is Code.BREAK_GLASS


@pytest.mark.parametrize(
    ("clock", "floor", "by_clock", "by_floor"),
    [
        (NOW, NOW - 2 * DAY, False, True),
        (NOW - 2 * DAY, NOW, True, False),
        (NOW, NOW, False, False),
    ],
)
def test_expiry_is_compared_with_the_time_the_policy_names(
    clock: datetime, floor: datetime, *, by_clock: bool, by_floor: bool
) -> None:
    """The signature was made two days before NOW and lived for one."""
    for expiry, allowed in (("now", by_clock), ("floor", by_floor)):
        world = host(force=force(expiry=expiry), at=clock, floor=floor)
        world.signatures = [signed_by("acme", 1)]
        decision = world.decide()
        assert decision.allowed is allowed
        assert decision.code is (Code.ALLOWED if allowed else Code.SIGNATURE_EXPIRED)


# -- names --------------------------------------------------------------------------


def test_of_two_names_one_that_is_covered_and_met_suffices() -> None:
    """Created from an id: each name the store has for it is tried."""
    policy = force(scope="local/app")

    for names in (("elsewhere.test/x", "local/app"), ("local/app", "elsewhere.test/x")):
        assert host("acme", force=policy, **called(*names)).decide().allowed
        denied = host("qa", force=policy, **called(*names)).decide()
        assert denied.code is Code.REQUIREMENT_UNMET
        assert denied.statement == "all"


def test_two_names_that_nothing_covers_are_refused() -> None:
    policy = force(scope="registry.test/*")
    names = called("local/a", "local/b")

    decision = host("acme", force=policy, **names).decide()

    assert (decision.allowed, decision.code) == (False, Code.NO_STATEMENT)
    assert decision.message == (
        f"no statement of the trust policy covers app:1 ({ABOUT.short}): none has the "
        "scope local/a or *"
    )


@pytest.mark.parametrize("scope", ["local/app", "local/*", "docker.io/*"])
def test_what_has_no_name_falls_under_no_scope_but_the_star(scope: str) -> None:
    """Created from a digest that nobody tagged."""
    nameless = called()

    assert host("acme", **nameless).decide().allowed
    assert not host("qa", **nameless).decide().allowed
    denied = host("acme", force=force(scope=scope), **nameless).decide()
    assert (denied.code, denied.message) == (
        Code.NO_STATEMENT,
        f"no statement of the trust policy covers app:1 ({ABOUT.short}): none has the "
        "scope *",
    )


def mirrored(of: str = "registry.test/*") -> PolicyInForce:
    statements = [
        {"name": "mirror", "scopes": ["mirror.test/hub/*"], "require": "qa"},
        {"name": "original", "scopes": ["registry.test/*"], "require": "acme"},
    ]
    mirrors = [{"prefix": "mirror.test/hub/*", "of": of}]
    return force(statements=statements, mirrors=mirrors)


def test_a_mirrored_name_must_meet_the_statements_of_both_names() -> None:
    """A mirror may add demands; it takes none away."""
    here = called("mirror.test/hub/app")
    policy = mirrored()

    assert host("acme", "qa", force=policy, **here).decide().allowed
    for signers, missing, statement in (
        (("qa",), "acme", "original"),
        (("acme",), "qa", "mirror"),
    ):
        decision = host(*signers, force=policy, **here).decide()
        assert decision.code is Code.REQUIREMENT_UNMET
        assert decision.statement == statement
        assert decision.message == (
            f"app:1 is validly signed by {signers[0]}, but statement {statement} wants "
            f"{missing}; missing: {missing}"
        )
    assert host("acme", force=policy, **called("registry.test/app")).decide().allowed


def test_a_mirror_of_what_no_statement_covers_is_refused() -> None:
    """Its own statement is not enough."""
    policy, here = mirrored("elsewhere.test/*"), called("mirror.test/hub/app")

    decision = host("acme", "qa", force=policy, **here).decide()

    assert decision.code is Code.NO_STATEMENT


# -- ports that fail ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "more"),
    [
        ("time_floor", {"force": force(expiry="floor")}),
        ("time_floor", {"force": exempting(NOW + DAY)}),
        ("broken_for", {}),
        ("signatures_about", {}),
    ],
)
@pytest.mark.parametrize(
    "error",
    [EnforcerError("torn", remedy="Mend it."), ValueError("x"), SystemExit(0)],
    ids=lambda error: type(error).__name__,
)
def test_a_port_that_raises_is_a_recorded_denial(
    step: str, more: dict[str, Any], error: BaseException
) -> None:
    """Law 1, also for ports that promise never to raise."""
    world = host(failing={step: raising(error)}, **more)

    decision = world.decide()

    assert (decision.allowed, decision.code) == (False, Code.INTERNAL)
    assert len(world.records) == 1


# -- budget -------------------------------------------------------------------------


def test_what_lies_behind_the_budget_is_not_counted() -> None:
    """Who fills the cache with signatures stops a start, and cannot make one."""
    signers = ("stranger", "qa", "acme")

    assert host(*signers).decide(max_signatures=3).allowed
    decision = host(*signers).decide(max_signatures=2)

    assert (decision.allowed, decision.code) == (False, Code.TOO_MANY_SIGNATURES)
    assert decision.message == (
        "app:1 has more signatures than one decision looks at, and the 2 that were "
        "looked at are not enough"
    )
    assert len(decision.signatures) == 2
    assert host(*signers[:2]).decide(max_signatures=2).code is Code.REQUIREMENT_UNMET


def test_when_the_time_is_over_nothing_more_is_verified() -> None:
    """MAX_SECONDS, over before the first signature."""
    world = host("acme")
    policy = world.force.policy
    assert isinstance(policy, HostPolicy)
    subject = bind_subject(CLAIM, ())

    def decide(seconds: float) -> Decision:
        examiner = Examiner(
            HostRules(), world, world, None, subject, world.force.stores, NOW,
            _until=time.monotonic() + seconds,
        )  # fmt: skip
        return weigh_by_host_policy(policy, examiner)

    late = decide(-1)

    assert decide(60).allowed
    assert (late.allowed, late.code) == (False, Code.TOO_MANY_SIGNATURES)
    assert late.message == (
        "app:1 has more signatures than one decision looks at, and the 0 that were "
        "looked at are not enough"
    )


# -- what people read ---------------------------------------------------------------


def test_unsigned() -> None:
    """The sentence a person sees most often."""
    for require, wants in (
        ("acme", "acme"),
        ({"allOf": ["acme", {"anyOf": ["qa", "wabbit"]}]}, "acme and (qa or wabbit)"),
        ({"atLeast": {"count": 2, "of": [*SIGNERS]}}, "2 of acme, qa, wabbit"),
    ):
        assert host(force=force(require)).decide().message == (
            f"app:1 is not signed: no signature about {ABOUT.short} is known on this "
            f"host; statement all wants {wants}"
        )


def test_a_strangers() -> None:
    """The only one who is meant: where it would have to chain to. Else: nobody's."""
    one = host("stranger").decide()
    several = host("stranger", force=force({"allOf": ["acme", "qa"]})).decide()
    two = host("stranger", "stranger-2").decide()

    assert {one.code, several.code, two.code} == {Code.WRONG_SIGNER}
    assert one.message == (
        'app:1 is refused: signed by "CN=stranger,O=enforcer test,ST=WA,C=US", which '
        'chains to no certificate in trust store "ca:acme" '
        "(CN=acme,O=enforcer test root,ST=WA,C=US); statement all wants acme"
    )
    assert several.message == (
        'app:1 is refused: signed by "CN=stranger,O=enforcer test,ST=WA,C=US", whom '
        "the policy does not know; statement all wants acme and qa"
    )
    assert "(1 more do not count either); statement all" in two.message


def test_validly_signed_but_not_for_here() -> None:
    """Scenario 8: a development image on a production host."""
    decision = host("wabbit").decide()
    both = host("wabbit", "qa", force=force({"allOf": ["acme", "qa"]})).decide()

    assert decision.code is both.code is Code.REQUIREMENT_UNMET
    assert decision.message == (
        "app:1 is validly signed by wabbit, but statement all wants acme; missing: acme"
    )
    assert both.message == (
        "app:1 is validly signed by qa, wabbit, but statement all wants acme and qa; "
        "missing: acme"
    )


def test_signed_by_too_few_distinct_keys() -> None:
    """One key never serves two names, however often it signs."""
    again = sign_jws(MANIFEST.descriptor, signer("acme"), at=NOW - DAY)
    both = {"allOf": ["acme", "acme-too"]}
    signers = {name: x509("acme") for name in both["allOf"]}
    world = host("acme", force=force(both, signers=signers, always="acme"))
    twice = StoredSignature(Digest.of(again), JWS_MEDIA_TYPE, again)
    world.signatures = [*world.signatures, twice]

    decision = world.decide()

    assert (decision.allowed, decision.code) == (False, Code.REQUIREMENT_UNMET)
    assert decision.message == (
        "app:1 is validly signed by acme, acme-too, but statement all wants acme and "
        "acme-too; no key counts twice, and there are too few"
    )


@pytest.mark.parametrize("signers", [(), ("acme",), ("acme", "stranger")])
def test_the_signature_of_who_is_missing_has_expired(signers: Sequence[str]) -> None:
    """Scenario 9: not "sign it", but "sign it again"."""
    world = host(*signers, force=force({"allOf": ["acme", "qa"]}))
    world.signatures = [signed_by("qa", 1), *world.signatures]

    decision = world.decide()

    assert (decision.allowed, decision.code) == (False, Code.SIGNATURE_EXPIRED)
    assert decision.message == (
        "app:1 is refused: statement all wants acme and qa, and a signature that is "
        "meant does not count: expiry check: the signature expired at "
        "2026-05-31T12:00:00Z"
    )


def test_a_missing_trust_store() -> None:
    """Not the signer's fault, and the remedy is in the text."""
    decision = host("acme", force=force(stores=False)).decide()

    assert (decision.allowed, decision.code) == (False, Code.TRUST_STORE_MISSING)
    assert decision.message == (
        'app:1 is refused: authenticity check: trust store "ca:acme" is missing or '
        "empty. Run `enforcer trust add --type ca --store acme FILE` with the "
        "certificate of the CA; statement all wants acme"
    )


def test_a_denied_key() -> None:
    """Why and since when, as the administrator wrote it."""
    found = key("acme")

    decision = host("acme", force=denying("key", found)).decide()

    assert (decision.allowed, decision.code) == (False, Code.DENY_LISTED)
    assert decision.message == (
        "app:1 is refused: statement all wants acme, and a signature that is meant "
        'does not count: signed by "CN=acme,O=enforcer test,ST=WA,C=US", whose chain '
        f"has the key {found.short}, {SINCE}"
    )


def test_what_holds_for_every_name_is_told_as_that() -> None:
    """`always` has no name of its own to look for."""
    decision = host("wabbit", force=force("wabbit", always="acme")).decide()

    assert decision.message == (
        "app:1 is validly signed by wabbit, but the policy always wants acme; "
        "missing: acme"
    )
