"""Images that are not run but mounted: what a container gets to see is judged, too."""

import contextlib
from pathlib import Path

import pytest

from tests.engines.images import dockerfile_context
from tests.real.canary import everything_in
from tests.real.stage import Image, Stage, said

STORES = pytest.mark.parametrize("generation", ["gated_docker", "gated_graph_docker"])
SHOW: tuple[str, ...] = ("/bin/cat", "/x/message")
SLEEP = ("/bin/sleep", "600")
LAYERS = 90


def _stage(generation: str, request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.getfixturevalue(generation)
    return stage


def _signed(stage: Stage, word: str) -> Image:
    image = stage.image(word)
    stage.sign(image)
    return image


@STORES
@pytest.mark.parametrize("part", ["all of it", "a folder of it"])
def test_an_unsigned_image_mounted_into_a_signed_one_is_refused_by_name(
    generation: str, part: str, request: pytest.FixtureRequest
) -> None:
    """`--mount type=image` brings in code that nobody signed (facts/hooks.md, 1)."""
    stage = _stage(generation, request)
    good, evil = _signed(stage, "good"), stage.image("evil")
    mount = f"type=image,source={evil.name},target=/x"
    show = SHOW
    if part == "a folder of it":
        mount, show = f"{mount},image-subpath=bin", ("/x/busybox", "echo", evil.text)
    words = ("run", "--rm", "--mount", mount, good.name, *show)

    refused = stage.docker.docker(*words, check=False)
    stage.sign(evil)
    allowed = stage.docker.docker(*words, check=False)

    assert refused.returncode == 125
    assert evil.text not in refused.stdout
    assert f"{evil.name} mounted at /x is not signed" in refused.stderr
    assert "[ENF-1001]" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, f"{evil.text}\n"), said(allowed)
    last = stage.host.decisions()[-1]
    assert last["reference"] == good.name
    assert f"; {evil.name} mounted at /x is signed by" in last["message"]


@STORES
def test_mounts_that_are_no_images_start_as_ever(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Volumes lie below the data root, and tools look at all of it: that stays."""
    stage = _stage(generation, request)
    good = _signed(stage, "good")
    stranger = stage.image("stranger")  # so that there is an image next to it
    folder = stage.host.home / stage.name("folder")
    folder.mkdir()
    (folder / "message").write_text(stranger.text)
    link = folder.with_suffix(".link")
    link.symlink_to(folder)  # absolute, as /var/run is
    root = stage.docker.data_root

    done = stage.docker.docker(
        "run", "--rm", f"--volume={stage.name('volume')}:/v", f"--volume={link}:/x",
        f"--volume={root}:/root:ro", f"--volume={stage.docker.containerd.root}:/c:ro",
        f"--volume={stage.docker.socket}:/d.sock", "--tmpfs=/t", good.name, *SHOW,
    )  # fmt: skip

    assert done.stdout == stranger.text


def _layer_of(stage: Stage, image: Image) -> Path:
    """The folder in which an engine unpacked our image's only layer."""
    engine = stage.engine if not stage.is_docker else stage.docker.containerd
    below = [engine.home / "data" / "overlay2", engine.home / "root"]
    for found in (path for folder in below for path in everything_in(folder)):
        with contextlib.suppress(FileNotFoundError):  # as of containers that ended
            if found.name == "message" and found.read_text() == f"{image.text}\n":
                return found.parent
    raise AssertionError(f"{image.name} is unpacked nowhere")


@STORES
@pytest.mark.parametrize("how", ["bind", "link", "overlay"])
def test_a_folder_of_the_image_store_is_no_way_around(
    how: str, generation: str, request: pytest.FixtureRequest
) -> None:
    """What is in the store and cannot be told to be a signed image is refused."""
    stage = _stage(generation, request)
    good, evil = _signed(stage, "good"), stage.image("evil")
    source = str(_layer_of(stage, evil))
    if how == "link":
        link = stage.host.home / stage.name("link")
        link.symlink_to(source)
        source = str(link)
    if how == "overlay":
        empty = stage.host.home / stage.name("empty")
        empty.mkdir()
        layers = f"o=lowerdir={source}:{empty}"
        options = ("--opt=type=overlay", "--opt=device=overlay", f"--opt={layers}")
        source = stage.name("volume")
        stage.docker.docker("volume", "create", *options, source)

    done = stage.docker.docker(
        "run", "--rm", f"--volume={source}:/x", good.name, *SHOW, check=False
    )

    assert done.returncode == 125
    assert evil.text not in said(done)
    assert "mounted at /x is out of an engine's image store" in done.stderr
    assert "[ENF-1112]" in done.stderr


def test_another_containers_file_system_is_judged_as_its_image(
    gated_docker: Stage,
) -> None:
    """By its content, whatever it is mounted for; overlay2's are refused as a whole."""
    stage = gated_docker
    good, sleeper = _signed(stage, "good"), stage.image("sleeper", cmd=SLEEP)
    stage.sign(sleeper)
    name = stage.name("other")
    docker = stage.docker.docker
    other = docker("run", "--detach", "--name", name, sleeper.name).stdout.strip()
    root = stage.docker.data_root / "rootfs" / "overlayfs" / other
    words = ("run", "--rm", f"--volume={root}:/x", good.name, *SHOW)

    allowed = docker(*words, check=False)
    stage.unsign(sleeper)
    refused = docker(*words, check=False)
    docker("rm", "--force", name)

    assert (allowed.returncode, allowed.stdout) == (0, f"{sleeper.text}\n")
    assert refused.returncode == 125
    assert f"{sleeper.name} mounted at /x is not signed" in refused.stderr


@STORES
def test_the_tag_of_a_mount_that_was_moved_does_not_vouch_for_it(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Docker notes a name for the mount; what is mounted decides."""
    stage = _stage(generation, request)
    good, evil = _signed(stage, "good"), stage.image("evil")
    tag, name = f"{stage.name('moved')}:1", stage.name("early")
    stage.docker.docker("tag", evil.name, tag)
    mount = f"type=image,source={tag},target=/x"
    stage.docker.docker("create", "--name", name, "--mount", mount, good.name, *SHOW)

    stage.docker.docker("tag", good.name, tag)
    done = stage.docker.docker("start", "--attach", name, check=False)
    stage.docker.docker("rm", name)

    assert evil.text not in said(done)
    assert done.returncode != 0 or done.stdout == f"{good.text}\n"


@pytest.mark.parametrize("generation", ["gated_containerd", "gated_old_containerd"])
@pytest.mark.parametrize("kind", ["bind", "overlay"])
def test_containerds_own_mounts_out_of_its_store_are_refused(
    kind: str, generation: str, request: pytest.FixtureRequest
) -> None:
    """ctr writes mounts into the bundle as they are typed, an overlay included."""
    stage = _stage(generation, request)
    good, evil = _signed(stage, "good"), stage.image("evil")
    name, other = (stage.container(stage.name(word)) for word in ("run", "keeps"))
    stage.containerd.ctr("containers", "create", evil.full, other)  # unpacks it
    layer = _layer_of(stage, evil)
    options = f"rbind:ro,src={layer},dst=/x"
    if kind == "overlay":
        options = f"lowerdir={layer},src=overlay,dst=/x"
    mount = f"type={kind},options={options}"

    done = stage.containerd.ctr(
        "run", "--rm", "--mount", mount, good.full, name, *SHOW, check=False
    )

    assert done.returncode == 1
    assert evil.text not in said(done)
    assert "[ENF-1112]" in done.stderr


@STORES
def test_a_mounted_image_of_many_layers_is_told_apart(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """So many that their names do not fit a page, and engines mount relative ones."""
    stage = _stage(generation, request)
    docker, good = stage.docker.docker, _signed(stage, "good")
    tag = f"{stage.name('deep')}:1"
    steps = [f"COPY Dockerfile /copy-{number}" for number in range(LAYERS)]
    folder = stage.host.home / stage.name("context")
    context = dockerfile_context(folder, tag, extra=steps)
    docker("build", "--network=none", f"--tag={tag}", context)
    mount = f"type=image,source={tag},target=/x"
    words = ("run", "--rm", "--mount", mount, good.name, *SHOW)

    refused = docker(*words, check=False)
    stage.host.sign(f"docker:{tag}")
    allowed = docker(*words, check=False)

    assert f"{tag} mounted at /x is not signed" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, f"{tag}\n"), said(allowed)
