"""What a registry gives, and what of it is believed: that which hashes right."""

import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.collected import EvidenceFile, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.evidence import EvidenceKind, Item, Slot
from enforcer.core.image import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from enforcer.core.registry_access import Access
from enforcer.core.revocation_artifact import REVOCATION_ARTIFACT, build_evidence
from enforcer.core.subject import Content
from enforcer.sources.cache import DiskCache
from enforcer.sources.fetcher.wire import MAX_HELD_BYTES
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.collect import USUAL_BYTES, Limits
from enforcer.sources.registry.errors import RegistryError
from tests.registry.fake import FakeRegistry, at, manifest_reply
from tests.registry.rig import (
    SECONDS,
    contents,
    refused,
    signatures,
    take,
)
from tests.registry.server import Reply, Server, serving
from tests.unit.sources.signed import AT, compact, describe, image, signature

IMAGE = image("of a registry")
SIGNED = signature(IMAGE.index)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n" % OCI_INDEX.encode()
DEADLINE = 0.4  # of runs that have to be cut
GRACE = 5.0  # within which a cut run has to be back: threads, a busy machine
MEMORY = 48 * 1024 * 1024  # that a hostile answer may cost: a manifest's limit is 4 MiB


@pytest.fixture
def fake() -> FakeRegistry:
    """A registry with one image, `app:1`, which acme signed."""
    registry = FakeRegistry()
    registry.push(IMAGE.index, "1")
    registry.push(IMAGE.manifest)
    registry.attach(SIGNED)
    return registry


def peak(*, anew: bool = False) -> int:
    """The most memory this process has had, in bytes; counted anew if wanted."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM starts again
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def fails(server: Server, code: Code, *, seconds: float = SECONDS) -> RegistryError:
    """The error of a run, which has this code."""
    with pytest.raises(RegistryError) as caught:
        take(server, seconds=seconds)
    assert caught.value.code == code, caught.value
    return caught.value


def test_an_image_comes_with_what_it_lists_and_its_signatures(server: Server) -> None:
    """The order counts: the first item is what was asked for."""
    assert take(server) == [IMAGE.index, IMAGE.manifest, SIGNED]
    by_digest = take(server, str(IMAGE.manifest.descriptor.digest))
    assert by_digest == [IMAGE.manifest]


def test_revocation_evidence_about_the_image_comes_along(
    fake: FakeRegistry, server: Server
) -> None:
    """Not believed here: it is verified where it is kept."""
    slot = Slot(EvidenceKind.CRL, Digest.of(b"issuer"), "http://crl.test/l")
    item = Item(slot, "http://crl.test/l", AT, b"a list")
    evidence = build_evidence(IMAGE.index.descriptor, [item])
    fake.attach(evidence, artifactType=REVOCATION_ARTIFACT)

    found = [one for one in take(server) if isinstance(one, EvidenceFile)]

    assert found == [evidence]


def test_a_connection_is_used_again(fake: FakeRegistry) -> None:
    """A hundred requests with a TLS handshake each would take minutes."""
    ports = set()

    def note(seen: object) -> None:
        ports.add(threading.get_ident())  # the server has a thread a connection

    fake.rules.append(note)
    with serving(fake) as server:
        take(server)
        assert len(server.seen) > 5
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            manifest_reply(
                IMAGE.index, Docker_Content_Digest=str(IMAGE.manifest.descriptor.digest)
            ),
            "other content than its digest says",
        ),
        (
            manifest_reply(IMAGE.index, Docker_Content_Digest="sha256:../../etc"),
            "a digest that is none",
        ),
        (
            manifest_reply(IMAGE.index, Docker_Content_Digest="SHA256:" + "A" * 64),
            "a digest that is none",
        ),
        (
            manifest_reply(IMAGE.index, Content_Type=OCI_MANIFEST),
            "is sent as",
        ),
        (
            manifest_reply(IMAGE.index, Content_Type="application/json"),
            "is sent as",
        ),
        (
            manifest_reply(IMAGE.index, Content_Encoding="gzip"),
            "in an encoding that nobody asked for",
        ),
        (
            Reply(
                body=gzip.compress(b"\0" * (1 << 20)),
                headers={"Content-Encoding": "gzip, gzip"},
            ),
            "in an encoding that nobody asked for",
        ),
        (
            Reply(body=b"[]", headers={"Content-Type": OCI_MANIFEST}),
            "is no manifest",
        ),
        (
            Reply(body=b"", headers={"Content-Type": OCI_MANIFEST}),
            "is no manifest",
        ),
        (
            Reply(
                body=compact(
                    {"schemaVersion": 1, "fsLayers": [], "signatures": [{}]}
                ),
                headers={
                    "Content-Type": "application/vnd.docker.distribution.manifest.v1"
                    "+prettyjws"
                },
            ),
            "is no manifest",
        ),
        (
            Reply(
                body=compact(
                    {"schemaVersion": 2, "layers": [], "config": {}, "manifests": []}
                ),
                headers={"Content-Type": OCI_MANIFEST},
            ),
            "is no manifest",
        ),
        (Reply(body=b"{}", headers={"Content-Length": str(1 << 40)}), "more than"),
        (Reply(body=b" " * (4 * 1024 * 1024 + 1)), "more than"),
        (Reply(302, headers={"Location": "/v2/app/manifests/1"}), "more than 3 times"),
        (Reply(raw=lambda: [HEAD]), "is no manifest"),
        (Reply(204), "status 204"),
        (Reply(418), "status 418"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_right_is_refused(
    fake: FakeRegistry, server: Server, reply: Reply, says: str
) -> None:
    """T-RG-1, T-RG-5, rows 69, 76, 86: a lie is told, and nothing of it is used."""
    fake.rules.append(at("/manifests/1", reply))

    error = fails(server, Code.REGISTRY_WRONG)

    assert says in error.what
    assert "app:1" in error.what
    assert len(error.what) < 500


def test_the_digest_governs_whatever_a_tag_says(
    fake: FakeRegistry, server: Server
) -> None:
    """T-RG-7, and a registry that gives another manifest for a digest."""
    digest = str(IMAGE.index.descriptor.digest)
    fake.rules.append(at(f"/manifests/{digest}", manifest_reply(IMAGE.manifest)))

    with pytest.raises(RegistryError) as caught:
        take(server, digest)

    assert caught.value.code == Code.REGISTRY_WRONG


def test_other_digests_than_sha256_are_computed(
    fake: FakeRegistry, server: Server
) -> None:
    """T-RG-4: the algorithm of the reference is the one that is computed."""
    right = f"sha512:{hashlib.sha512(IMAGE.index.raw).hexdigest()}"
    wrong = f"sha512:{IMAGE.index.descriptor.digest.hex * 2}"
    for digest in (right, wrong):
        fake.manifests[digest] = IMAGE.index

    assert take(server, right)[0] == IMAGE.index
    with pytest.raises(RegistryError):
        take(server, wrong)


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "md5:" + "0" * 32,
        "a:b/../c",
        "../x",
        "1\n",
    ],
)
def test_what_is_no_digest_is_asked_of_nobody(server: Server, text: str) -> None:
    """CVE-2024-3727: a digest goes into a path only if it is one."""
    with pytest.raises(MalformedError):
        take(server, text)
    assert server.seen == []


def _no_end(start: bytes, piece: bytes, pause: float = 0.0) -> Reply:
    def raw() -> Iterator[bytes]:
        yield start
        for _ in range(10_000_000):
            yield piece
            if pause:
                time.sleep(pause)

    return Reply(raw=raw)


CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
DRIPS = {
    "body": _no_end(HEAD + b"Content-Length: 4000\r\n\r\n", b" ", 0.05),
    "chunked body": _no_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.05
    ),
    "head": _no_end(HEAD, b"X: y\r\n", 0.2),
    "status line": _no_end(b"HTTP/1.1 200 ", b"O", 0.05),
    "continues": _no_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "silence": _no_end(b"", b"", 0.1),
    "trailers": _no_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", 0.01
    ),
}
FLOODS = {
    "body without length": _no_end(HEAD + b"\r\n", b" " * 0x10000),
    "chunks without end": _no_end(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "headers": _no_end(HEAD, b"X: " + b"y" * 60_000 + b"\r\n"),
    "header line": _no_end(HEAD + b"X: ", b"y" * 0x10000),
    "chunk length": _no_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1" * 0x10000
    ),
    "continues": _no_end(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 1000),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_dripping_registry_is_cut_when_the_time_is_over(
    fake: FakeRegistry, server: Server, what: str
) -> None:
    """T-RG-3: a byte now and then never lets a read time out."""
    fake.rules.append(at("/manifests/1", DRIPS[what]))
    started = time.monotonic()

    fails(server, Code.REGISTRY_UNREACHABLE, seconds=DEADLINE)

    assert time.monotonic() - started < DEADLINE + GRACE


@pytest.mark.parametrize("what", FLOODS)
def test_an_endless_answer_costs_no_memory(
    fake: FakeRegistry, server: Server, what: str
) -> None:
    """T-RG-3, row 86: cut at a limit, whatever the answer says of its length."""
    fake.rules.append(at("/manifests/1", FLOODS[what]))
    before = peak(anew=True)
    started = time.monotonic()

    with pytest.raises(RegistryError):
        take(server, seconds=2 * DEADLINE)

    assert time.monotonic() - started < 2 * DEADLINE + GRACE
    assert peak() - before < MEMORY


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 4000\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
    ],
)
def test_an_answer_that_breaks_off_is_unreachable_and_not_wrong(
    fake: FakeRegistry, server: Server, raw: bytes
) -> None:
    """Trying again is what helps."""
    fake.rules.append(at("/manifests/1", Reply(raw=lambda: [raw])))

    error = fails(server, Code.REGISTRY_UNREACHABLE)

    assert "broke off" in error.what


def test_what_is_missing_says_so(server: Server) -> None:
    with pytest.raises(RegistryError) as caught:
        take(server, "2")

    assert str(caught.value) == (
        f"{server.host}/app:2 is not there. Check the name, tag and digest; push it "
        "first. [ENF-2601]"
    )


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        access = Access(f"127.0.0.1:{closed.getsockname()[1]}", http=True)
        registry = Registry(access, time.monotonic() + SECONDS)
        with pytest.raises(RegistryError) as caught:
            registry.manifest("app", "1")

    assert caught.value.code == Code.REGISTRY_UNREACHABLE
    assert "cannot be reached: Connection refused" in caught.value.what


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00" + b"\x02" * 100])
def test_a_handshake_that_never_ends_is_cut(first: bytes) -> None:
    """T-RG-3, slow TLS: silence, or the beginning of an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        access = Access(f"127.0.0.1:{listening.getsockname()[1]}")
        started = time.monotonic()
        with Registry(access, started + DEADLINE) as registry:
            answered: list[socket.socket] = []

            def answer() -> None:
                answered.append(listening.accept()[0])
                with suppress(OSError):  # the client has given up already
                    answered[0].sendall(first)

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(RegistryError) as caught:
                registry.manifest("app", "1")
            thread.join()
            answered[0].close()

    assert caught.value.code == Code.REGISTRY_UNREACHABLE
    assert time.monotonic() - started < DEADLINE + GRACE


def test_after_the_deadline_nobody_is_asked(server: Server) -> None:
    error = fails(server, Code.REGISTRY_UNREACHABLE, seconds=0)

    assert error.is_final
    assert server.seen == []


def test_a_blob_is_checked_while_it_streams(fake: FakeRegistry, server: Server) -> None:
    """Who copies may not keep what does not end well."""
    raw = bytes(range(256)) * 4096
    good = Descriptor.of("application/octet-stream", raw)
    fake.blobs[str(good.digest)] = raw
    access = Access(server.host, http=True)
    with Registry(access, time.monotonic() + SECONDS) as registry:
        pieces = list(registry.stream("app", good))
        assert b"".join(pieces) == raw
        assert max(map(len, pieces)) <= 64 * 1024
        fake.blobs[str(good.digest)] = raw[:-1] + b"x"
        with pytest.raises(RegistryError, match="other content than its digest says"):
            list(registry.stream("app", good))
        for size in (len(raw) - 1, len(raw) + 1):
            sized = Descriptor(good.media_type, good.digest, size)
            with pytest.raises(RegistryError, match=r"bytes"):
                list(registry.stream("app", sized))


def test_a_blob_is_no_longer_than_its_caller_allows(server: Server) -> None:
    """Rows 65, 69: a size of 2**63 is not even asked for."""
    huge = Descriptor("application/jose+json", Digest.of(b""), 2**63 - 1)
    access = Access(server.host, http=True)
    with (
        Registry(access, time.monotonic() + SECONDS) as registry,
        pytest.raises(RegistryError, match="more than 1024 bytes"),
    ):
        registry.blob("app", huge, max_bytes=1024)
    assert server.seen == []


def test_urls_in_a_descriptor_are_not_followed(
    fake: FakeRegistry, server: Server
) -> None:
    """CVE-2020-15157: a foreign layer's URL is where a login once went."""
    with serving(lambda _: Reply(body=b"x")) as foreign:
        entry = json.loads(IMAGE.index.raw)
        entry["manifests"][0]["urls"] = [f"http://{foreign.host}/x"]
        listing = fake.push(Content(OCI_INDEX, compact(entry)), "2")
        fake.attach(signature(listing), urls=[f"http://{foreign.host}/y"])

        items = take(server, "2")

        assert len(signatures(items)) == 1
        assert foreign.seen == []


def test_what_an_index_lists_and_the_registry_lacks_is_no_loss(
    fake: FakeRegistry, server: Server
) -> None:
    """A copy of one platform only: the others cannot run here either."""
    del fake.manifests[str(IMAGE.manifest.descriptor.digest)]

    assert take(server) == [IMAGE.index, SIGNED]


def test_a_listed_manifest_that_is_another_is_refused_and_the_rest_goes_on(
    fake: FakeRegistry, server: Server
) -> None:
    listed = json.loads(IMAGE.index.raw)
    listed["manifests"][0]["mediaType"] = DOCKER_MANIFEST
    content = fake.push(Content(OCI_INDEX, compact(listed)), "2")
    fake.attach(signature(content))

    items = take(server, "2")

    assert contents(items) == [content]
    assert len(signatures(items)) == 1
    assert "is listed as" in refused(items)[0]


def test_no_more_is_taken_than_the_limits_allow(
    fake: FakeRegistry, server: Server
) -> None:
    """Children, referrers, bytes, items: each has a bound, and passing it is told."""
    for number in range(4):
        fake.attach(signature(IMAGE.index, number=str(number)))

    few = take(server, limits=Limits(referrers=2))
    alone = take(server, limits=Limits(children=0))
    small = take(server, limits=Limits(bytes=len(IMAGE.index.raw) + 1))
    short = take(server, limits=Limits(items=3))

    assert len(signatures(few)) == 2
    assert refused(few) == ["not looked at: 2 about one manifest is the limit"]
    assert contents(alone) == [IMAGE.index]
    assert "first 0 manifests" in refused(alone)[0]
    assert contents(small) == [IMAGE.index]
    assert refused(small) == ["has too many signatures"]
    assert contents(short) == [IMAGE.index, IMAGE.manifest]
    assert len(signatures(short)) == 1
    assert refused(short) == ["has too many signatures"]


def junk(number: int, size: int) -> SignatureFile:
    """What claims to be a signature, and is so many bytes of nothing."""
    envelope = b"%d" % number * size
    members = json.loads(SIGNED.manifest)
    members["layers"] = [describe(members["layers"][0]["mediaType"], envelope)]
    return SignatureFile(compact(members), envelope)


def asked(server: Server, blobs: Iterable[bytes]) -> int:
    """How often these blobs were asked for."""
    names = {f"/blobs/{Digest.of(blob)}" for blob in blobs}
    return sum(seen.path.endswith(tuple(names)) for seen in server.seen)


def test_large_junk_that_is_listed_first_crowds_nobody_out(
    fake: FakeRegistry, server: Server
) -> None:
    """Whoever may push could keep a signature from everybody, by two large files."""
    size = USUAL_BYTES + 1
    fake.about.clear()
    lies = [junk(number, size) for number in range(5)]
    for lie in lies:
        fake.attach(lie)
    fake.attach(SIGNED)

    items = take(server, limits=Limits(bytes=size + 30_000))

    assert signatures(items)[0] == SIGNED
    assert len(signatures(items)) == 2  # and one of the five, for which there is room
    assert len(refused(items)) == 4
    assert all(" are left to take" in why for why in refused(items))
    assert asked(server, [lie.envelope for lie in lies]) == 1


def test_what_is_asked_for_and_is_not_what_it_says_takes_room_as_well(
    fake: FakeRegistry, server: Server
) -> None:
    """Or a hundred large blobs that hash wrong would be fetched, one by one."""
    lies = [junk(number, USUAL_BYTES + 1) for number in range(5)]
    for lie in lies:
        fake.attach(lie)
        fake.blobs[str(Digest.of(lie.envelope))] = bytes(len(lie.envelope))

    items = take(server, limits=Limits(bytes=USUAL_BYTES + 30_000))

    assert signatures(items) == [SIGNED]
    assert len(refused(items)) == 5
    assert asked(server, [lie.envelope for lie in lies]) == 1


def test_usual_junk_about_one_manifest_leaves_room_for_all_the_rest() -> None:
    """As many as are looked at, each as large as a usual one may be."""
    least = MAX_HELD_BYTES // 2

    assert Limits().referrers * USUAL_BYTES < least


def test_a_failed_run_leaves_the_cache_as_it_was(
    fake: FakeRegistry, server: Server, tmp_path: Path
) -> None:
    """Must hold: a code, and no effect on what is cached."""
    cache = DiskCache(tmp_path / "cache")
    assert cache.add(take(server))[0] == 1
    blobs = tmp_path / "cache" / "blobs" / "sha256"
    held = sorted(path.name for path in blobs.iterdir())
    entries = list(cache.entries())
    wrong = str(IMAGE.manifest.descriptor.digest)
    lie = manifest_reply(IMAGE.index, Docker_Content_Digest=wrong)
    lies = [*DRIPS.values(), lie]
    for reply in lies:
        fake.rules[:] = [at("/manifests/1", reply)]
        with pytest.raises(RegistryError):
            cache.add(take(server, seconds=0.3))

    assert sorted(path.name for path in blobs.iterdir()) == held
    assert list(cache.entries()) == entries


def test_runs_beside_a_hanging_one_are_not_held_up(fake: FakeRegistry) -> None:
    """T-RG-3: parallel requests unaffected."""
    slow = FakeRegistry(rules=[at("", DRIPS["silence"])])
    with ExitStack() as stack:
        hanging, good = (stack.enter_context(serving(f)) for f in (slow, fake))
        done: list[object] = []

        def hang() -> None:
            with pytest.raises(RegistryError):
                take(hanging, seconds=DEADLINE)
            done.append(True)

        thread = threading.Thread(target=hang)
        thread.start()
        assert len(signatures(take(good))) == 1
        assert not done  # it hangs, and did not hold us up
        thread.join(DEADLINE + GRACE)
        assert done
