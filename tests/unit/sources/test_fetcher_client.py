"""What is believed of the fetcher: bounded bytes, in time, of the digest asked for."""

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
from enforcer.core.collected import (
    Collected,
    EvidenceFile,
    Refused,
    SignatureFile,
)
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import Item, Slot
from enforcer.core.fetching import FetchError, Request
from enforcer.core.registry_access import Access, Credential, Secret
from enforcer.core.revocation_artifact import build_evidence
from enforcer.core.subject import Content
from enforcer.sources.fetcher import Fetched, FetcherClient, wire
from enforcer.sources.fetcher.pb import fetcher_pb2 as pb
from tests.enforcerd import somebody_answering
from tests.unit.sources.serving import Serve, hang_up, raw, serving, silence
from tests.unit.sources.signed import AT, image, signature

SECONDS = 0.4  # for a fetcher that never ends its answer
PATIENT_SECONDS = 30.0  # for one that answers, on a busy machine
LATE_SECONDS = 4.0  # within which a busy machine gives up; a hung one takes longer
IMAGE = image("wanted")
OTHER = image("other")
LOGIN = Credential("me", Secret("the password"), Secret("the token"))
ACCESS = Access("registry.example:5000", http=True, ca="PEM", credential=LOGIN)
URL = Request("http://crl.example/x", "*/*", max_bytes=5, seconds=PATIENT_SECONDS)
END = pb.Part(end=pb.Nothing())


def wanted(reference: str = "", seconds: float = PATIENT_SECONDS) -> wire.Wanted:
    name = reference or str(IMAGE.index.descriptor.digest)
    return wire.Wanted(ACCESS, "team/app", name, seconds)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        yield Path(folder) / "fetcher.sock"


def framed(*parts: pb.Part, kind: int = ttrpc.RESPONSE, stream: int = 1) -> bytes:
    return b"".join(
        ttrpc.encode_frame(
            ttrpc.Frame(stream, kind, ttrpc.encode_response(part.SerializeToString()))
        )
        for part in parts
    )


def says(*parts: pb.Part) -> Serve:
    return raw(framed(*parts))


def items(*listed: Collected) -> list[pb.Part]:
    return [wire.item_part(item) for item in listed]


def fetched(path: Path, *parts: pb.Part, reference: str = "") -> Fetched:
    with serving(path, says(*parts)), FetcherClient(path) as client:
        return client.fetch_signatures(wanted(reference))


def refused(
    path: Path, serve: Serve, *, seconds: float = PATIENT_SECONDS
) -> EnforcerError:
    started = time.monotonic()
    with (
        serving(path, serve),
        FetcherClient(path) as client,
        pytest.raises(EnforcerError) as caught,
    ):
        client.fetch_signatures(wanted(seconds=seconds))
    assert time.monotonic() - started < seconds + LATE_SECONDS
    return caught.value


# -- what is asked, and what comes -------------------------------------------------


def test_the_question_arrives_whole() -> None:
    """Address, CA and login come with it: the fetcher has none of its own."""
    question = wire.wanted_message(wanted()).SerializeToString()
    anonymous = wire.Wanted(Access("r.example"), "a", "1", 1)
    post = Request("http://o.example/", "a/b", 99, 1.5, b"", "c/d")

    assert wire.parse_wanted(question) == wanted()
    asked = wire.wanted_message(anonymous).SerializeToString()
    assert wire.parse_wanted(asked) == anonymous
    assert wire.parse_url(wire.url_message(post).SerializeToString()) == post


def test_signatures_about_the_index_and_its_manifests_are_taken(path: Path) -> None:
    """The whole of an honest answer."""
    whole = (
        IMAGE.index,
        IMAGE.manifest,
        signature(IMAGE.index),
        signature(IMAGE.manifest),
        evidence(IMAGE.index, b"list"),
        Refused("sha256:abc", "it is no good"),
    )

    found = fetched(path, *items(*whole), END)

    assert found == Fetched(whole)


def test_a_tag_is_what_the_registry_says_it_is(path: Path) -> None:
    """There is no digest to compare with; what is signed is judged later."""
    found = fetched(path, *items(OTHER.manifest), END, reference="1")

    assert found.items == (OTHER.manifest,)


def _pair(one: SignatureFile, other: SignatureFile) -> SignatureFile:
    return SignatureFile(one.manifest, other.envelope)


def evidence(about: Content, *pieces: bytes) -> EvidenceFile:
    slot = Slot.crl(Digest.of(b"issuer"), "http://crl.example/")
    items = [Item(slot, slot.about, AT, piece) for piece in pieces]
    return build_evidence(about.descriptor, items)


STRANGERS: dict[str, Collected] = {
    "a signature about something else": signature(OTHER.index),
    "another envelope": _pair(signature(IMAGE.index), signature(OTHER.index)),
    "a manifest nobody lists": OTHER.manifest,
    "evidence about something else": evidence(OTHER.index, b"list"),
    "other evidence": EvidenceFile(evidence(IMAGE.index, b"list").manifest, (b"tsil",)),
    "less evidence": EvidenceFile(evidence(IMAGE.index, b"list").manifest, ()),
    "no evidence": EvidenceFile(IMAGE.manifest.raw, ()),
    "no signature": SignatureFile(IMAGE.manifest.raw, b""),
    "a signature cut short": SignatureFile(signature(IMAGE.index).manifest[:-1], b""),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_what_does_not_belong_is_refused_and_the_rest_taken(
    what: str, path: Path
) -> None:
    """A fetcher that was taken over cannot fill the cache with what it likes."""
    good = signature(IMAGE.manifest)

    found = fetched(path, *items(IMAGE.index, STRANGERS[what], good), END)

    assert [type(item) for item in found.items] == [Content, Refused, SignatureFile]
    assert found.items[::2] == (IMAGE.index, good)
    assert found.problem is None


@pytest.mark.parametrize(
    "first",
    [OTHER.index, IMAGE.manifest, signature(IMAGE.index)],
    ids=["another index", "a manifest of it", "no content"],
)
def test_another_content_than_asked_for_is_an_error(
    first: Collected, path: Path
) -> None:
    """ENF-2706: the digest is computed here, never read."""
    found = refused(path, says(*items(first, signature(IMAGE.index)), END))

    assert found.code is Code.FETCHER_WRONG_CONTENT


def test_no_content_and_no_reason_is_an_error(path: Path) -> None:
    """Nothing to judge: whoever looks at the first item has one, or a problem."""
    silent = refused(path, says(END))
    vague = fetched(path, *items(Refused("sha256:abc", "it is no good")), END)

    assert silent.code is Code.FETCHER_WRONG_CONTENT
    assert vague.problem is not None
    assert vague.problem.code is Code.FETCHER_WRONG_CONTENT


def test_an_error_after_a_part_leaves_what_came_before(path: Path) -> None:
    """A registry that had enough of us after a hundred signatures gave a hundred."""
    error = EnforcerError("too \x1bmany", remedy="W.", code=Code.DEADLINE)

    found = fetched(path, *items(IMAGE.index), wire.failure_part(error))

    assert found.items == (IMAGE.index,)
    assert found.problem is not None
    assert (found.problem.code, found.problem.what) == (Code.DEADLINE, "too \\x1bmany")


def test_an_error_is_the_one_the_fetcher_has(path: Path) -> None:
    """Missing, unreachable and wrong are three errors wherever they arise."""
    error = EnforcerError("no such repository", remedy="Look.", code=Code.NO_RECORD)

    found = refused(path, says(wire.failure_part(error)))

    assert (found.code, found.what, found.remedy) == (
        Code.NO_RECORD,
        "no such repository",
        "Look.",
    )


# -- a fetcher that is dead, hung or hostile ---------------------------------------


def drip(connection: socket.socket) -> None:
    """Send an answer so slowly that each wait is short, and all of it for ever."""
    connection.recv(65536)
    for byte in framed(*items(IMAGE.index), END):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    """Send parts that are right, for ever."""
    connection.recv(65536)
    chunk = framed(*items(*[Refused("x", "y" * 40)] * 100))
    while True:
        connection.sendall(chunk)


def test_without_a_fetcher_it_is_an_error(path: Path) -> None:
    """ENF-2701; who may start a child has one instead."""
    with FetcherClient(path) as client, pytest.raises(EnforcerError) as caught:
        client.fetch_signatures(wanted())

    assert caught.value.code is Code.FETCHER_UNREACHABLE


def test_a_dead_socket_is_an_error_with_a_child_too(path: Path) -> None:
    """A host that has the service is not to do without it unnoticed."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))

    with (
        FetcherClient(path, child=True) as client,
        pytest.raises(EnforcerError) as caught,
    ):
        client.fetch_signatures(wanted())

    assert caught.value.code is Code.FETCHER_UNREACHABLE


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        (silence, Code.FETCHER_SILENT),
        (drip, Code.FETCHER_SILENT),
        (hang_up, Code.FETCHER_UNREACHABLE),
    ],
    ids=["silent", "dripping", "hanging up"],
)
def test_one_that_does_not_end_its_answer_is_refused_in_time(
    serve: Serve, code: Code, path: Path
) -> None:
    """The deadline is the answer's, not each read's."""
    assert refused(path, serve, seconds=SECONDS).code is code


def test_one_that_never_stops_is_stopped(path: Path) -> None:
    """Bytes and parts have a bound; what came is not what was asked for."""
    with serving(path, flood), FetcherClient(path) as client:
        found = client.fetch_signatures(
            wire.Wanted(ACCESS, "a", "1", 30)  # the bound comes first
        )

    assert found.problem is not None
    assert found.problem.code is Code.FETCHER_GARBLED
    assert "does not end" in found.problem.what


GARBLED = {
    "no frame": raw(b"GET / HTTP/1.1\r\n\r\n"),
    "a frame larger than is taken": raw(b"\x7f\xff\xff\xff\0\0\0\x01\x02\0"),
    "a request": raw(framed(END, kind=ttrpc.REQUEST)),
    "another call's": raw(framed(END, stream=3)),
    "a failure of ttrpc": raw(
        ttrpc.encode_frame(
            ttrpc.Frame(1, ttrpc.RESPONSE, ttrpc.encode_failure(12, "no"))
        )
    ),
    "no part": raw(
        ttrpc.encode_frame(
            ttrpc.Frame(1, ttrpc.RESPONSE, ttrpc.encode_response(b"\xff\xff"))
        )
    ),
    "an empty part": says(pb.Part()),
    "the body of a URL": says(pb.Part(body=b"x"), END),
    "a code of another version": says(pb.Part(failure=pb.Failure(code="ENF-9999"))),
}


@pytest.mark.parametrize("what", GARBLED)
def test_what_makes_no_sense_is_refused(what: str, path: Path) -> None:
    """ENF-2703, whatever a fetcher that was taken over sends."""
    assert refused(path, GARBLED[what]).code is Code.FETCHER_GARBLED


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_somebody_elses_socket_gets_no_credential(path: Path) -> None:
    """ENF-2704, before a byte of the question is sent."""
    with (
        somebody_answering(path, framed(*items(IMAGE.index), END)),
        FetcherClient(path) as client,
        pytest.raises(EnforcerError) as caught,
    ):
        client.fetch_signatures(wanted())

    assert caught.value.code is Code.FETCHER_UNTRUSTED


# -- URLs --------------------------------------------------------------------------


def unanswered(path: Path, *parts: pb.Part) -> str:
    with (
        serving(path, says(*parts)),
        FetcherClient(path) as client,
        pytest.raises(FetchError) as caught,
    ):
        client.fetch(URL)
    return caught.value.because


def test_a_body_is_what_came(path: Path) -> None:
    """An empty one, too: the list's own reader says what that is worth."""
    for body in (b"", b"four"):
        with serving(path, says(pb.Part(body=body), END)), FetcherClient(path) as it:
            assert it.fetch(URL) == body


def test_a_url_that_gives_nothing_of_use_is_told_by_its_reason(path: Path) -> None:
    """The clause that `gather` puts after the URL."""
    error = FetchError(URL.url, "answered 404, not 200")
    silent = EnforcerError("it is busy", remedy="", code=Code.FETCHER_BUSY)

    assert unanswered(path, wire.failure_part(error)) == "answered 404, not 200"
    assert unanswered(path, wire.failure_part(silent)) == "it is busy"
    assert unanswered(path, pb.Part(body=b"fives"), END) == "gives 5 bytes or more"
    assert unanswered(path, END) == "was not answered with one body"
    two = (pb.Part(body=b"1"), pb.Part(body=b"2"))
    assert unanswered(path, *two, END) == "was not answered with one body"
    assert unanswered(path, *items(IMAGE.index), END).endswith("with one body")


def test_without_a_fetcher_a_url_is_told_as_unasked(path: Path) -> None:
    """`gather` goes on to the next place, and says why this one gave nothing."""
    with FetcherClient(path) as client, pytest.raises(FetchError) as caught:
        client.fetch(URL)

    assert caught.value.because.startswith("was not asked: enforcer-fetcher cannot be")


# -- the wire ----------------------------------------------------------------------


def test_no_question_is_without_an_end_or_a_bound() -> None:
    """What whoever asks can make the fetcher do is bounded there, too."""
    endless = wire.wanted_message(wanted())
    endless.milliseconds = 1 + int(wire.MAX_SECONDS * 1000)
    huge = wire.url_message(URL)
    huge.max_bytes = wire.MAX_PART_BYTES + 1

    for read, message in ((wire.parse_wanted, endless), (wire.parse_url, huge)):
        with pytest.raises(EnforcerError):
            read(message.SerializeToString())


def test_no_secret_is_shown() -> None:
    """A value in a log or a traceback says that there is one, and nothing else."""
    shown = repr(wanted())

    assert "me" in shown
    assert "the password" not in shown
    assert "the token" not in shown


@given(st.binary(max_size=200))
def test_hostile_bytes_are_errors_of_ours(data: bytes) -> None:
    """Nothing else may cross the port."""
    readers: list[Callable[[bytes], object]] = [wire.parse_wanted, wire.parse_url]
    for read in readers:
        with contextlib.suppress(EnforcerError):
            read(data)
    with contextlib.suppress(EnforcerError):
        wire.parse_item(pb.Part(content=data))
    assert Digest.of(data).matches(data)
