"""NRI: what containerd tells a plug-in, and what becomes of pods when that one fails.

Debian's containerd cannot fail closed by NRI, so the plug-in reports and the gate
refuses. Where it can be asked it decides: tests/unit/hooks/test_nri_plugin.py.
"""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.process import wait_until
from tests.real.nri import Node, running_node

NRI_LIMIT_SECONDS = 2.0  # plugin_request_timeout, as containerd has it


@pytest.fixture(scope="module")
def running(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """containerd 2.1 with NRI on a private socket."""
    with running_node(tmp_path_factory.mktemp("pods")) as node:
        yield node


@pytest.fixture
def node(running: Node) -> Iterator[Node]:
    """The same, with the plug-in just started."""
    running.plugin.serve()
    yield running
    running.plugin.stop()


def test_status_says_that_this_containerd_cannot_fail_closed(node: Node) -> None:
    """Nobody shall take a report for a guarantee."""
    (line,) = node.plugin.said("registered")[-1:]
    (notice,) = [n for n in node.notices() if "NRI" in n]

    assert re.fullmatch(
        r"containerd v?2\.1\.\S+: NRI cannot validate; this door only reports", notice
    )
    assert line["validates"] is False
    joined = 'plugin "90-enforcer" connected and synchronized'
    wait_until(lambda: joined in _log(node), "containerd says so, too")
    assert "invalid plugin events" not in _log(node)


def _log(node: Node) -> str:
    return node.stage.containerd.log.replace("\\", "")


def test_what_kubelet_creates_and_starts_is_reported(node: Node) -> None:
    """Under the name it goes by, and what would be refused; the gate refuses it."""
    good, evil = node.image("good"), node.image("evil")
    node.stage.sign(good)

    with node.pod() as pod:
        runs, why_not = node.runs(good, pod)
        refused, why = node.runs(evil, pod)
        would_allow = node.plugin.says("would allow", container=runs)
        starts = node.plugin.says("starts", container=runs)
        would_refuse = node.plugin.says("would refuse", container=refused)

    assert why_not == ""
    assert "[ENF-1001]" in why
    assert (would_allow["image"], starts["image"]) == (good.full, good.full)
    assert would_refuse["image"] == evil.full
    assert {line["pod"] for line in (would_allow, starts, would_refuse)} == {pod}
    assert node.plugin.said("starts", container=refused) == []
    assert f"enforcer: {evil.full} is not signed" in would_refuse["reason"]
    asked = [
        (r["asked_by"], r["allowed"])
        for r in node.stage.host.decisions()
        if r["reference"] == evil.full
    ]
    assert set(asked) == {("nri", False), ("gate", False)}


def _killed(node: Node) -> None:
    node.plugin.kill()


def _stopped(node: Node) -> None:
    node.plugin.stop()


def _hung(node: Node) -> None:
    os.kill(node.plugin.pid, signal.SIGSTOP)


def test_a_plugin_that_hung_is_dropped_and_comes_back(node: Node) -> None:
    """containerd waits two seconds once; status notices without anybody's help."""
    good = node.image("good")
    node.stage.sign(good)
    before = len(node.plugin.said("registered"))

    os.kill(node.plugin.pid, signal.SIGSTOP)
    try:
        with node.pod() as pod:
            _, why_not = node.runs(good, pod)
        wait_until(
            lambda: any("gave no sign of life" in n for n in node.notices()),
            "status says that it hangs",
        )
    finally:
        os.kill(node.plugin.pid, signal.SIGCONT)
    wait_until(lambda: len(node.plugin.said("registered")) > before, "it is back")

    assert why_not == ""
    assert "closing plugin 90-enforcer" in node.stage.containerd.log


@pytest.mark.parametrize("fault", [_killed, _stopped, _hung])
def test_without_the_plugin_signed_pods_start_and_unsigned_ones_do_not(
    fault: Callable[[Node], None], node: Node
) -> None:
    """This containerd goes on without it: open, were it not for the gate."""
    good, evil = node.image("good"), node.image("evil")
    node.stage.sign(good)

    fault(node)
    try:
        with node.pod() as pod:
            _, why_not = node.runs(good, pod)
            _, why = node.runs(evil, pod)
    finally:
        with contextlib.suppress(Exception):
            os.kill(node.plugin.pid, signal.SIGCONT)

    assert why_not == ""
    assert "[ENF-1001]" in why


def test_the_plugin_comes_back_with_containerd(node: Node) -> None:
    """containerd is restarted with every upgrade; nobody restarts plug-ins then."""
    before = len(node.plugin.said("registered"))
    node.stage.containerd.stop()
    wait_until(
        lambda: any("not connected" in n for n in node.notices()), "status says so"
    )
    node.stage.containerd.start()

    wait_until(lambda: len(node.plugin.said("registered")) > before, "it is back")
    with node.pod():
        pass

    assert any("this door only reports" in n for n in node.notices())


@pytest.mark.alone
def test_a_silent_enforcerd_holds_up_no_pod_in_the_plugin(node: Node) -> None:
    """NRI asks one thing at a time, for the whole node; judging waits elsewhere."""
    good = node.image("good")
    node.stage.sign(good)
    before = node.stage.containerd.log.count("closing plugin")
    with node.pod() as pod:
        name = node.stage.name("app")
        os.kill(node.stage.host.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            container = node.cri.create(pod, name, good.full, called=good.full)
            seconds = time.monotonic() - began
            would_refuse = node.plugin.says("would refuse", container=container)
        finally:
            os.kill(node.stage.host.pid, signal.SIGCONT)

    assert seconds < NRI_LIMIT_SECONDS / 2
    assert "[ENF-1602]" in would_refuse["reason"]
    assert node.stage.containerd.log.count("closing plugin") == before
