"""Helm charts, SIF files, Operator bundles, firmware: signed and judged as they are.

Made by oras with the media types their own tools use, signed by notation.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.core.image import OCI_MANIFEST
from tests.engines.enforced import EnforcedHost
from tests.engines.images import blob_path, layout_to_tar, read_blob
from tests.real.artifacts import Artifact, Maker, blob_of
from tests.real.stage import Done, Stage, said
from tests.unit.sources.signed import compact, describe

Make = Callable[[Maker], Artifact]

KINDS: dict[str, Make] = {
    "chart": Maker.chart,
    "sif": Maker.sif,
    "bundle": Maker.bundle,
    "firmware": Maker.firmware,
}


@pytest.fixture
def host(engines: Path) -> Iterator[EnforcedHost]:
    with EnforcedHost() as host:
        yield host


@pytest.fixture
def maker(host: EnforcedHost, tmp_path: Path) -> Maker:
    return Maker(host, tmp_path)


def verify(host: EnforcedHost, artifact: Artifact, *words: str) -> Done:
    return host.enforcer(
        "verify", artifact.target, "--scope", artifact.scope, *words, check=False
    )


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_an_artifact_is_judged_by_the_signature_on_its_manifest(
    host: EnforcedHost, maker: Maker, make: Make
) -> None:
    """Whatever its media types, and whoever nobody trusts counts for nothing."""
    artifact = make(maker)

    unsigned = verify(host, artifact)
    maker.sign(artifact, host.stranger)
    strange = verify(host, artifact)
    maker.sign(artifact)
    signed = verify(host, artifact)

    assert (unsigned.returncode, strange.returncode, signed.returncode) == (1, 1, 0)
    assert "[ENF-1001]" in unsigned.stdout
    assert "[ENF-1004]" in strange.stdout
    assert "[ENF-1000]" in signed.stdout
    assert ("  artifact   " in signed.stdout) == (artifact.kind != "image")


@pytest.mark.parametrize("make", [Maker.chart, Maker.sif, Maker.firmware])
def test_an_artifacts_content_is_what_was_signed_or_it_is_refused(
    host: EnforcedHost, maker: Maker, make: Make
) -> None:
    """An engine hashes the layers it unpacks; a firmware nobody would hash but us."""
    artifact = make(maker)
    maker.sign(artifact)
    payload = blob_of(artifact, artifact.payload)

    good = verify(host, artifact)
    payload.write_bytes(artifact.payload[:-1] + b"!")
    changed = verify(host, artifact)
    payload.write_bytes(artifact.payload + b"!")
    longer = verify(host, artifact)
    payload.unlink()
    absent = verify(host, artifact)

    assert "bytes: what was signed" in good.stdout
    assert [d.returncode for d in (good, changed, longer, absent)] == [0, 1, 1, 3]
    assert "holds other content than its name says" in changed.stdout
    assert "[ENF-1104]" in changed.stdout
    assert f"not the {len(artifact.payload)} it is listed with" in longer.stdout
    assert "[ENF-1105]" in absent.stdout


def test_another_way_of_vouching_is_named_and_not_counted(
    host: EnforcedHost, maker: Maker
) -> None:
    """PGP provenance is a second fact, and nobody here knows whose key that is."""
    with_it = maker.chart("with")
    unsigned = verify(host, with_it)
    without = maker.chart("without", provenance=False)
    for chart in (with_it, without):
        maker.sign(chart)

    found = [
        json.loads(verify(host, c, "-o", "json").stdout) for c in (with_it, without)
    ]
    shown = verify(host, with_it).stdout

    assert unsigned.returncode == 1
    assert [f["artifact"]["uncounted"] for f in found] == [
        ["PGP provenance (.prov)"],
        [],
    ]
    assert found[0]["artifact"] | {"uncounted": []} == {
        "kind": "Helm chart",
        "mediaType": "application/vnd.cncf.helm.config.v1+json",
        "blobsVerified": 3,
        "uncounted": [],
    }
    assert "PGP provenance (.prov): not looked at, counts for nothing" in shown


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_the_cache_and_notation_know_an_artifact_that_enforcer_signed(
    host: EnforcedHost, maker: Maker, make: Make
) -> None:
    """Signed here, verified anywhere; brought here, found by `--with-cache`."""
    artifact = make(maker)
    host.enforcer(
        "sign", artifact.target, "--key", host.acme.key, "--cert", host.acme.chain,
        "--write-layout",
    )  # fmt: skip

    theirs = host.notation.verify_layout(
        artifact.layout, artifact.digest, artifact.scope, check=True
    )
    host.enforcer("cache", "remove", artifact.digest)
    host.enforcer("cache", "import", artifact.target)
    listed = host.enforcer("cache", "list").stdout

    assert "Successfully verified" in theirs.stdout
    assert artifact.digest in listed


def test_a_signed_artifact_is_no_image_however_much_it_looks_like_one(
    gated_containerd: Stage,
) -> None:
    """What was released as firmware must not start as a container.

    containerd unpacks and runs it: layers and configuration are an image's.
    """
    stage = gated_containerd
    image = stage.image("artifact")
    stage.sign(image)
    assert stage.run(image).returncode == 0
    manifest = read_blob(image.layout, image.digest)
    manifest["artifactType"] = "application/vnd.acme-rockets.firmware.v1"
    raw = compact(manifest)
    described = describe(OCI_MANIFEST, raw)
    (image.layout / blob_path(str(described["digest"]))).write_bytes(raw)
    name = f"{stage.name('posing')}:1"
    posing = replace(image, name=name, digest=str(described["digest"]))
    names = {
        "io.containerd.image.name": posing.full,
        "org.opencontainers.image.ref.name": "1",
    }
    listing = {"schemaVersion": 2, "manifests": [described | {"annotations": names}]}
    (image.layout / "index.json").write_bytes(compact(listing))
    posing = replace(
        posing, archive=layout_to_tar(image.layout, image.layout.with_suffix(".2.tar"))
    )
    stage.unsign(image)
    stage.load(posing)
    stage.sign(posing)

    judged = stage.host.enforcer(
        "verify", f"oci-layout:{image.layout}", "--scope", "x.example/firmware"
    )
    done = stage.run(posing)

    assert "[ENF-1000]" in judged.stdout
    assert "[ENF-1001]" in said(done)
    assert stage.verdicts(posing) == [(False, "ENF-1001")]
