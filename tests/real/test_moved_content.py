"""Names that move and bytes that change between create and start.

Whatever happens, nothing runs that was not judged (facts/hooks.md, 0.6 and 0.7).
"""

import subprocess
from pathlib import Path

import pytest

from tests.engines.containerd import Containerd
from tests.engines.images import blob_path, describe
from tests.real.stage import Done, Image, Stage, said

CONTAINERDS = pytest.mark.parametrize(
    "generation", ["gated_containerd", "gated_old_containerd"]
)
DOCKERS = pytest.mark.parametrize(
    "generation", ["gated_docker", "gated_graph_docker", "gated_old_docker"]
)
TOPS = pytest.mark.parametrize("top", ["manifest", "index"])


def _stage(generation: str, request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.getfixturevalue(generation)
    return stage


def _create(engine: Containerd, image: Image, name: str) -> str:
    """Create a container with ctr, to be started later; return its full id."""
    container = engine.container_id(name)
    engine.ctr("containers", "create", image.full, container)
    return container


def _start(engine: Containerd, container: str) -> Done:
    done = engine.ctr("tasks", "start", container, check=False)
    engine.ctr("tasks", "rm", "--force", container, check=False)
    engine.ctr("containers", "rm", container, check=False)
    return done


def _codes(stage: Stage, container: str) -> list[str]:
    records = stage.host.decisions()
    return [r["code"] for r in records if r["container"] == container]


@TOPS
@CONTAINERDS
def test_a_container_made_of_evil_does_not_start_under_a_good_name(
    generation: str, top: str, request: pytest.FixtureRequest
) -> None:
    """The record says the signed name again; the root file system knows better."""
    stage = _stage(generation, request)
    good = stage.image("good", index=top == "index")
    stage.sign(good)
    stage.image("evil", name=good.name, index=top == "index")
    container = _create(stage.containerd, good, stage.name("moved"))

    stage.load(good)
    done = _start(stage.containerd, container)

    assert done.returncode == 1
    assert "this is" not in done.stdout
    assert "[ENF-1103]" in done.stderr
    assert _codes(stage, container) == ["ENF-1103"]


@TOPS
@CONTAINERDS
def test_a_container_whose_name_was_moved_to_evil_does_not_run_evil(
    generation: str, top: str, request: pytest.FixtureRequest
) -> None:
    """The other direction: good content, whose name means something else by now."""
    stage = _stage(generation, request)
    good = stage.image("good", index=top == "index")
    stage.sign(good)
    container = _create(stage.containerd, good, stage.name("moved"))

    evil = stage.image("evil", name=good.name, index=top == "index")
    done = _start(stage.containerd, container)

    assert evil.text not in said(done)
    assert done.returncode == 1
    assert "[ENF-1103]" in done.stderr
    assert "create the container again" in done.stderr.lower()
    assert _codes(stage, container) == ["ENF-1103"]


@TOPS
@DOCKERS
def test_docker_starts_the_signed_content_though_its_tag_was_moved(
    generation: str, top: str, request: pytest.FixtureRequest
) -> None:
    """Docker notes the content of a container, and that is what is judged and runs."""
    stage = _stage(generation, request)
    good = stage.image("good", index=top == "index")
    stage.sign(good)
    name = stage.name("moved")
    stage.docker.docker("create", "--name", name, good.name)

    stage.image("evil", name=good.name, index=top == "index")
    done = stage.docker.docker("start", "--attach", name, check=False)

    assert (done.returncode, done.stdout) == (0, f"{good.text}\n")
    assert stage.verdicts(good) == [(True, "ENF-1000")]


@TOPS
@DOCKERS
def test_docker_does_not_start_evil_though_its_tag_is_good_by_now(
    generation: str, top: str, request: pytest.FixtureRequest
) -> None:
    """Moving the tag to signed content afterwards signs nothing."""
    stage = _stage(generation, request)
    evil = stage.image("evil", index=top == "index")
    name = stage.name("moved")
    stage.docker.docker("create", "--name", name, evil.name)

    good = stage.image("good", name=evil.name, index=top == "index")
    stage.sign(good)
    done = stage.docker.docker("start", "--attach", name, check=False)
    fresh = stage.run(good)

    assert done.returncode == 1
    assert "this is" not in done.stdout
    assert "[ENF-1001]" in done.stderr
    assert (fresh.returncode, fresh.stdout) == (0, f"{good.text}\n")


@TOPS
@CONTAINERDS
def test_a_good_record_with_another_snapshot_is_refused(
    generation: str, top: str, request: pytest.FixtureRequest
) -> None:
    """Record and name are the signed ones, but the files are of another image."""
    stage = _stage(generation, request)
    engine = stage.containerd
    good, evil = (stage.image(word, index=top == "index") for word in ("good", "evil"))
    stage.sign(good)
    container = _create(engine, good, stage.name("swapped"))
    _create(engine, evil, stage.name("unpacks"))  # so that its files are there to use

    engine.ctr("snapshots", "rm", container)
    engine.ctr("snapshots", "prepare", container, describe(evil.layout).chain_id)
    done = _start(engine, container)

    assert done.returncode == 1
    assert "this is" not in done.stdout
    assert "[ENF-1103]" in done.stderr
    assert _codes(stage, container) == ["ENF-1103"]


# A runc that mounts evil over the root file system, then goes the gate's way: what a
# mount that wins a race would look like to the gate.
_MOUNTING_GATE = """\
#!/bin/sh
case " $* " in *" create "*)
    root=$(/usr/bin/python3 -c 'import json, os
print(os.path.abspath(json.load(open("config.json"))["root"]["path"]))')
    echo "$root" >> {noted}
    /bin/mount -t overlay overlay -o lowerdir={lower} "$root" ;;
esac
exec {gate} "$@"
"""


@pytest.mark.parametrize(
    "generation", ["gated_containerd", "gated_docker", "gated_graph_docker"]
)
def test_another_file_system_mounted_over_the_container_is_refused(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Records are all true, and yet other files would run."""
    stage = _stage(generation, request)
    good = stage.image("good")
    stage.sign(good)
    folder = _folder(stage)
    for layer in ("a", "b"):
        (folder / layer / "bin").mkdir(parents=True)
    (folder / "a/bin/echo").write_bytes(Path("/bin/busybox").read_bytes())
    (folder / "a/bin/echo").chmod(0o755)
    gate, noted = stage.host.gate / "runc", folder / "noted"
    real = gate.rename(stage.host.gate / "gate")
    lower = f"{folder / 'a'}:{folder / 'b'}"
    gate.write_text(_MOUNTING_GATE.format(noted=noted, lower=lower, gate=real))
    gate.chmod(0o755)

    try:
        done = stage.run(good)
    finally:
        real.rename(gate)
        for root in noted.read_text().splitlines():
            subprocess.run(
                ["/bin/umount", "-l", root], check=False, capture_output=True
            )

    assert done.returncode != 0
    assert good.text not in said(done)
    assert "[ENF-1103]" in done.stderr
    assert stage.host.decisions()[-1]["code"] == "ENF-1103"


def _folder(stage: Stage) -> Path:
    folder = stage.host.home / stage.name("folder")
    folder.mkdir()
    return folder


def _edit(path: Path, old: str, new: str) -> None:
    """Change bytes of a blob in place; its length stays, as careful attackers do."""
    before = path.read_bytes()
    after = before.replace(old.encode(), new.encode())
    assert len(after) == len(before)
    assert after != before
    path.write_bytes(after)


def _blob(stage: Stage, digest: str) -> Path:
    engine = stage.engine
    root = (engine if isinstance(engine, Containerd) else engine.containerd).root
    return root / "io.containerd.content.v1.content" / blob_path(digest)


@pytest.mark.parametrize("part", ["manifest", "config"])
@pytest.mark.parametrize(
    "generation", ["gated_containerd", "gated_old_containerd", "gated_docker"]
)
def test_an_edited_blob_in_containerds_store_is_refused(
    generation: str, part: str, request: pytest.FixtureRequest
) -> None:
    """containerd does not hash again what it reads; the gate's daemon does."""
    stage = _stage(generation, request)
    image = stage.image("hello")
    stage.sign(image)
    facts = describe(image.layout)
    if part == "config":
        _edit(_blob(stage, facts.config), "this is", "evil is")
    else:
        _edit(_blob(stage, facts.manifest), '"schemaVersion":2', '"schemaversion":2')

    done = stage.run(image)

    assert done.returncode != 0
    assert "is hello" not in done.stdout
    assert "[ENF-1104]" in done.stderr
    assert stage.host.decisions()[-1]["code"] == "ENF-1104"


@pytest.mark.parametrize("generation", ["gated_graph_docker", "gated_old_docker"])
def test_an_edited_config_in_dockers_own_store_is_refused(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """The configuration is all that names the content there."""
    stage = _stage(generation, request)
    image, name = stage.image("hello"), stage.name("edited")
    stage.sign(image)
    stage.docker.docker("create", "--name", name, image.name)
    config = describe(image.layout).config.replace(":", "/")
    path = stage.docker.data_root / "image/overlay2/imagedb/content" / config
    _edit(path, "this is", "evil is")

    done = stage.docker.docker("start", "--attach", name, check=False)

    assert done.returncode == 1
    assert "is hello" not in done.stdout
    assert "[ENF-1104]" in done.stderr
    assert stage.host.decisions()[-1]["code"] == "ENF-1104"
