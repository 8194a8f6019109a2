"""What a copy carries, in which order, and where it stops."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from enforcer.copying import MAX_NESTED, CopyError, Package, gather
from enforcer.core.codes import Code
from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from enforcer.core.subject import Content
from tests.unit.sources.signed import compact, describe, image, signature

ONE, TWO = image("one"), image("two")


@dataclass
class Memory:
    """An origin in memory; `about` lists whatever a test wants it to."""

    contents: list[Content] = field(default_factory=list)
    about: dict[Digest, list[Content | Refused]] = field(default_factory=dict)
    name: str = "memory"

    def manifest(self, named: Descriptor) -> Content:
        for content in self.contents:
            if content.descriptor == named:
                return content
        raise MalformedError(f"no {named.digest.short}", remedy="-")

    def stream(self, named: Descriptor) -> Iterator[bytes]:
        raise AssertionError("nothing is read before it is written")

    def referrers(self, subject: Digest) -> Iterator[Content | Refused]:
        yield from self.about.get(subject, ())

    def lists(self, subject: Content, *items: Content | Refused) -> None:
        self.about.setdefault(subject.descriptor.digest, []).extend(items)


def attached(subject: Content, text: str, **members: object) -> Content:
    """An artifact about a manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": describe("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [describe("application/json", text.encode())],
        "subject": describe(subject.media_type, subject.raw),
    }
    return Content(OCI_MANIFEST, compact(document | members))


def index(*listed: Content, **members: object) -> Content:
    entries = [describe(content.media_type, content.raw) for content in listed]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Content(OCI_INDEX, compact(document | members))


def about(package: Package) -> list[Content]:
    return [referrer.content for referrer in package.referrers]


def test_everything_about_everything_is_carried_and_subjects_come_first() -> None:
    """A registry takes an index after its manifests; people sign SBOMs, too."""
    top = index(ONE.manifest, TWO.manifest)
    signed = Content(OCI_MANIFEST, signature(top).manifest)
    of_one = Content(OCI_MANIFEST, signature(ONE.manifest).manifest)
    sbom = attached(ONE.manifest, "sbom")
    of_sbom = Content(OCI_MANIFEST, signature(sbom).manifest)
    origin = Memory([ONE.manifest, TWO.manifest])
    origin.lists(top, signed)
    origin.lists(ONE.manifest, sbom, of_one, sbom)
    origin.lists(sbom, of_sbom)

    package = gather(origin, top)

    assert package.manifests == (ONE.manifest, TWO.manifest, top)
    assert set(about(package)) == {signed, of_one, sbom, of_sbom}
    assert about(package).index(sbom) < about(package).index(of_sbom)
    assert package.signatures == 3
    assert len(package.blobs) == len(set(package.blobs))
    named = {blob.digest for blob in package.blobs}
    assert {ONE.config_digest, TWO.config_digest, Digest.of(b"sbom")} <= named
    assert package.refused == ()


def test_what_is_missing_is_no_copy() -> None:
    """A copy of a part would have the digest that was signed, and not the content."""
    top = index(ONE.manifest, TWO.manifest)

    with pytest.raises(CopyError, match="does not hold all of the index") as refused:
        gather(Memory([ONE.manifest]), top)

    assert refused.value.code is Code.COPY_INCOMPLETE
    assert "@DIGEST" in refused.value.remedy


def test_a_list_that_lies_carries_nothing_of_it_and_stops_nothing() -> None:
    """Whoever may write a list must not have us spread what it says."""
    other = Content(OCI_MANIFEST, signature(TWO.manifest).manifest)
    no_subject = TWO.manifest
    broken = attached(ONE.manifest, "x", layers=5)
    good = Content(OCI_MANIFEST, signature(ONE.manifest).manifest)
    origin = Memory()
    told = Refused("sha256:x", "gone")
    origin.lists(ONE.manifest, other, no_subject, broken, told, good)

    package = gather(origin, ONE.manifest)

    assert about(package) == [good]
    assert len(package.refused) == 4
    assert told in package.refused
    assert all("ENF-" in one.why for one in package.refused if one is not told)


def test_what_an_index_lists_and_is_about_it_is_both() -> None:
    """Attestations of builds are listed in the index and have a subject."""
    attestation = attached(ONE.manifest, "slsa")
    top = index(ONE.manifest, attestation)
    origin = Memory([ONE.manifest, attestation])
    origin.lists(ONE.manifest, attestation)

    package = gather(origin, top)

    assert package.manifests == (ONE.manifest, attestation, top)
    assert about(package) == [attestation]


def test_what_has_no_end_is_refused() -> None:
    """Each bound is a refusal of the whole, never a copy of a part."""
    deep = ONE.manifest
    origin = Memory([deep])
    for _ in range(MAX_NESTED + 1):
        deep = index(deep)
        origin.contents.append(deep)
    chain = Memory()
    subject = ONE.manifest
    for step in range(MAX_NESTED + 1):
        more = attached(subject, str(step))
        chain.lists(subject, more)
        subject = more
    many = Memory()
    many.lists(ONE.manifest, *(attached(ONE.manifest, str(n)) for n in range(4001)))

    for source, top, what in (
        (origin, deep, "indexes nested"),
        (chain, ONE.manifest, "manifests about each other"),
        (many, ONE.manifest, "manifests or"),
    ):
        with pytest.raises(CopyError, match=f"has .*{what}") as refused:
            gather(source, top)
        assert refused.value.code is Code.TOO_LARGE


def test_a_referrer_may_be_an_index() -> None:
    part = Content(
        OCI_MANIFEST,
        compact(
            {"schemaVersion": 2, "config": describe(OCI_CONFIG, b"{}"), "layers": []}
        ),
    )
    listing = index(part, subject=describe(OCI_MANIFEST, ONE.manifest.raw))
    origin = Memory([part])
    origin.lists(ONE.manifest, listing)

    package = gather(origin, ONE.manifest)

    assert about(package) == [listing]
    assert part in package.manifests
