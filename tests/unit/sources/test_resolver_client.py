"""What enforcerd believes of the resolver: bounded bytes, in time, from root."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import ttrpc
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.subject import Claim, Content, ImageMount, ImageName
from enforcer.ports import BuildStep, ContainerRef, EngineError, ImageRef
from enforcer.sources.resolver import ResolverClient, wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb
from tests.enforcerd import somebody_answering
from tests.unit.sources.serving import Serve, hang_up, raw, serving, silence

CONTAINER = ContainerRef("c1", "/run/c/task/default/c1", "/run/runc", "create", 7)
IMAGE = ImageRef("/var/lib/docker", "", "app:1")
SECONDS = 0.6  # for a resolver that never ends its answer
PATIENT_SECONDS = 30.0  # for one that answers, on a busy machine
LATE_SECONDS = 4.0  # within which a busy machine gives up; a hung one takes longer


def claim(*mounts: ImageMount) -> Claim:
    return Claim(
        "app:1",
        (ImageName("app:1", "local/app"),),
        Digest.of(b"{}"),
        b"{}",
        Digest.of(b"root"),
        (Content("application/vnd.oci.image.manifest.v1+json", b"\0\xff"),),
        mounts,
    )


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        yield Path(folder) / "resolver.sock"


def answers(*replies: bytes, kind: int = ttrpc.RESPONSE) -> Serve:
    """Answer each question of a connection with the next of these, then hang up."""

    def turn(connection: socket.socket) -> None:
        for reply in replies:
            if not connection.recv(65536):
                return
            payload = ttrpc.encode_response(reply)
            connection.sendall(ttrpc.encode_frame(ttrpc.Frame(1, kind, payload)))

    return turn


def good(found: Claim | BuildStep) -> bytes:
    return wire.result(wire.resolved_message(found))


def refused(path: Path, seconds: float = PATIENT_SECONDS) -> EngineError:
    client = ResolverClient(path, seconds=seconds)
    started = time.monotonic()
    with contextlib.closing(client), pytest.raises(EngineError) as caught:
        client.resolve(CONTAINER)
    assert time.monotonic() - started < seconds + LATE_SECONDS
    return caught.value


def test_says_what_the_resolver_says(path: Path) -> None:
    """Every member arrives, with the images of mounts."""
    whole = claim(ImageMount("/data", (claim(), claim())))

    with serving(path, answers(good(whole), good(BuildStep("RUN step x")))):
        client = ResolverClient(path, seconds=PATIENT_SECONDS)
        found = client.resolve(CONTAINER)
        step = client.resolve(CONTAINER)
        client.close()

    assert found == whole
    assert step == BuildStep("RUN step x")


def test_asks_again_on_the_connection_it_has(path: Path) -> None:
    """A connection costs more than a question."""
    with serving(path, answers(*[good(claim())] * 5)) as served:
        client = ResolverClient(path, seconds=PATIENT_SECONDS)
        for _ in range(5):
            assert client.resolve_image(IMAGE) == claim()
        client.close()

    assert len(served) == 1


def test_a_resolver_that_was_replaced_costs_nobody_a_start(path: Path) -> None:
    """Connections of the old one are dead, and some hang up on the first question."""
    one = answers(good(claim()))

    with serving(path, one, hang_up, hang_up, one, one) as served:
        client = ResolverClient(path, seconds=PATIENT_SECONDS)
        for _ in range(3):
            assert client.resolve(CONTAINER) == claim()
        client.close()

    assert len(served) == 5


def test_an_error_of_the_resolver_is_the_one_there(path: Path) -> None:
    """Code, what and remedy are what the operator needs; escapes are not."""
    error = EngineError("no \x1b[31mrecord", remedy="Do X.", code=Code.NO_IMAGE)

    with serving(path, answers(wire.failure(error))):
        found = refused(path)

    assert (found.code, found.what, found.remedy) == (
        Code.NO_IMAGE,
        "no \\x1b[31mrecord",
        "Do X.",
    )


def test_without_a_resolver_it_is_refused(path: Path) -> None:
    """ENF-1113, at once: a socket unit would have queued the question."""
    assert refused(path).code is Code.RESOLVER_UNREACHABLE


def test_a_silent_resolver_is_refused_in_time(path: Path) -> None:
    """ENF-1114, before the decision's own deadline."""
    with serving(path, silence):
        assert refused(path, SECONDS).code is Code.RESOLVER_SILENT


def test_a_resolver_that_always_hangs_up_is_refused_in_time(path: Path) -> None:
    """Asking again is bounded by the deadline."""
    with serving(path, hang_up) as served:
        code = refused(path, 2).code

    assert code in (Code.RESOLVER_UNREACHABLE, Code.RESOLVER_SILENT)  # as it ends
    assert len(served) > 1


def drip(connection: socket.socket) -> None:
    """Send an answer so slowly that each wait is short, and all of it for ever."""
    connection.recv(65536)
    for byte in ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, bytes(5000))):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def test_an_answer_that_drips_is_refused_in_time(path: Path) -> None:
    """The deadline is the answer's, not each read's."""
    with serving(path, drip):
        assert refused(path, SECONDS).code is Code.RESOLVER_SILENT


def _resolved(**members: object) -> bytes:
    claim_ = pb.Claim(config_digest=str(Digest.of(b"")))
    for name, value in members.items():
        if isinstance(value, list):
            getattr(claim_, name).extend(value)
        else:
            setattr(claim_, name, value)
    return wire.result(pb.Resolved(claim=claim_))


_NAME = pb.Name(shown="a", repository="a")

GARBLED = {
    "no frame": raw(b"GET / HTTP/1.1\r\n\r\n"),
    "a frame larger than is taken": raw(b"\x7f\xff\xff\xff\0\0\0\x01\x02\0"),
    "a request": answers(good(claim()), kind=ttrpc.REQUEST),
    "two answers": raw(
        2 * ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, good(claim())))
    ),
    "another question's": raw(
        ttrpc.encode_frame(ttrpc.Frame(3, ttrpc.RESPONSE, good(claim())))
    ),
    "a failure of ttrpc": raw(
        ttrpc.encode_frame(
            ttrpc.Frame(1, ttrpc.RESPONSE, ttrpc.encode_failure(12, "no"))
        )
    ),
    "no reply": answers(b"\xff\xff\xff"),
    "an empty reply": answers(b""),
    "no result": answers(pb.Reply(result=b"\xff\xff").SerializeToString()),
    "a code of another version": answers(
        pb.Reply(failure=pb.Failure(code="ENF-9999")).SerializeToString()
    ),
    "an image and a build step": answers(
        wire.result(pb.Resolved(claim=pb.Claim(), build_step="x"))
    ),
    "no digest": answers(_resolved(config_digest="../../etc")),
    "a root that is no digest": answers(_resolved(rootfs="x")),
    "too many names": answers(_resolved(names=[_NAME] * (wire.MAX_NAMES + 1))),
    "too many contents": answers(
        _resolved(contents=[pb.Content()] * (wire.MAX_CONTENTS + 1))
    ),
    "a name with an escape": answers(_resolved(names=[pb.Name(repository="a\x1b[2J")])),
    "a name that is none": answers(_resolved(names=[pb.Name()])),
    "a mount of no image": answers(
        wire.result(
            pb.Resolved(
                claim=pb.Claim(config_digest=str(Digest.of(b""))), mounts=[pb.Mount()]
            )
        )
    ),
}


@pytest.mark.parametrize("what", GARBLED)
def test_what_makes_no_sense_is_refused(what: str, path: Path) -> None:
    """ENF-1115, whatever a resolver that was taken over sends."""
    with serving(path, GARBLED[what]):
        found = refused(path)

    assert found.code is Code.RESOLVER_GARBLED
    assert str(path) in found.what


def test_a_build_step_is_no_image_at_rest(path: Path) -> None:
    """`builds: allow` must not let a name through."""
    client = ResolverClient(path, seconds=PATIENT_SECONDS)
    with (
        serving(path, answers(good(BuildStep("x")))),
        contextlib.closing(client),
        pytest.raises(EngineError) as caught,
    ):
        client.resolve_image(IMAGE)

    assert caught.value.code is Code.RESOLVER_GARBLED


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_somebody_elses_socket_is_refused(path: Path) -> None:
    """Whoever could put one there would say what runs."""
    payload = ttrpc.encode_response(good(claim()))
    with somebody_answering(
        path, ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, payload))
    ):
        found = refused(path)

    assert found.code is Code.RESOLVER_UNTRUSTED


def test_an_answer_larger_than_is_taken_is_a_failure() -> None:
    """Said by the resolver, so that enforcerd need not guess."""
    huge = Content("x", bytes(wire.MAX_ANSWER_BYTES))
    answer = wire.result(
        wire.resolved_message(
            Claim("a", (), Digest.of(b""), b"", None, (huge,)),
        )
    )

    with pytest.raises(EngineError) as caught:
        wire.parse_reply(answer)
    assert caught.value.code is Code.TOO_LARGE


@given(st.binary(max_size=200))
def test_hostile_bytes_are_errors_of_ours(data: bytes) -> None:
    """Nothing else may cross the port."""
    readers: list[Callable[[bytes], object]] = [
        wire.parse_reply,
        wire.parse_resolved,
        wire.parse_container,
        wire.parse_image,
    ]
    for read in readers:
        with contextlib.suppress(EnforcerError):
            read(data)
