"""The story's laws: whatever goes wrong anywhere is a denial with a code, recorded.

The ports are stand-ins that fail on demand; the judgement behind them is the real one,
over a real signature.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn

import pytest

from enforcer.admission import Admission
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import (
    OCI_CONFIG,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    image_manifest_bytes,
)
from enforcer.core.policy import parse_trust_policy
from enforcer.core.record import DecisionRecord, audit_json
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.signing import generate_test_chain, parse_signer, sign_jws
from enforcer.core.statement import StoreName, StoreType
from enforcer.core.subject import Claim, Content, ImageMount, ImageName
from enforcer.core.truststore import TrustStore, TrustStores, parse_store_file
from enforcer.core.verify import StoredSignature
from enforcer.ports import (
    Act,
    AdmissionRequest,
    AuditError,
    BuildStep,
    CacheError,
    ContainerRef,
    EngineError,
    ImageRef,
    PolicyInForce,
)
from enforcer.weigher import HostRules
from tests.pki import NOW

DIFF_ID = Digest.of(b"layer")
CONFIG = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [str(DIFF_ID)]},
    }
).encode()
MANIFEST = Content(
    OCI_MANIFEST,
    image_manifest_bytes(
        Descriptor.of(OCI_CONFIG, CONFIG), [Descriptor.of(OCI_LAYER_TAR, b"layer")]
    ),
)
NAMES = (ImageName("app:1", "local/app"),)
CLAIM = Claim("app:1", NAMES, Digest.of(CONFIG), CONFIG, DIFF_ID, (MANIFEST,))
START = AdmissionRequest("gate", container=ContainerRef("c1", "/b", "/r", "create"))
IMAGE = ImageRef("/var/lib/docker", "", "app:1")
AT_REST = AdmissionRequest("cri", image=IMAGE)
STORE = StoreName(StoreType.CA, "acme")

KEY, CHAIN, ROOT = generate_test_chain("acme.test", at=NOW)
ENVELOPE = sign_jws(MANIFEST.descriptor, parse_signer(KEY, CHAIN, at=NOW), at=NOW)
SIGNATURE = StoredSignature(Digest.of(ENVELOPE), JWS_MEDIA_TYPE, ENVELOPE)


def policy(level: str = "strict", scope: str = "*") -> PolicyInForce:
    statement: dict[str, object] = {
        "name": "all",
        "registryScopes": [scope],
        "signatureVerification": {"level": level},
    }
    if level != "skip":
        statement |= {"trustStores": ["ca:acme"], "trustedIdentities": ["*"]}
    document = {"version": "1.0", "trustPolicies": [statement]}
    anchors = parse_store_file(ROOT, store=STORE, file_name="acme.crt")
    return PolicyInForce(
        parse_trust_policy(json.dumps(document).encode()),
        TrustStores({STORE: TrustStore(STORE, tuple(anchors))}),
    )


@dataclass
class World:
    """Every port at once: answers well unless told to fail."""

    claim: Claim | BuildStep = CLAIM
    contents: Sequence[Content] = (MANIFEST,)
    signatures: Sequence[StoredSignature] = (SIGNATURE,)
    force: PolicyInForce = field(default_factory=policy)
    failing: dict[str, Callable[[], NoReturn]] = field(default_factory=dict)
    records: list[DecisionRecord] = field(default_factory=list)
    slow_seconds: float = 0

    def resolve(self, container: ContainerRef) -> Claim | BuildStep:
        self._step("resolve")
        return self.claim

    def resolve_image(self, image: ImageRef) -> Claim:
        self._step("resolve_image")
        assert isinstance(self.claim, Claim)
        return self.claim

    def manifest(self, digest: Digest) -> Content | None:
        self._step("manifest")
        found = [c for c in self.contents if c.descriptor.digest == digest]
        return found[0] if found else None

    def manifests_about(
        self, config: Digest, manifests: Collection[Digest]
    ) -> Sequence[Content]:
        self._step("manifests_about")
        return self.contents

    def signatures_about(
        self,
        targets: Collection[Descriptor],
        *,
        trusted: Collection[Digest],
        limit: int,
    ) -> tuple[Iterator[StoredSignature], bool]:
        self._step("signatures_about")
        return iter(self.signatures[:limit]), len(self.signatures) > limit

    def current(self) -> PolicyInForce:
        self._step("current")
        return self.force

    def append(self, record: DecisionRecord) -> None:
        self._step("append")
        self.records.append(record)

    def now(self) -> datetime:
        return NOW

    def new_id(self) -> str:
        return f"id-{len(self.records)}"

    def judge(
        self, request: AdmissionRequest = START, rules: HostRules | None = None
    ) -> DecisionRecord:
        until = time.monotonic() + 5 - self.slow_seconds
        return self.admission(rules).judge(request, until=until)

    def admission(self, rules: HostRules | None = None) -> Admission:
        return Admission(
            rules=rules or HostRules(),
            engines=self,
            cache=self,
            policy=self,
            audit=self,
            clock=self,
        )

    def _step(self, name: str) -> None:
        if name in self.failing:
            self.failing[name]()


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def test_a_signed_image_may_start_and_is_recorded_first() -> None:
    """The one way to a yes; everything below is a way it could go wrong."""
    world = World()

    record = world.judge()

    assert record.decision.allowed
    assert record.decision.code is Code.ALLOWED
    assert world.records == [record]
    assert record.subject is not None
    assert record.subject.manifest == MANIFEST.descriptor.digest


STEPS = ("resolve", "manifests_about", "signatures_about", "current")
KNOWN = [
    EngineError("the engine is gone", remedy="Start it."),
    CacheError("the cache is torn", remedy="Mend it."),
    EnforcerError("something", remedy="Do something."),
]
UNKNOWN = [
    ValueError("x"),
    RecursionError(),
    MemoryError(),
    SystemExit(0),
    KeyboardInterrupt(),
    GeneratorExit(),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [*KNOWN, *UNKNOWN], ids=lambda e: type(e).__name__)
def test_whatever_fails_wherever_is_a_recorded_denial(
    step: str, error: BaseException
) -> None:
    """Law 1. A SystemExit must not end the daemon, nor leave a caller hanging."""
    world = World(failing={step: raising(error)})

    record = world.judge()

    assert not record.decision.allowed
    expected = error.code if isinstance(error, EnforcerError) else Code.INTERNAL
    assert record.decision.code is expected
    assert world.records == [record]


@pytest.mark.parametrize(
    "error",
    [AuditError("disk full", remedy="Free it."), OSError(28, "full"), SystemExit(0)],
    ids=lambda e: type(e).__name__,
)
def test_what_cannot_be_recorded_is_not_allowed(error: BaseException) -> None:
    """Law 7."""
    world = World(failing={"append": raising(error)})

    record = world.judge()

    assert not record.decision.allowed
    assert record.decision.code is Code.AUDIT_UNAVAILABLE


def test_a_denial_that_cannot_be_recorded_keeps_its_own_reason() -> None:
    """The disk is not why an unsigned image is refused."""
    world = World(
        signatures=(), failing={"append": raising(AuditError("full", remedy="Free."))}
    )

    assert world.judge().decision.code is Code.UNSIGNED


def test_an_allow_that_comes_too_late_is_a_denial() -> None:
    """The gate has refused by then; the log must not say otherwise."""
    world = World(slow_seconds=10)

    record = world.judge()

    assert record.decision.code is Code.DEADLINE
    assert not world.records[0].decision.allowed


def test_an_unsigned_image_is_refused_and_told_so() -> None:
    """The sentence a person sees most often."""
    record = World(signatures=()).judge()

    assert record.decision.code is Code.UNSIGNED
    assert record.decision.message == (
        f"app:1 is not signed: no signature about {MANIFEST.descriptor.digest.short} "
        "is known on this host"
    )


OTHER = CONFIG.replace(b"amd64", b"arm64")  # of the same layers, and signed by nobody
UNSIGNED = Claim(
    "other:1 mounted at /x", NAMES, Digest.of(OTHER), OTHER, DIFF_ID, (), ()
)


def test_a_mounted_image_nobody_signed_is_refused_whatever_runs() -> None:
    """The sentence names the image and the place; the record is about that image."""
    world = World(claim=replace(CLAIM, mounts=(ImageMount("/x", (UNSIGNED,)),)))

    record = world.judge()

    assert not record.decision.allowed
    assert record.reference == "other:1 mounted at /x"
    assert record.subject is not None
    assert record.subject.config == Digest.of(OTHER)
    assert world.records == [record]


def test_a_mount_is_vouched_for_by_any_image_of_exactly_its_files() -> None:
    """It has no configuration: only the files are seen, and those are signed."""
    same = ImageMount("/x", (UNSIGNED, replace(CLAIM, shown="app:1 mounted at /x")))

    record = World(claim=replace(CLAIM, mounts=(same,))).judge()

    assert record.decision.allowed
    assert record.reference == "app:1"
    assert "; app:1 mounted at /x is signed by" in record.decision.message


def test_a_mount_without_any_image_is_a_denial() -> None:
    """Nothing to judge is no yes."""
    record = World(claim=replace(CLAIM, mounts=(ImageMount("/x", ()),))).judge()

    assert record.decision.code is Code.INTERNAL


def test_a_signature_about_other_content_does_not_count() -> None:
    """Even when the cache offers it for this image."""
    other = Descriptor.of(OCI_MANIFEST, b"other")
    envelope = sign_jws(other, parse_signer(KEY, CHAIN, at=NOW), at=NOW)
    stranger = StoredSignature(Digest.of(envelope), JWS_MEDIA_TYPE, envelope)

    record = World(signatures=(stranger,)).judge()

    assert record.decision.code is Code.WRONG_CONTENT


def test_a_bad_signature_does_not_veto_a_good_one() -> None:
    """Anyone can add garbage to a registry; that must not stop a deployment."""
    garbage = StoredSignature(Digest.of(b"{"), JWS_MEDIA_TYPE, b"{")

    assert World(signatures=(garbage, SIGNATURE)).judge().decision.allowed


def test_no_more_signatures_are_looked_at_than_the_bound() -> None:
    """Ten thousand signatures are a bound's work, not an outage's."""
    garbage = [
        StoredSignature(Digest.of(raw), JWS_MEDIA_TYPE, raw)
        for raw in (str(n).encode() for n in range(200))
    ]

    record = World(signatures=garbage).judge()

    assert record.decision.code is Code.TOO_MANY_SIGNATURES
    assert len(record.decision.signatures) == 100


def test_no_more_bytes_are_looked_at_than_the_bound() -> None:
    """Three envelopes of nearly the largest size are a bound's work, too."""
    large = [
        StoredSignature(Digest.of(raw), JWS_MEDIA_TYPE, raw)
        for raw in (bytes([number]) * (30 * 1024 * 1024) for number in range(3))
    ]

    record = World(signatures=large).judge()

    assert record.decision.code is Code.TOO_MANY_SIGNATURES
    assert len(record.decision.signatures) == 2


def test_signatures_after_a_good_one_are_not_even_read() -> None:
    """A thousand signatures on one image cost what one costs, if the first is good."""
    world = World()
    read: list[StoredSignature] = []

    def reading() -> Iterator[StoredSignature]:
        for signature in (SIGNATURE, SIGNATURE, SIGNATURE):
            read.append(signature)
            yield signature

    world.signatures_about = (  # type: ignore[method-assign]
        lambda *_, **__: (reading(), True)
    )

    assert world.judge().decision.allowed
    assert len(read) == 1


@pytest.mark.parametrize("level", ["permissive", "audit", "skip"])
def test_a_laxer_level_is_refused_until_root_names_it(level: str) -> None:
    """A policy file alone must not turn verification off."""
    scope = "local/app" if level == "skip" else "*"
    world = World(force=policy(level, scope), signatures=())

    assert world.judge().decision.code is Code.LEVEL_NOT_ALLOWED
    named = world.judge(rules=HostRules(allowed_levels=frozenset({level})))
    assert named.decision.code is (Code.SKIPPED if level == "skip" else Code.UNSIGNED)


def test_a_name_without_a_statement_is_refused() -> None:
    """No match is no start."""
    record = World(force=policy(scope="registry.acme.test/app")).judge()

    assert record.decision.code is Code.NO_STATEMENT


def test_of_several_names_of_one_image_one_that_allows_suffices() -> None:
    """An image started by its id is judged under each name the store has for it."""
    names = (ImageName("x", "elsewhere.test/x"), ImageName("app:1", "local/app"))
    world = World(claim=replace(CLAIM, names=names), force=policy(scope="local/app"))

    assert world.judge().decision.allowed
    assert (
        not World(
            claim=replace(CLAIM, names=names[:1]), force=policy(scope="local/app")
        )
        .judge()
        .decision.allowed
    )


def test_an_image_without_a_name_falls_under_the_global_statement_only() -> None:
    """Created from a digest nobody tagged."""
    nameless = replace(CLAIM, names=())

    assert World(claim=nameless).judge().decision.allowed
    assert (
        not World(claim=nameless, force=policy(scope="local/app"))
        .judge()
        .decision.allowed
    )


def test_build_steps_follow_the_switch_and_are_recorded() -> None:
    """The refusal names the switch; the allow says it was the switch."""
    world = World(claim=BuildStep("RUN step x of an image build"))

    denied = world.judge()
    allowed = world.judge(rules=HostRules(builds_allowed=True))

    assert denied.decision.code is Code.BUILD_REFUSED
    assert "builds: allow" in denied.decision.message
    assert (allowed.decision.allowed, allowed.decision.code) == (
        True,
        Code.BUILD_ALLOWED,
    )
    assert world.records == [denied, allowed]


def test_a_name_with_a_digest_is_judged_from_the_cache_alone() -> None:
    """What any local program may ask over gRPC."""
    digest = str(MANIFEST.descriptor.digest)
    world = World()

    assert world.judge(AdmissionRequest("grpc", "app:1", digest)).decision.allowed
    unknown = AdmissionRequest("grpc", "app:1", str(Digest.of(b"unknown")))
    world.signatures = ()
    assert world.judge(unknown).decision.code is Code.UNSIGNED


def test_an_image_at_rest_is_judged_as_a_container_of_it_would_be() -> None:
    """The record says which door asked, and about what."""
    world = World(claim=replace(CLAIM, rootfs=None))

    allowed = world.judge(AT_REST)
    world.signatures = ()
    denied = world.judge(AT_REST)

    assert allowed.decision.allowed
    assert (allowed.asked_by, allowed.reference, allowed.container) == (
        "cri",
        "app:1",
        "",
    )
    assert allowed.subject is not None
    assert allowed.subject.manifest == MANIFEST.descriptor.digest
    assert denied.decision.code is Code.UNSIGNED
    assert world.records == [allowed, denied]


@pytest.mark.parametrize("error", [*KNOWN, *UNKNOWN], ids=lambda e: type(e).__name__)
def test_an_image_the_engine_cannot_name_is_a_recorded_denial(
    error: BaseException,
) -> None:
    """Law 1, for images at rest."""
    world = World(failing={"resolve_image": raising(error)})

    record = world.judge(AT_REST)

    expected = error.code if isinstance(error, EnforcerError) else Code.INTERNAL
    assert (record.decision.allowed, record.decision.code) == (False, expected)
    assert record.reference == "app:1"
    assert world.records == [record]


def test_what_a_door_refuses_by_itself_is_recorded_with_its_reason() -> None:
    """A denial is never silent, whichever process decided it."""
    world = World()
    act = Act("POST /plugins/pull", Code.DOCKER_PLUGIN, "Docker plug-ins are refused")

    record = world.judge(AdmissionRequest("authz", act=act))

    assert (record.decision.allowed, record.decision.code) == (False, act.code)
    assert record.decision.message == act.message
    assert (record.asked_by, record.reference) == ("authz", act.shown)
    assert world.records == [record]


def test_a_build_that_a_door_would_refuse_follows_the_switch() -> None:
    """`builds` is in enforcer.yaml, which doors do not read."""
    world = World()
    act = Act("docker build", Code.BUILD_REFUSED, "builds are refused")
    request = AdmissionRequest("authz", act=act)

    denied = world.judge(request)
    allowed = world.judge(request, HostRules(builds_allowed=True))

    assert (denied.decision.allowed, denied.decision.code) == (False, act.code)
    assert "builds: allow" in denied.decision.message
    assert (allowed.decision.allowed, allowed.decision.code) == (
        True,
        Code.BUILD_ALLOWED,
    )


@pytest.mark.parametrize(
    "request_",
    [
        AdmissionRequest("x"),
        replace(AT_REST, act=Act("POST /build", Code.BUILD_REFUSED, "a build")),
        replace(START, image=IMAGE),
        replace(START, reference="app:1"),
        replace(AT_REST, reference="app:1"),
        replace(AT_REST, untrusted_digest=str(MANIFEST.descriptor.digest)),
        replace(START, image=IMAGE, reference="app:1", untrusted_digest="x"),
    ],
)
def test_a_question_about_more_or_less_than_one_thing_is_refused(
    request_: AdmissionRequest,
) -> None:
    """Else a door might believe the answer was about the other thing it named."""
    world = World()

    record = world.judge(request_)

    assert record.decision.code is Code.INPUT_MALFORMED
    assert record.decision.message == (
        "the question is not about exactly one thing. "
        "Name a container, an image, an act, or a reference and digest"
    )
    assert world.records == [record]


@pytest.mark.parametrize(
    ("reference", "digest", "code"),
    [
        ("app:\x1b[31m", str(DIFF_ID), Code.REFERENCE_INVALID),
        ("", str(DIFF_ID), Code.REFERENCE_INVALID),
        ("app:1", "latest", Code.INPUT_MALFORMED),
        ("app:1", "", Code.INPUT_MALFORMED),
        ("x" * 10**6, str(DIFF_ID), Code.REFERENCE_INVALID),
    ],
)
def test_a_hostile_name_is_refused_and_recorded_harmlessly(
    reference: str, digest: str, code: Code
) -> None:
    """Names are chosen by whoever starts a container."""
    world = World()

    record = world.judge(AdmissionRequest("grpc", reference, digest))

    assert record.decision.code is code
    line = json.dumps(audit_json(world.records[0]))
    assert line.isprintable()
    assert len(line) < 5000
