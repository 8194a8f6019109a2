"""One tar for everybody: exported on one host, loaded and started on another.

Each engine's image goes to engines of other kinds and ages. Nothing but the tar goes
with it: before `cache import` the image is refused there, and after it starts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout
from tests.engines.images import dockerfile_context
from tests.engines.notation import Notation, statement
from tests.engines.path import program
from tests.engines.process import run
from tests.real.acme import assert_refused, assert_runs
from tests.real.stage import Image, Stage
from tests.unit.sources.signed import SOAK

HOSTS = ("containerd", "old_containerd", "docker", "graph_docker", "old_docker")
# What is carried, and from which host.
FROM = {
    **{name: name for name in HOSTS},
    "built": "docker",
    "old_built": "old_docker",
    "gzipped": "graph_docker",
}


@dataclass(frozen=True)
class Carried:
    """An image that was signed on a host, and the tar that it was exported to."""

    image: Image
    tar: Path


@pytest.fixture(scope="module")
def stages(request: pytest.FixtureRequest) -> dict[str, Stage]:
    return {name: request.getfixturevalue(f"gated_{name}") for name in HOSTS}


@pytest.fixture(scope="module")
def carried(
    stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Carried]:
    """Export from a host, once; signed by somebody that each other host trusts."""
    folder = tmp_path_factory.mktemp("stick")
    made: dict[str, Carried] = {}

    def make(name: str) -> Carried:
        if name not in made:
            stage, tar = stages[FROM[name]], folder / f"{name}.tar"
            image = _made(name, stage, folder)
            target = _target(stage, image)
            signed = _layout(image) if name == "gzipped" else target
            for other in stages.values():
                stage.host.sign(signed, other.host.acme)
            words = ("cache", "export", "--with-image", target, f"oci-archive:{tar}")
            stage.host.enforcer(*words)
            made[name] = Carried(image, tar)
        return made[name]

    return make


def _made(name: str, stage: Stage, folder: Path) -> Image:
    """Make an image; BuildKit's has an index with an attestation.

    One that is gzipped is as from a registry: what is signed names layers as they were
    before Docker's own store unpacked them.
    """
    if not name.endswith("built"):
        return stage.image(name, index=name in ("containerd", "docker", "gzipped"))
    tag = f"{stage.name('built')}:1"
    text, context = f"this is {tag}", folder / f"{name}-context"
    env = {} if stage.docker.release == "forky" else {"DOCKER_BUILDKIT": "0"}
    words = ("build", "--network=none", "--tag", tag)
    stage.docker.docker(*words, dockerfile_context(context, text), env=env)
    return Image(tag, text, context, "", context)


def _target(stage: Stage, image: Image) -> str:
    return f"docker:{image.name}" if stage.is_docker else f"containerd:{image.full}"


def _layout(image: Image) -> str:
    return f"oci-layout:{image.layout}@{image.digest}"


def _pairs() -> list[tuple[str, str]]:
    """Every way from host to host; without the soak, each kind goes and comes."""
    everywhere = tuple(FROM) if SOAK else ("built",)
    some = zip(FROM, (*HOSTS[2:], *HOSTS), strict=False)
    pairs = [(source, host) for source in everywhere for host in HOSTS]
    pairs += [pair for pair in some if pair[0] not in everywhere]
    return [(source, host) for source, host in pairs if FROM[source] != host]


@pytest.mark.parametrize(("source", "host"), _pairs())
def test_an_image_is_carried(
    stages: dict[str, Stage],
    carried: Callable[[str], Carried],
    source: str,
    host: str,
) -> None:
    """Loaded by the engine, and started once its signatures are imported."""
    here, it = stages[host], carried(source)
    image = replace(it.image, archive=it.tar)

    here.load(image)
    assert_refused(here, image, "ENF-1001")
    done = here.host.enforcer("cache", "import", f"oci-archive:{it.tar}")

    assert done.stdout.startswith("imported ")
    assert_runs(here, image)


@pytest.mark.parametrize("source", ["built", "old_built", "gzipped"])
def test_notation_oras_and_skopeo_take_the_tar(
    stages: dict[str, Stage],
    carried: Callable[[str], Carried],
    tmp_path: Path,
    source: str,
) -> None:
    """oras reads the tar itself, notation what it unpacks; skopeo the image alone."""
    it = carried(source)
    folder, copied = tmp_path / "unpacked", tmp_path / "copied"
    folder.mkdir()
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    run(["tar", "--extract", "--file", it.tar, "--directory", folder], env=env)
    with open_layout(it.tar, archive=True, whole=True) as layout:
        top = layout.find(tag="1").descriptor.digest
        found = [getattr(item, "manifest", None) for item in layout.collect()]
    manifests = [json.loads(raw) for raw in found if raw]
    subject = manifests[0]["subject"]["digest"]
    notation = Notation(tmp_path / "notation")
    acme = stages["containerd"].host.acme
    notation.trust("acme", acme)
    notation.write_policy(statement("all", stores=("ca:acme",)))

    verified = notation.verify_layout(folder, subject, "registry.test/app")
    run(
        [program("oras"), "copy", "-r", "--from-oci-layout", f"{it.tar}@{top}",
         "--to-oci-layout", f"{copied}:1"],
        env=env,
    )  # fmt: skip
    run(
        ["skopeo", "--insecure-policy", "copy", f"oci-archive:{it.tar}:1",
         f"dir:{tmp_path}/skopeo"],
        env=env,
    )  # fmt: skip

    assert verified.returncode == 0, verified.stderr
    if str(top) == subject:
        again = notation.verify_layout(copied, subject, "registry.test/app")
        assert again.returncode == 0, again.stderr
    assert len({entry["subject"]["digest"] for entry in manifests}) == 1


@pytest.mark.parametrize("source", ["built", "gzipped"])
@pytest.mark.parametrize("host", HOSTS)
def test_an_engine_shows_the_image_and_nothing_else(
    stages: dict[str, Stage],
    carried: Callable[[str], Carried],
    host: str,
    source: str,
) -> None:
    """Signatures are no images, to nobody who lists or loads them."""
    stage, it = stages[host], carried(source)
    image = replace(it.image, archive=it.tar)
    _forget(stage, image)
    before = _names(stage)

    stage.load(image)

    shown = image.name if stage.is_docker else image.full
    assert _names(stage) - before == {shown}


def _names(stage: Stage) -> set[str]:
    if stage.is_docker:
        words = ("images", "--all", "--format", "{{.Repository}}:{{.Tag}}")
        return set(stage.docker.docker(*words).stdout.split())
    return set(stage.containerd.ctr("images", "ls", "--quiet").stdout.split())


def _forget(stage: Stage, image: Image) -> None:
    if stage.is_docker:
        stage.docker.docker("rmi", "--force", image.name, check=False)
    else:
        stage.containerd.ctr("images", "rm", "--sync", image.full, check=False)


@pytest.mark.parametrize("host", HOSTS)
def test_what_an_engine_saves_is_imported(
    stages: dict[str, Stage], tmp_path: Path, host: str
) -> None:
    """`docker save`, `ctr images export`: the manifest that is signed is in it.

    From before Docker 25, which has none, it is made again.
    """
    stage = stages[host]
    image = stage.save(stage.image("saved"))
    stage.sign(image, by="enforcer")
    cached = DiskCache(stage.host.state / "cache")
    signed = {entry.subject for entry in cached.entries()}
    words = ("--state-dir", tmp_path, "cache", "import")

    done = stage.host.enforcer(*words, f"docker-archive:{image.archive}")

    assert done.stdout.startswith("imported 0 signature(s)")
    taken = (tmp_path / "cache/blobs/sha256").iterdir()
    digests = {str(Digest("sha256", path.name)) for path in taken}
    assert len(digests & signed) == 1
