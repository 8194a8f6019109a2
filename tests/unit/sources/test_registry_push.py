"""Pushing: what a registry without a Referrers API needs, and what may go wrong."""

import json
import time
from collections.abc import Iterator

import pytest

from enforcer.copying import CopyError, Package, gather
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.image import OCI_INDEX, OCI_MANIFEST
from enforcer.core.registry_access import Access, Credential, Secret
from enforcer.core.signature_manifest import SIGNATURE_ARTIFACT_TYPE
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.push import LIST_TRIES, Push
from tests.registry.fake import REPOSITORY, at
from tests.registry.rig import SECONDS, contents, signatures, take
from tests.registry.server import Reply, Seen, Server, serving
from tests.registry.writable import WritableRegistry
from tests.unit.sources.signed import compact, describe, image, signature
from tests.unit.test_copying import Memory, attached, index

LAYER = b"layer" * 100_000
IMAGE = image("one")
SIGNED = signature(IMAGE.manifest)
CONFIG = IMAGE.config
EMPTY = b"{}"


class Stored(Memory):
    """An origin whose blobs are at hand, and are other ones where a test says so."""

    def __init__(self, *blobs: bytes) -> None:
        super().__init__()
        self.blobs = {Digest.of(raw): raw for raw in blobs}
        self.wrong: bytes | None = None
        self.read: list[Digest] = []

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        self.read.append(named.digest)
        raw = self.blobs[named.digest]
        yield raw[:1000]
        if self.wrong is not None and raw == self.wrong:
            raise MalformedError("the disk gives other bytes", remedy="-")
        yield raw[1000:]


def manifest() -> Content:
    document = json.loads(IMAGE.manifest.raw)
    document["layers"] = [describe("application/x-layer", LAYER)]
    return Content(OCI_MANIFEST, compact(document))


TOP = manifest()
OF_TOP = signature(TOP)
SIGNATURE = Content(OCI_MANIFEST, OF_TOP.manifest)
SBOM = attached(TOP, "sbom")
TAG = f"sha256-{TOP.descriptor.digest.hex}"


@pytest.fixture
def origin() -> Stored:
    stored = Stored(LAYER, CONFIG, EMPTY, OF_TOP.envelope, b"sbom")
    stored.lists(TOP, SIGNATURE, SBOM)
    return stored


def push(
    server: Server,
    origin: Stored,
    *,
    top: Content = TOP,
    mount_from: str = "",
    credential: Credential | None = None,
) -> Package:
    package = gather(origin, top)
    access = Access(server.host, http=True, credential=credential)
    with Registry(access, time.monotonic() + SECONDS) as registry:
        Push(registry, REPOSITORY, mount_from=mount_from).package(
            package, origin, tag="1"
        )
    return package


def writes(server: Server) -> list[str]:
    return [seen.path for seen in server.seen if seen.method == "PUT"]


def listed(registry: WritableRegistry) -> list[str]:
    content = registry.tag(TAG)
    assert content is not None
    return [line["digest"] for line in json.loads(content.raw)["manifests"]]


UNKNOWN = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
BOTH = {str(SIGNATURE.descriptor.digest), str(SBOM.descriptor.digest)}


@pytest.mark.parametrize("has_api", [True, False])
def test_what_is_pushed_is_found_with_the_api_and_without(
    origin: Stored, *, has_api: bool
) -> None:
    """The tag comes last, and the list only where the registry keeps none itself."""
    registry = WritableRegistry(has_api=has_api)
    with serving(registry) as server:
        push(server, origin)
        paths = writes(server)
        found = take(server)

    assert paths[-1] == f"/v2/{REPOSITORY}/manifests/1"
    assert contents(found)[0] == TOP
    assert signatures(found) == [OF_TOP]
    assert (registry.tag(TAG) is None) == has_api
    if not has_api:
        content = registry.tag(TAG)
        assert content is not None
        lines = json.loads(content.raw)["manifests"]
        assert {line["digest"] for line in lines} == BOTH
        types = {line["artifactType"] for line in lines}
        assert types == {SIGNATURE_ARTIFACT_TYPE, "application/spdx+json"}
        assert all("annotations" in line for line in lines[:1])


def test_what_is_there_is_not_sent_twice(origin: Stored) -> None:
    """Done again, it changes nothing; broken off, it goes on."""
    registry = WritableRegistry(has_api=False)
    with serving(registry) as server:
        push(server, origin)
        before = dict(registry.manifests)
        sent = len(origin.read)
        push(server, origin)

    assert sent == len({blob.digest for blob in gather(origin, TOP).blobs})
    assert len(origin.read) == sent
    assert registry.manifests == before


def test_lines_of_others_stay_in_the_list(origin: Stored) -> None:
    registry = WritableRegistry(has_api=False)
    line = describe(OCI_MANIFEST, b"by another tool")
    raw = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [line]})
    registry.push(Content(OCI_INDEX, raw), TAG)
    with serving(registry) as server:
        push(server, origin)

    assert listed(registry)[0] == line["digest"]
    assert set(listed(registry)[1:]) == BOTH


@pytest.mark.parametrize("times", [1, LIST_TRIES - 1, LIST_TRIES])
def test_a_list_that_somebody_else_changes_is_changed_again(
    origin: Stored, times: int
) -> None:
    """Two pipelines sign one image at once, and neither signature may be lost.

    A registry cannot be asked to write only what nobody changed meanwhile, so it is
    looked at afterwards; where that has no end, it is said, and nothing is tagged.
    """
    registry = WritableRegistry(has_api=False)
    line = describe(OCI_MANIFEST, b"by another pipeline")
    theirs = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [line]})
    overwritten = 0

    def overwrites(seen: Seen) -> Reply | None:
        nonlocal overwritten
        if seen.method != "PUT" or overwritten == times:
            return None
        overwritten += 1
        registry.push(Content(OCI_INDEX, theirs), TAG)
        digest = Content(OCI_INDEX, seen.body).descriptor.digest
        return Reply(201, headers={"Docker-Content-Digest": str(digest)})

    registry.rules.append(
        lambda seen: overwrites(seen) if seen.path.endswith(TAG) else None
    )
    with serving(registry) as server:
        if times < LIST_TRIES:
            push(server, origin)
            assert set(listed(registry)) == BOTH | {line["digest"]}
            assert registry.tag("1") == TOP
            return
        with pytest.raises(CopyError, match="kept being changed") as refused:
            push(server, origin)

    assert refused.value.code is Code.COPY_LIST_CHANGED
    assert registry.tag("1") is None


@pytest.mark.parametrize("raw", [TOP.raw, b"garbage", b'{"schemaVersion":2}'])
def test_what_is_no_list_is_left_alone(origin: Stored, raw: bytes) -> None:
    """cosign wrote the image itself under that tag (facts, L12)."""
    registry = WritableRegistry(has_api=False)
    registry.rules.append(
        lambda seen: (
            Reply(body=raw, headers={"Content-Type": OCI_MANIFEST})
            if seen.path.endswith(TAG) and seen.method == "GET"
            else None
        )
    )
    with serving(registry) as server:
        with pytest.raises(EnforcerError, match=r"list of referrers|manifest"):
            push(server, origin)
        assert not any(path.endswith(TAG) for path in writes(server))

    assert registry.tag("1") is None


@pytest.mark.parametrize(
    ("part", "method", "reply", "code"),
    [
        ("blobs/sha256", "HEAD", Reply(500), Code.REGISTRY_UNREACHABLE),
        ("blobs/uploads", "POST", Reply(403), Code.REGISTRY_UNAUTHORISED),
        ("blobs/uploads", "POST", Reply(202), Code.REGISTRY_WRONG),
        ("blobs/uploads", "PUT", Reply(500), Code.REGISTRY_UNREACHABLE),
        ("blobs/uploads", "PUT", Reply(413), Code.REGISTRY_WRONG),
        ("manifests/sha256:", "PUT", Reply(405), Code.REGISTRY_WRONG),
        ("manifests/sha256-", "PUT", Reply(403), Code.REGISTRY_UNAUTHORISED),
        (
            "manifests/sha256:", "PUT",
            Reply(201, headers={"Docker-Content-Digest": "sha256:" + "0" * 64}),
            Code.COPY_OTHER_DIGEST,
        ),
        (
            "blobs/uploads", "PUT",
            Reply(201, headers={"Docker-Content-Digest": "\033[31m"}),
            Code.COPY_OTHER_DIGEST,
        ),
        ("manifests/1", "PUT", Reply(500), Code.REGISTRY_UNREACHABLE),
    ],
)  # fmt: skip
def test_a_push_that_fails_tags_nothing(
    origin: Stored, part: str, method: str, reply: Reply, code: Code
) -> None:
    """Whatever breaks, no name means half of something; then it can be gone on with."""
    registry = WritableRegistry(has_api=False)
    fault = at(part, reply)
    registry.rules.append(lambda seen: fault(seen) if seen.method == method else None)
    with serving(registry) as server:
        with pytest.raises(EnforcerError) as refused:
            push(server, origin)
        assert registry.tag("1") is None
        registry.rules.clear()
        push(server, origin)

    assert refused.value.code is code
    assert "\033" not in str(refused.value)
    assert registry.tag("1") == TOP


def test_a_blob_that_is_damaged_is_not_pushed(origin: Stored) -> None:
    """The error is about the disk it was read from, and the upload is never ended."""
    registry = WritableRegistry()
    origin.wrong = LAYER
    damaged = pytest.raises(MalformedError, match="the disk gives other bytes")
    with serving(registry) as server, damaged:
        push(server, origin)

    assert str(Digest.of(LAYER)) not in registry.blobs
    assert registry.tag("1") is None


@pytest.mark.parametrize("reply", [None, UNKNOWN, Reply(403)])
def test_a_blob_of_another_repository_is_taken_over(
    origin: Stored, reply: Reply | None
) -> None:
    """A promotion sends no layers; who may not read there sends them."""
    registry = WritableRegistry(mountable={str(Digest.of(LAYER)): LAYER})
    if reply:
        registry.rules.append(lambda seen: reply if "mount" in seen.query else None)
    with serving(registry) as server:
        push(server, origin, mount_from="dev/app")
        mounts = [s.query for s in server.seen if "mount" in s.query]

    assert all(query["from"] == ["dev/app"] for query in mounts)
    assert (Digest.of(LAYER) in origin.read) == (reply is not None)
    assert Digest.of(CONFIG) in origin.read
    assert registry.tag("1") == TOP


def test_a_login_is_not_told_to_where_blobs_are_stored(origin: Stored) -> None:
    """An upload may be sent elsewhere; whoever that is gets the blob and no more."""
    secret = "push-secret"  # noqa: S105 - of this test
    stored: list[Seen] = []

    def storage(seen: Seen) -> Reply:
        stored.append(seen)
        registry.blobs[seen.query["digest"][0]] = seen.body
        return Reply(201)

    registry = WritableRegistry()
    with serving(storage) as elsewhere, serving(registry) as server:
        location = f"http://{elsewhere.host}/store?x=y"

        def sends(seen: Seen) -> Reply | None:
            if "Authorization" not in seen.headers:
                return UNKNOWN
            if seen.method == "POST":
                return Reply(202, headers={"Location": location})
            return None

        registry.rules.append(sends)
        push(server, origin, credential=Credential("u", Secret(secret)))

    assert {seen.query["x"][0] for seen in stored} == {"y"}
    assert len(stored) == len(origin.read)
    assert not any("Authorization" in seen.headers for seen in stored)
    assert registry.tag("1") == TOP


def test_an_index_comes_after_what_it_lists(origin: Stored) -> None:
    top = index(TOP)
    origin.contents.append(TOP)
    registry = WritableRegistry(has_api=False)
    with serving(registry) as server:
        push(server, origin, top=top)
        paths = writes(server)

    place = f"/v2/{REPOSITORY}/manifests"
    order = [f"{place}/{c.descriptor.digest}" for c in (TOP, top, SIGNATURE)]
    positions = [paths.index(path) for path in order]
    assert positions == sorted(positions)
    assert paths[-1] == f"{place}/1"
    assert registry.tag("1") == top
