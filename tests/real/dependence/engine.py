"""What an engine may do to this host's decisions: a containerd behind the gate."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping

from tests.engines.images import blob_path, describe
from tests.real.door import ask_image
from tests.real.stage import Image, Stage

Situation = Callable[[Stage], str]  # what came of it, as the table says it
CONTENT = "io.containerd.content.v1.content"


def _signed(stage: Stage) -> Image:
    image = stage.image("depends")
    stage.sign(image)
    return image


def _created(stage: Stage, image: Image) -> str:
    container = stage.container(stage.name("depends"))
    stage.containerd.ctr("containers", "create", image.full, container)
    return container


def _started(stage: Stage, container: str, image: Image) -> str:
    """Start a container; return what the audit log says, which is what happened."""
    ctr = stage.containerd.ctr
    done = ctr("tasks", "start", container, check=False)
    ctr("tasks", "rm", "--force", container, check=False)
    ctr("containers", "rm", container, check=False)
    (record,) = (r for r in stage.host.decisions() if r["container"] == container)
    said = "allowed" if record["allowed"] else "denied"
    assert (image.text in done.stdout) is record["allowed"]
    return f"{said} {record['code']}"


def _asked(stage: Stage, image: Image) -> str:
    answer = ask_image(stage, image.full)
    return f"{'allowed' if answer.allowed else 'denied'} {answer.code}"


def right(stage: Stage) -> str:
    image = _signed(stage)
    return _started(stage, _created(stage, image), image)


def moved(stage: Stage) -> str:
    image = _signed(stage)
    container = _created(stage, image)
    stage.image("other", name=image.name)
    return _started(stage, container, image)


@contextlib.contextmanager
def _down(stage: Stage) -> Iterator[None]:
    stage.containerd.stop()
    try:
        yield
    finally:
        stage.containerd.start()


@contextlib.contextmanager
def _hung(stage: Stage) -> Iterator[None]:
    pid = stage.containerd.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def down(stage: Stage) -> str:
    image = _signed(stage)
    with _down(stage):
        return _asked(stage, image)


def hung(stage: Stage) -> str:
    image = _signed(stage)
    with _hung(stage):
        return _asked(stage, image)


def edited(stage: Stage) -> str:
    image = _signed(stage)
    container = _created(stage, image)
    config = describe(image.layout).config
    path = stage.containerd.root / CONTENT / blob_path(config)
    path.write_bytes(path.read_bytes().replace(b"this is", b"evil is"))
    return _started(stage, container, image)


def other_files(stage: Stage) -> str:
    image, other = _signed(stage), stage.image("other")
    container = _created(stage, image)
    _created(stage, other)  # so that its files are there to use
    chain_id = describe(other.layout).chain_id
    stage.containerd.ctr("snapshots", "rm", container)
    stage.containerd.ctr("snapshots", "prepare", container, chain_id)
    return _started(stage, container, image)


SITUATIONS: Mapping[str, Mapping[str, Situation]] = {
    "fresh": {"its record, its store and what is mounted agree": right},
    "stale": {"the name is another image's since the container was made": moved},
    "missing": {
        "it is down when a door asks": down,
        "it takes the question and is silent": hung,
    },
    "lying": {
        "it has other bytes under the digest of what was signed": edited,
        "it mounts the files of another image": other_files,
    },
}
