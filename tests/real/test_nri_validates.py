"""NRI where it can refuse: containerd 2.4 and later ask a plug-in before a container.

Debian has no such containerd yet. These run by themselves once it has; until then
ENFORCER_NEW_CONTAINERD names a folder with containerd, ctr and the shim of another
build. What such a build sent is replayed in tests/unit/hooks/test_nri_plugin.py.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.hooks.nri.wire import TELLS_IMAGES
from tests.engines.images import describe
from tests.engines.path import program
from tests.real.cri import CriError
from tests.real.nri import Node, running_node
from tests.real.stage import Image

REQUIRED = """
[plugins."io.containerd.nri.v1.nri".default_validator]
  enable = true
  required_plugins = ["enforcer"]
"""


@pytest.fixture(scope="module")
def build(engines: Path) -> Path:
    """A folder with a containerd that is new enough."""
    given = os.environ.get("ENFORCER_NEW_CONTAINERD")
    folder = Path(given) if given else program("containerd").parent
    words = [str(folder / "containerd"), "--version"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"(\d+)\.(\d+)\.\d+", printed)
    assert numbers, printed
    if (int(numbers[1]), int(numbers[2])) < TELLS_IMAGES:
        pytest.skip(f"{printed.strip()}: too old to ask; see ENFORCER_NEW_CONTAINERD")
    return folder


@pytest.fixture(scope="module")
def running(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A containerd that makes no container without asking our plug-in."""
    logs = tmp_path_factory.mktemp("pods")
    with running_node(logs, extra_config=REQUIRED, build=build) as node:
        yield node


@pytest.fixture
def node(running: Node) -> Iterator[Node]:
    """The same, with the plug-in just started."""
    running.plugin.serve()
    yield running
    running.plugin.stop()


def _created(node: Node, image: Image, *, asked: str = "", called: str = "") -> str:
    """Create a container in a pod of its own; return why not, "" where it was."""
    with node.pod() as pod:
        name = node.stage.name("app")
        try:
            node.cri.create(pod, name, asked or image.full, called=called or image.full)
        except CriError as error:
            return str(error)
    return ""


def test_status_says_what_this_door_needs_to_be_closed(node: Node) -> None:
    """Validating alone is not enough: a plug-in that is gone is not asked."""
    (notice,) = [n for n in node.notices() if "NRI" in n]

    assert re.fullmatch(
        r"containerd \S+: NRI validates, and fails closed only where its "
        r'default_validator says required_plugins = \["enforcer"\]',
        notice,
    )


@pytest.mark.parametrize("top", ["manifest", "index"])
def test_an_unsigned_container_is_not_even_created(top: str, node: Node) -> None:
    """kubelet shows the reason; nothing was asked of runc."""
    image = node.image("app", index=top == "index")

    refused = _created(node, image)
    node.stage.sign(image)
    with node.pod() as pod:
        _, why_not = node.runs(image, pod)

    assert 'validator "90-enforcer" rejected container adjustment, reason: ' in refused
    assert f"enforcer: {_config(image)} is not signed: no signature about " in refused
    assert "[ENF-1001]; next: enforcer explain 0" in refused
    assert why_not == ""
    doors = [
        (r["asked_by"], r["allowed"])
        for r in node.stage.host.decisions()
        if r["reference"] in (image.full, _config(image))
    ]
    assert doors == [("nri", False), ("nri", True), ("gate", True)]


def _config(image: Image) -> str:
    return describe(image.layout).config


def test_the_name_a_user_typed_does_not_vouch_for_another_image(node: Node) -> None:
    """It is what older versions show a plug-in, and all they show (facts, 0.3)."""
    good, evil = node.image("good"), node.image("evil")
    node.stage.sign(good)

    refused = _created(node, evil, asked=_config(evil), called=good.full)

    assert "[ENF-1001]" in refused


def _killed(node: Node) -> None:
    node.plugin.kill()


def _hung(node: Node) -> None:
    os.kill(node.plugin.pid, signal.SIGSTOP)


@pytest.mark.parametrize("fault", [_killed, _hung])
def test_without_the_plugin_nothing_is_created_until_it_is_back(
    fault: Callable[[Node], None], node: Node
) -> None:
    """Signed or not: the one configuration of NRI that is closed (facts, 0.4)."""
    good = node.image("good")
    node.stage.sign(good)

    fault(node)
    refused = [_created(node, good) for _ in range(2)]
    node.plugin.kill()
    node.plugin.serve()
    back = _created(node, good)

    assert all(refused), refused
    assert "enforcer" in refused[1]
    assert back == ""


def test_a_silent_enforcerd_is_a_rejection_and_the_plugin_stays(node: Node) -> None:
    """It answers within half of what NRI gives it, so that it is not dropped."""
    good = node.image("good")
    node.stage.sign(good)
    before = node.stage.containerd.log.count("closing plugin")

    with node.pod() as pod:
        name = node.stage.name("app")
        os.kill(node.stage.host.pid, signal.SIGSTOP)
        try:
            with pytest.raises(CriError) as caught:
                node.cri.create(pod, name, good.full, called=good.full)
        finally:
            os.kill(node.stage.host.pid, signal.SIGCONT)
        node.cri.create(pod, name, good.full, called=good.full)

    assert "[ENF-1602]" in str(caught.value)
    assert node.stage.containerd.log.count("closing plugin") == before
