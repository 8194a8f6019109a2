"""`enforcer copy`: between registries, layouts and archives, with all that is about it.

The registry is docker-registry 2.8, which has no Referrers API; those with one are
fakes (tests/unit/sources/test_registry_push.py).
"""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from enforcer.core.image import INDEX_TYPES, MANIFEST_TYPES
from enforcer.core.signature_manifest import SIGNATURE_ARTIFACT_TYPE
from tests.engines.enforced import EnforcedHost
from tests.engines.images import write_layout
from tests.engines.process import run
from tests.engines.registry import running_registry
from tests.real.artifacts import Artifact, Maker
from tests.real.stage import Done

KILLS = 200 if os.environ.get("ENFORCER_SOAK") else 5
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
SECRET = "copy-canary-5d1f"  # noqa: S105 - of this test


@pytest.fixture(scope="module")
def host(engines: Path) -> Iterator[EnforcedHost]:
    with EnforcedHost() as host:
        yield host


@pytest.fixture(scope="module")
def registry(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def maker(host: EnforcedHost, tmp_path: Path) -> Maker:
    return Maker(host, tmp_path)


@pytest.fixture
def chart(maker: Maker) -> Artifact:
    """A chart signed twice, with an SBOM that is signed as well."""
    chart = maker.chart()
    maker.sign(chart)
    maker.sign(chart)
    about = f"{chart.layout}@{chart.digest}"
    words = ("--oci-layout", "--artifact-type", "application/spdx+json")
    sbom = maker.oras.attach(about, "sbom.json", b'{"spdx":1}', *words)
    maker.sign(Artifact("sbom", chart.layout, "sbom", sbom, b""))
    return chart


def copy(host: EnforcedHost, source: object, to: object, *words: str) -> Done:
    return host.enforcer("copy", str(source), str(to), *words, check=False)


def digest_at(registry: str, name: str) -> str:
    """The digest a tag of a registry names; "" for none."""
    repository, _, tag = name.rpartition(":")
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    accept = ", ".join(MANIFEST_TYPES | INDEX_TYPES)
    try:
        with urlopen(Request(url, headers={"Accept": accept}, method="HEAD")) as answer:
            return str(answer.headers["Docker-Content-Digest"])
    except HTTPError as error:
        if error.code != 404:
            raise
        return ""


def about(maker: Maker, place: str, *words: str) -> list[dict[str, Any]]:
    """What oras finds about a manifest, with what is about that."""
    words = words or ("--plain-http",)
    done = maker.oras.oras("discover", *words, "--format", "json", place)
    return list(json.loads(done.stdout)["referrers"])


def signatures(maker: Maker, place: str, *words: str) -> int:
    kinds = [one["artifactType"] for one in about(maker, place, *words)]
    return kinds.count(SIGNATURE_ARTIFACT_TYPE)


def test_a_round_trip_keeps_the_digest_and_everything_about_it(
    host: EnforcedHost, registry: str, maker: Maker, chart: Artifact, tmp_path: Path
) -> None:
    """Layout, registry, another repository, archive, layout, registry: the same."""
    places = [
        chart.target,
        f"{registry}/dev/app:1",
        f"{registry}/prod/app:1",
        f"oci-archive:{tmp_path}/app.tar",
        f"oci-layout:{tmp_path}/copied",
        f"{registry}/again/app:2",
    ]
    done = [
        copy(host, source, to.replace("prod/app:1", "prod/app"), "-o", "json")
        for source, to in pairwise(places)  # without a tag it is the source's
    ]

    assert [d.returncode for d in done] == [0] * 5, [d.stderr for d in done]
    for one in done:
        found = json.loads(one.stdout)
        assert found["digest"] == chart.digest
        assert (found["signatures"], found["otherReferrers"]) == (3, 1)
    assert digest_at(registry, "prod/app:1") == chart.digest
    assert digest_at(registry, "again/app:2") == chart.digest
    for repository in ("dev/app", "prod/app", "again/app"):
        host.notation.notation(
            "verify", "--insecure-registry", f"{registry}/{repository}@{chart.digest}"
        )
    host.notation.verify_layout(
        tmp_path / "copied", chart.digest, chart.scope, check=True
    )
    for place, words in (
        (f"{registry}/again/app:2", ("--plain-http",)),
        (f"{tmp_path}/copied@{chart.digest}", ("--oci-layout",)),
    ):
        assert signatures(maker, place, *words) == 2
        (sbom,) = [
            one for one in about(maker, place, *words)
            if one["artifactType"] == "application/spdx+json"
        ]  # fmt: skip
        assert len(sbom["referrers"]) == 1
    for place in places:
        host.enforcer("verify", place, "--scope", chart.scope)


def test_an_index_is_copied_with_what_is_about_its_platforms(
    host: EnforcedHost, registry: str, tmp_path: Path
) -> None:
    """Some sign the index, some each platform; what a node runs is the latter."""
    layout = tmp_path / "image"
    top = write_layout(layout, text="copied", tag="app:1", index=True)
    index = json.loads((layout / "blobs" / top.replace(":", "/")).read_text())
    platform = index["manifests"][0]["digest"]
    host.notation.sign_layout(layout, top)
    # notation signs what index.json lists
    listing = json.loads((layout / "index.json").read_text())
    listing["manifests"].append(index["manifests"][0])
    (layout / "index.json").write_text(json.dumps(listing))
    host.notation.sign_layout(layout, platform)

    done = copy(host, f"oci-layout:{layout}@{top}", f"{registry}/indexed/app:1")

    assert "with 2 signature(s); nothing was judged" in done.stdout
    for digest in (top, platform):
        host.notation.notation(
            "verify", "--insecure-registry", f"{registry}/indexed/app@{digest}"
        )


def test_an_image_that_is_copied_to_an_archive_can_be_loaded(
    host: EnforcedHost, registry: str, tmp_path: Path
) -> None:
    """manifest.json is all that Docker's overlay2 store looks at."""
    layout = tmp_path / "image"
    digest = write_layout(layout, text="loaded", tag="app:1")
    there = f"{registry}/loaded/app:1"
    archive = tmp_path / "app.tar"
    copy(host, f"oci-layout:{layout}", there)

    done = copy(host, there, f"oci-archive:{archive}")

    assert done.returncode == 0
    for place in (f"docker-archive:{archive}", f"oci-archive:{archive}:1"):
        shown = run(["/usr/bin/skopeo", "inspect", place], env=PLAIN).stdout
        assert json.loads(shown)["Architecture"] == "amd64"
    with tarfile.open(archive) as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        (image,) = json.loads(listed.read())
        assert image["RepoTags"] == [there]
        assert f"blobs/sha256/{digest.removeprefix('sha256:')}" in tar.getnames()


def test_copying_again_changes_nothing(
    host: EnforcedHost, registry: str, chart: Artifact, tmp_path: Path
) -> None:
    """Pipelines run twice."""
    there = f"{registry}/again/idempotent:1"
    layout = f"oci-layout:{tmp_path}/copied"
    for to in (there, there, layout, layout):
        done = copy(host, chart.target, to)
        assert "with 3 signature(s) and 1 other manifest(s) about it" in done.stdout
    index = json.loads((tmp_path / "copied" / "index.json").read_text())
    fallback = f"again/idempotent:{chart.digest.replace(':', '-')}"
    first = digest_at(registry, fallback)

    copy(host, there, there)

    assert digest_at(registry, fallback) == first != ""
    tagged = [
        line for line in index["manifests"]
        if line.get("annotations", {}).get("org.opencontainers.image.ref.name")
    ]  # fmt: skip
    assert [line["digest"] for line in tagged] == [chart.digest]


def test_signatures_that_are_there_stay(
    host: EnforcedHost, registry: str, maker: Maker, chart: Artifact
) -> None:
    """The customer's countersignature survives the vendor's next delivery."""
    there = f"{registry}/stay/app:1"
    copy(host, chart.target, there)
    host.notation.notation(
        "sign", "--insecure-registry", "--key", host.stranger.name,
        f"{registry}/stay/app@{chart.digest}",
    )  # fmt: skip
    maker.sign(chart)

    copy(host, chart.target, there)

    assert signatures(maker, there) == 4


@pytest.mark.parametrize("kind", ["archive", "layout"])
def test_what_is_damaged_is_not_copied(
    host: EnforcedHost, registry: str, maker: Maker, tmp_path: Path, kind: str
) -> None:
    """No tag, no file, no folder: nothing that could be taken for the artifact."""
    firmware = maker.firmware(kind.encode() * 1000)
    maker.sign(firmware)
    for path in (firmware.layout / "blobs" / "sha256").iterdir():
        if path.read_bytes() == firmware.payload:
            path.write_bytes(firmware.payload[:-1] + b"!")
    target = tmp_path / "copied"
    to = f"oci-{kind}:{target}"

    pushed = copy(host, firmware.target, f"{registry}/damaged/{kind}:1")
    written = copy(host, firmware.target, to)

    assert (pushed.returncode, written.returncode) == (1, 3)
    assert "holds other content than its" in pushed.stderr
    assert digest_at(registry, f"damaged/{kind}:1") == ""
    assert "ENF-2811" in written.stderr
    assert not target.exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_referrer_that_is_damaged_is_said_and_the_rest_is_copied(
    host: EnforcedHost, registry: str, chart: Artifact
) -> None:
    """One bad signature must not keep the others from travelling."""
    listed = json.loads((chart.layout / "index.json").read_text())["manifests"]
    signature = listed[1]["digest"]
    path = chart.layout / "blobs" / signature.replace(":", "/")
    path.write_bytes(path.read_bytes() + b" ")

    done = copy(host, chart.target, f"{registry}/damaged/referrer:1")

    assert done.returncode == 1
    assert f"enforcer: not copied: {signature}: " in done.stderr
    assert "with 2 signature(s)" in done.stdout or "1 signature(s)" in done.stdout
    assert digest_at(registry, "damaged/referrer:1") == chart.digest


def test_a_copy_that_is_killed_leaves_no_tag_of_a_half(
    host: EnforcedHost, registry: str, maker: Maker
) -> None:
    """kill -9 anywhere: nobody finds the artifact before all of it is there."""
    firmware = maker.firmware(os.urandom(3_000_000))
    maker.sign(firmware)
    maker.sign(firmware)
    words = [sys.executable, "-m", "enforcer", *host.folders, "copy", firmware.target]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    times = []
    for number in range(3):
        started = time.monotonic()
        to = f"{registry}/killed/whole{number}:1"
        subprocess.run([*words, to], env=environment, check=True)
        times.append(time.monotonic() - started)
    whole = min(times)  # what held up one of them must not put the kills off
    generator = random.Random(7)  # noqa: S311 - spreads the kills

    states = []
    for number in range(KILLS):
        name = f"killed/app{number}:1"
        with subprocess.Popen([*words, f"{registry}/{name}"], env=environment) as one:
            time.sleep(whole * generator.uniform(0.3, 1.1))
            one.send_signal(signal.SIGKILL)
        states.append(digest_at(registry, name))
        if states[-1]:
            assert signatures(maker, f"{registry}/{name}") == 2
        again = copy(host, firmware.target, f"{registry}/{name}")
        assert "with 2 signature(s)" in again.stdout
        assert digest_at(registry, name) == firmware.digest

    assert set(states) <= {"", firmware.digest}
    assert "" in states


def test_what_is_not_there_or_not_ours_is_said(
    host: EnforcedHost, registry: str, chart: Artifact, tmp_path: Path
) -> None:
    other = "sha256:" + "0" * 64
    asked = {
        (f"{registry}/no/app:1", f"{registry}/x:1"): (3, "[ENF-2601]"),
        ("127.0.0.1:1/app:1", f"{registry}/x:1"): (3, "[ENF-2602]"),
        (chart.target, "127.0.0.1:1/app:1"): (3, "[ENF-2602]"),
        (chart.target, "app:1"): (2, "names no registry"),
        (chart.target, "docker:app"): (2, ""),
        (f"oci-layout:{tmp_path}/none", f"{registry}/x:1"): (3, "not an OCI layout"),
        (chart.target, f"{registry}/x:1@{other}"): (2, "another digest"),
        (chart.target, f"oci-archive:{tmp_path}"): (1, "[ENF-2812]"),
    }
    for (source, to), (status, words) in asked.items():
        done = copy(host, source, to)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr


def test_a_login_is_used_and_never_shown(
    host: EnforcedHost, chart: Artifact, tmp_path: Path
) -> None:
    """The person's own, from the file that `docker login` writes."""
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    (tmp_path / "registry").mkdir()
    words = [sys.executable, "-m", "enforcer", *host.folders, "copy", chart.target]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path.cwd()),
        "HOME": str(home),
    }
    with running_registry(tmp_path / "registry", users={"ci": SECRET}) as registry:
        to = f"{registry}/private/app:1"
        login = json.dumps(
            {"auths": {registry: {"username": "ci", "password": SECRET}}}
        )
        found = []
        for text in ("{}", login.replace(SECRET, f"{SECRET}-wrong"), login):
            (home / ".docker" / "config.json").write_text(text)
            (home / ".docker" / "config.json").chmod(0o600)
            found.append(
                subprocess.run(
                    [*words, to], env=environment, capture_output=True, text=True
                )
            )

    assert [done.returncode for done in found] == [3, 3, 0], found
    assert all("[ENF-2603]" in done.stderr for done in found[:2])
    assert not any(SECRET in done.stdout + done.stderr for done in found)
