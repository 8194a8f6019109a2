"""Who may ask about what, and what a door gets to pin."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from enforcer.api import wire
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.record import DecisionRecord
from enforcer.core.subject import Subject
from enforcer.ports import Act, AdmissionRequest, ContainerRef, ImageRef
from enforcer.weigher import denial

IMAGE = pb.Image(engine_root="/var/lib/containerd", namespace="k8s.io", name="app:1")
CONTAINER = pb.Container(id="c1", bundle="/b", runtime_root="/r", command="create")
ACT = pb.Act(what="POST /build", code="ENF-1106", message="a build\nis refused")
INDEX, MANIFEST, CONFIG, CHAIN = (Digest.of(bytes([n])) for n in range(4))
RECORD = DecisionRecord(
    id="06H0TV5FA12N",
    decision=denial(Code.UNSIGNED, "app:1 is not signed"),
    asked_by="cri",
    reference="app:1",
    container="",
    subject=Subject("app:1", (), (), INDEX, MANIFEST, CONFIG, CHAIN),
    mode="enforce",
    policy=None,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    duration_ms=1,
)


def _asked(message: pb.VerifyRequest) -> AdmissionRequest:
    return wire.parse_root_request(message.SerializeToString(), peer_pid=7)


def test_root_asks_about_an_image_in_a_store() -> None:
    """Which door it was is kept for the audit log."""
    asked = _asked(pb.VerifyRequest(asked_by="cri", image=IMAGE))

    ref = ImageRef("/var/lib/containerd", "k8s.io", "app:1")
    assert asked == AdmissionRequest("cri", image=ref)


def test_the_gate_asks_about_a_container_as_before() -> None:
    """Only its peer says which process that is."""
    asked = _asked(pb.VerifyRequest(asked_by="somebody", container=CONTAINER))

    ref = ContainerRef("c1", "/b", "/r", "create", 7)
    assert asked == AdmissionRequest("gate", container=ref)


@pytest.mark.parametrize(
    ("reference", "digest"),
    [("app:1", str(MANIFEST)), ("app:1", ""), ("", str(MANIFEST))],
)
def test_a_door_asks_about_a_name_and_digest(reference: str, digest: str) -> None:
    """As the verifier of pulls does; half of it is admission's to refuse, on record."""
    asked = _asked(
        pb.VerifyRequest(asked_by="bindir", reference=reference, digest=digest)
    )

    assert asked == AdmissionRequest("bindir", reference, digest)


def test_a_door_says_what_it_would_refuse() -> None:
    """What it writes for people becomes one line: its caller had a hand in it."""
    asked = _asked(pb.VerifyRequest(asked_by="authz", act=ACT))

    act = Act("POST /build", Code.BUILD_REFUSED, "a build\\nis refused")
    assert asked == AdmissionRequest("authz", act=act)


def test_what_names_several_things_reaches_admission_whole() -> None:
    """Admission refuses it on record; dropping one of them would be a guess."""
    asked = _asked(
        pb.VerifyRequest(reference="a", digest="b", container=CONTAINER, image=IMAGE)
    )

    assert asked.container
    assert asked.image
    assert (asked.reference, asked.untrusted_digest) == ("a", "b")


@pytest.mark.parametrize(
    "message",
    [
        pb.VerifyRequest(),
        pb.VerifyRequest(asked_by="bindir"),
        pb.VerifyRequest(container=pb.Container(id="c1", bundle="relative")),
        pb.VerifyRequest(container=pb.Container(bundle="/b"), image=IMAGE),
        pb.VerifyRequest(act=pb.Act(what="POST /build", code="ENF-0000")),
        pb.VerifyRequest(act=pb.Act(what="POST /build")),
    ],
)
def test_a_question_about_nothing_is_refused(message: pb.VerifyRequest) -> None:
    """Nor is there a container without an id and a bundle."""
    with pytest.raises(MalformedError):
        _asked(message)


@pytest.mark.parametrize(
    "message",
    [
        pb.VerifyRequest(image=IMAGE),
        pb.VerifyRequest(container=CONTAINER),
        pb.VerifyRequest(act=ACT),
    ],
)
def test_only_root_asks_about_what_an_engine_keeps(message: pb.VerifyRequest) -> None:
    """Resolving reads root's files and the engine's socket."""
    message.reference = "app:1"
    message.digest = str(MANIFEST)

    with pytest.raises(MalformedError) as caught:
        wire.parse_name_request(message)

    assert str(caught.value) == (
        "containers, images of an engine, acts and pulls are for ask.sock only. "
        "Give reference and digest. [ENF-1110]"
    )


def test_an_answer_carries_the_digests_that_were_judged() -> None:
    """A door pins them: what starts later has to be this."""
    answer = wire.short_answer(RECORD)

    assert (answer.subject.index, answer.subject.manifest) == (
        str(INDEX),
        str(MANIFEST),
    )
    assert (answer.subject.config, answer.subject.chain_id) == (str(CONFIG), str(CHAIN))
    assert (answer.allowed, answer.code, answer.reference) == (
        False,
        "ENF-1001",
        "app:1",
    )


def test_an_answer_about_nothing_found_has_no_digests() -> None:
    """So that nobody pins an empty string by mistake."""
    assert not wire.short_answer(replace(RECORD, subject=None)).HasField("subject")
