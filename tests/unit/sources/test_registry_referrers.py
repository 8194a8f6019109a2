"""Finding what is about a manifest: Referrers API, referrers tag, and their lies."""

import itertools
import json
import time
from collections.abc import Iterator

import pytest

from enforcer.core.collected import SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.image import OCI_INDEX, OCI_MANIFEST
from enforcer.core.registry_access import Access
from enforcer.core.strictjson import Json
from enforcer.core.subject import Content
from enforcer.sources.registry.client import Registry
from enforcer.sources.registry.referrers import MAX_UNREADABLE
from tests.registry.fake import FakeRegistry, at, index_reply, manifest_reply
from tests.registry.rig import refused, signatures, take
from tests.registry.server import Reply, Server, serving
from tests.unit.sources.signed import compact, image, signature

IMAGE = image("referred to")
OTHER = image("somebody else's")
API = "/referrers/"
TAG = str(IMAGE.manifest.descriptor.digest).replace(":", "-")


def signed(number: int) -> SignatureFile:
    return signature(IMAGE.manifest, number=str(number))


SIGNATURES = tuple(signed(number) for number in range(5))


@pytest.fixture
def fake() -> FakeRegistry:
    """A registry with an image, `app:1`, that has five signatures."""
    registry = FakeRegistry()
    registry.push(IMAGE.manifest, "1")
    for one in SIGNATURES:
        registry.attach(one)
    return registry


def entry_of(raw: bytes, **changes: Json) -> Json:
    members: dict[str, Json] = {
        "mediaType": OCI_MANIFEST,
        "digest": str(Digest.of(raw)),
        "size": len(raw),
    }
    return members | changes


def redirected(host: str) -> Reply:
    """As GHCR: to another host's page."""
    return Reply(303, headers={"Location": f"http://{host}/-/v2/app/referrers/x"})


@pytest.mark.parametrize("status", ["400", "404", "405", "406", "410", "501"])
def test_without_an_api_the_tag_counts_and_the_api_is_asked_once(
    fake: FakeRegistry, status: str
) -> None:
    """docker-registry, ECR and others; distribution-spec: "fall back to the tag"."""
    fake.referrers, fake.tags = status, True
    fake.push(IMAGE.index, "2")
    fake.attach(signature(IMAGE.index))
    with serving(fake) as server:
        items = take(server, "2")

    assert len(signatures(items)) == 1 + len(SIGNATURES)
    assert refused(items) == []
    assert len([path for path in server.paths() if API in path]) == 1


def test_a_page_of_another_host_is_no_api_and_is_not_asked(fake: FakeRegistry) -> None:
    """GHCR redirects the API to github.com."""
    fake.tags = True
    with serving(lambda _: Reply(429)) as github, serving(fake) as server:
        fake.rules.append(at(API, redirected(github.host)))
        items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert refused(items) == []
    assert github.seen == []


@pytest.mark.parametrize("media_type", ["text/html", "application/json", ""])
def test_what_is_no_index_is_no_api(
    fake: FakeRegistry, server: Server, media_type: str
) -> None:
    """D4: a 200 with another content type is a page that answers everything."""
    fake.tags = True
    page = Reply(body=b"<html>", headers={"Content-Type": media_type})
    fake.rules.append(at(API, page))

    assert signatures(take(server)) == list(SIGNATURES)


def test_pages_are_followed_to_the_last(fake: FakeRegistry, server: Server) -> None:
    fake.referrers = "paged"

    assert signatures(take(server)) == list(SIGNATURES)


def test_pages_that_go_round_end_and_what_they_list_counts(
    fake: FakeRegistry, server: Server
) -> None:
    """Row 65: a Link to itself."""
    fake.referrers = "loop"

    items = take(server)

    assert signatures(items) == list(SIGNATURES[:2])
    assert "go round" in refused(items)[0]


def test_pages_without_end_are_bounded(fake: FakeRegistry, server: Server) -> None:
    """Row 65: a million referrers, a page each, every one with a new Link."""
    numbers = itertools.count()

    def page(_: object) -> Reply:
        link = (
            f'</v2/app/referrers/{IMAGE.manifest.descriptor.digest}?n={{}}>; rel="next"'
        )
        return index_reply([], Link=link.format(next(numbers)))

    fake.rules.append(at(API, page))

    items = take(server)

    assert "more than 20 pages" in refused(items)[0]
    assert len([path for path in server.paths() if API in path]) == 20


@pytest.mark.parametrize(
    "link",
    [
        "<http://{foreign}/v2/app/referrers/{digest}?n=2>",
        "</v2/other/referrers/{digest}?n=2>",
        "</v2/_catalog>",
        "<https://{own}/v2/app/referrers/{digest}?n=2>",
        "<http://user:pass@{own}/v2/app/referrers/{digest}?n=2>",
        "<//{foreign}/v2/app/referrers/{digest}>",
    ],
)
def test_a_page_at_another_place_is_not_followed(
    fake: FakeRegistry, server: Server, link: str
) -> None:
    """The next page can be nowhere but where the first was."""
    digest = str(IMAGE.manifest.descriptor.digest)
    with serving(lambda _: Reply(404)) as foreign:
        named = link.format(foreign=foreign.host, own=server.host, digest=digest)
        listed = fake.about[digest]
        reply = index_reply(listed, Link=f'{named}; rel="next"')
        fake.rules.append(at(API, reply))

        items = take(server)

        assert foreign.seen == []
    assert signatures(items) == list(SIGNATURES)
    assert len(refused(items)) == 1
    assert len([path for path in server.paths() if API in path]) == 1
    assert not any("_catalog" in path for path in server.paths())


@pytest.mark.parametrize(
    "changes",
    [
        {"artifactType": None},
        {"artifactType": ""},
        {"artifactType": "application/spdx+json"},
        {"artifactType": 7},
        {"size": 1},
        {"mediaType": "application/octet-stream"},
        {"annotations": {"a": "b"}},
        {"unknown": [1, 2]},
    ],
)
def test_what_a_line_says_decides_nothing(
    fake: FakeRegistry, server: Server, changes: dict[str, Json]
) -> None:
    """ACR, cosign on GHCR: lists without artifactType; the manifest is what counts."""
    added = signature(IMAGE.manifest, odd="line")
    fake.attach(added, **changes)

    assert added in signatures(take(server))


def test_both_lists_count_and_what_is_in_both_counts_once(
    fake: FakeRegistry, server: Server
) -> None:
    """T-RG-9: registries with the API lose tags written before, and the other way."""
    in_api, in_both, in_tag = SIGNATURES[:3]
    listed = [entry_of(one.manifest) for one in (in_both, in_tag)]
    fake.about[str(IMAGE.manifest.descriptor.digest)] = [
        entry_of(one.manifest) for one in (in_api, in_both)
    ]
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    fake.rules.append(at(TAG, manifest_reply(Content(OCI_INDEX, index))))

    assert signatures(take(server)) == [in_api, in_both, in_tag]


BAD_LISTS = {
    "garbage": Reply(body=b"\x00\xff", headers={"Content-Type": OCI_INDEX}),
    "empty": Reply(body=b"", headers={"Content-Type": OCI_INDEX}),
    "array": Reply(body=b"[]", headers={"Content-Type": OCI_INDEX}),
    "no list": Reply(body=b"{}", headers={"Content-Type": OCI_INDEX}),
    "twice": Reply(
        body=b'{"manifests":[],"manifests":[]}', headers={"Content-Type": OCI_INDEX}
    ),
    "deep": Reply(body=b"[" * 100_000, headers={"Content-Type": OCI_INDEX}),
    "20 MiB": Reply(body=b" " * 20_000_000, headers={"Content-Type": OCI_INDEX}),
    "an image": Reply(
        body=IMAGE.manifest.raw, headers={"Content-Type": OCI_INDEX}
    ),
    "broken off": Reply(
        body=b"{",
        headers={
            "Content-Type": OCI_INDEX, "Content-Length": "9", "Connection": "close",
        },
    ),
    "an error": Reply(500),
    "a login": Reply(403),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_LISTS)
@pytest.mark.parametrize("where", ["api", "tag"])
def test_a_list_that_cannot_be_used_does_not_lose_the_other(
    fake: FakeRegistry, server: Server, what: str, where: str
) -> None:
    """And that it could not be used is told, with a code."""
    fake.tags = where == "api"
    fake.rules.append(at({"api": API, "tag": TAG}[where], BAD_LISTS[what]))

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert len(refused(items)) == 1
    assert "[ENF-26" in refused(items)[0]


def test_an_image_under_the_tag_is_told(fake: FakeRegistry, server: Server) -> None:
    fake.rules.append(at(TAG, manifest_reply(IMAGE.manifest)))

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert f"are in {TAG}, which is no index" in refused(items)[0]


@pytest.mark.parametrize(
    "line",
    [
        7,
        {},
        {"mediaType": OCI_MANIFEST, "digest": "sha256:../../x", "size": 1},
        {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": -1},
        {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": "1"},
        {"MediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 1},
        {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 1},
    ],
)
def test_a_bad_line_does_not_lose_the_others(
    fake: FakeRegistry, server: Server, line: Json
) -> None:
    """T-RG-8: neither one that cannot be read, nor one whose manifest is not there."""
    fake.about[str(IMAGE.manifest.descriptor.digest)].insert(0, line)

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert len(refused(items)) == 1


def test_a_list_of_nothing_but_bad_lines_is_not_told_line_by_line(
    fake: FakeRegistry, server: Server
) -> None:
    """Two million fit into one list, and would be half a gigabyte of words."""
    fake.tags = True
    fake.rules.append(at(API, index_reply([0] * 100_000)))

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert len(refused(items)) == MAX_UNREADABLE + 1
    assert "more than 100 lines that cannot be read" in refused(items)[-1]


def _of_another(fake: FakeRegistry) -> bytes:
    """The lying index: a signature about other content."""
    other = signature(OTHER.manifest)
    fake.attach(other)
    return other.manifest


def _two_layers(fake: FakeRegistry) -> bytes:
    members = json.loads(SIGNATURES[0].manifest)
    members["layers"] *= 2
    return compact(members)


def _no_envelope(fake: FakeRegistry) -> bytes:
    added = signature(IMAGE.manifest, lost="envelope")
    fake.attach(added)
    del fake.blobs[str(Digest.of(added.envelope))]
    fake.about[str(IMAGE.manifest.descriptor.digest)].pop()
    return added.manifest


def _swapped_envelope(fake: FakeRegistry) -> bytes:
    raw = _no_envelope(fake)
    members = json.loads(raw)
    fake.blobs[members["layers"][0]["digest"]] = b"x" * members["layers"][0]["size"]
    return raw


def _huge_envelope(fake: FakeRegistry) -> bytes:
    members = json.loads(SIGNATURES[0].manifest)
    members["layers"][0]["size"] = 2**62
    return compact(members)


@pytest.mark.parametrize(
    "make",
    [_of_another, _two_layers, _no_envelope, _swapped_envelope, _huge_envelope],
)
def test_a_signature_that_cannot_be_had_does_not_lose_the_others(
    fake: FakeRegistry, server: Server, make: object
) -> None:
    """T-RG-8: notation gives up at the first; anybody who may push could block."""
    assert callable(make)
    raw = make(fake)
    fake.push(Content(OCI_MANIFEST, raw))
    fake.about[str(IMAGE.manifest.descriptor.digest)].insert(0, entry_of(raw))

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert len(refused(items)) == 1


def test_a_signature_that_drips_does_not_lose_the_others(
    fake: FakeRegistry, server: Server
) -> None:
    """T-RG-3, T-RG-8: each request has a time of its own within the whole."""

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        while True:  # until the client hangs up
            yield b" "
            time.sleep(0.05)

    first = str(Digest.of(SIGNATURES[0].envelope))
    fake.rules.append(at(f"/blobs/{first}", Reply(raw=drip)))

    items = take(server, request_seconds=2)  # the others need a hundredth

    assert signatures(items) == list(SIGNATURES[1:])
    assert len(refused(items)) == 1


def test_what_is_no_signature_is_passed_over(
    fake: FakeRegistry, server: Server
) -> None:
    """Bills of materials and attestations are about images, too."""
    sbom = compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/spdx+json",
            "config": entry_of(b"{}"),
            "layers": [],
            "subject": entry_of(IMAGE.manifest.raw),
        }
    )
    fake.push(Content(OCI_MANIFEST, sbom))
    fake.about[str(IMAGE.manifest.descriptor.digest)].insert(0, entry_of(sbom))

    items = take(server)

    assert signatures(items) == list(SIGNATURES)
    assert refused(items) == []


def test_more_referrers_than_the_limit_are_not_looked_at(
    fake: FakeRegistry, server: Server
) -> None:
    """Row 65: 10^5 lines that name nothing; the time and requests are bounded."""
    lines: list[Json] = [entry_of(b"%d" % number) for number in range(5_000)]
    fake.about[str(IMAGE.manifest.descriptor.digest)] = lines

    items = take(server)

    assert any("more than 1000" in why for why in refused(items))
    assert any("100 about one manifest is the limit" in why for why in refused(items))
    assert len(server.seen) < 110


def test_the_likely_ones_come_first(fake: FakeRegistry, server: Server) -> None:
    """Rows 65, T-RG-8: other artifacts do not push signatures over the limit."""
    lines: list[Json] = [
        entry_of(b"%d" % number, artifactType="application/spdx+json")
        for number in range(200)
    ]
    digest = str(IMAGE.manifest.descriptor.digest)
    fake.about[digest] = lines + fake.about[digest]

    assert signatures(take(server)) == list(SIGNATURES)


def test_a_longer_digest_has_its_tag_cut(fake: FakeRegistry) -> None:
    """distribution-spec, "Referrers Tag Schema": 64 characters of the digest."""
    digest = Digest("sha512", "ab" * 64)
    fake.referrers = "404"
    with serving(fake) as server, Registry(Access(server.host, http=True), 1e9) as it:
        found = it.referrers("app", digest)

    assert (found.entries, found.refused, found.has_api) == ((), (), False)
    assert server.paths()[-1] == f"/v2/app/manifests/sha512-{'ab' * 32}"
