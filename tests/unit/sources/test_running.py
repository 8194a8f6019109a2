"""What runs is told by living processes below shims, never by what lies around.

The processes are real, the state folder is made here; no engine is needed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from enforcer.ports import RunningContainer
from enforcer.sources.engines import running
from enforcer.sources.engines.containerd import TASKS, Containerd
from enforcer.sources.engines.docker import Docker
from enforcer.sources.engines.host import host_platform
from enforcer.sources.engines.running import RollCall, init_process

ID = "a" * 64
# Ends with whoever started it: its standard input is closed then.
_SHIM = """\
import subprocess, sys
child = subprocess.Popen(["/bin/sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


class State:
    """A state folder of containerd's, with shims and what they hold."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self._stack = stack
        self.containerd = Containerd(
            socket=home / "c.sock",
            root=home / "root",
            state=home / "state",
            platform=host_platform(),
        )
        self.docker = Docker(
            root=home / "docker", containerd=self.containerd, api=home / "d.sock"
        )

    def bundle(self, namespace: str, name: str) -> Path:
        bundle = self.home / "state" / TASKS / namespace / name
        bundle.mkdir(parents=True)
        return bundle

    def start(self, bundle: Path, *, shim_in: Path | None = None) -> int:
        """Have a shim hold a process; return that one's number."""
        shim = subprocess.Popen(
            [sys.executable, "-c", _SHIM],
            cwd=shim_in or bundle,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(shim)  # closes its input and waits
        assert shim.stdout is not None
        pid = int(shim.stdout.readline())
        (bundle / "init.pid").write_text(str(pid))
        return pid

    def roll(self) -> list[RunningContainer]:
        found = RollCall([self.containerd], [self.docker]).roll()
        assert found.problems == ()
        return list(found.running)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with ExitStack() as stack:
        yield State(tmp_path, stack)


def test_a_container_is_told_with_its_shim_whose_mounts_count(state: State) -> None:
    bundle = state.bundle("default", "web")
    pid = state.start(bundle)

    (found,) = state.roll()

    assert (found.engine, found.namespace, found.id) == ("containerd", "default", "web")
    assert (found.name, found.bundle) == ("web", str(bundle))
    assert found.started.startswith(f"{pid}-")
    assert found.shim_pid == int(
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    )
    assert found.ref.peer_pid == found.shim_pid


def test_another_process_is_another_start(state: State) -> None:
    bundle = state.bundle("default", "web")
    state.start(bundle)
    (first,) = state.roll()

    state.start(bundle)
    (second,) = state.roll()

    assert first.started != second.started


LEFTOVERS = {
    "nothing": None,
    "no number": b"x",
    "nobody's number": b"4194304",  # the kernel's largest is one less
    "an endless one": b"9" * 4096,
    "another's number, reused": str(os.getpid()).encode(),
    "the first process": b"1",
    "a negative one": b"-1",
}


@pytest.mark.parametrize("what", LEFTOVERS)
def test_what_lies_around_is_no_container(state: State, what: str) -> None:
    """A folder outlives its task, and its number may be anybody's by now."""
    bundle = state.bundle("default", "gone")
    content = LEFTOVERS[what]
    if content is not None:
        (bundle / "init.pid").write_bytes(content)

    assert state.roll() == []


def test_a_container_that_has_ended_does_not_run(state: State) -> None:
    """Not even as long as its shim has not asked what became of it."""
    bundle = state.bundle("default", "web")
    pid = state.start(bundle)
    os.kill(pid, 9)
    while b") Z " not in Path(f"/proc/{pid}/stat").read_bytes():
        pass

    assert init_process(bundle) is None


def test_one_shim_holds_all_containers_of_a_pod(state: State) -> None:
    """It stands in the folder of the pod's pause container."""
    pause, app = state.bundle("k8s.io", "pause"), state.bundle("k8s.io", "app")
    state.start(app, shim_in=pause)

    assert [c.id for c in state.roll()] == ["app"]


def test_a_shim_of_another_namespace_holds_nothing_here(state: State) -> None:
    bundle, other = state.bundle("default", "web"), state.bundle("other", "web")
    state.start(bundle, shim_in=other)

    assert state.roll() == []


def test_names_are_those_that_people_know(state: State) -> None:
    """Docker's from its record, a pod's from what CRI told runc."""
    docker = state.bundle("moby", ID)
    record = state.home / "docker" / "containers" / ID
    record.mkdir(parents=True)
    (record / "config.v2.json").write_text('{"Name": "/web"}')
    pod = state.bundle("k8s.io", "b" * 64)
    words = {"sandbox-namespace": "prod", "sandbox-name": "shop", "container-name": "a"}
    notes = {f"io.kubernetes.cri.{word}": said for word, said in words.items()}
    (pod / "config.json").write_text(json.dumps({"annotations": notes}))
    for bundle in (docker, pod):
        state.start(bundle)

    named = {c.engine: c.name for c in state.roll()}

    assert named == {"docker": "web", "containerd": "prod/shop/a"}


@pytest.mark.parametrize("spec", ["", "{", '{"annotations": 7}', "[]", "{}"])
def test_a_name_that_cannot_be_read_is_the_id(state: State, spec: str) -> None:
    bundle = state.bundle("k8s.io", "c")
    (bundle / "config.json").write_text(spec)
    state.start(bundle)

    assert [c.name for c in state.roll()] == ["c"]


def test_a_hostile_name_is_escaped_and_clipped(state: State) -> None:
    """It is shown on terminals."""
    bundle = state.bundle("k8s.io", "c")
    notes = {"io.kubernetes.cri.sandbox-name": "\x1b[2J" + "x" * 10_000}
    (bundle / "config.json").write_text(json.dumps({"annotations": notes}))
    state.start(bundle)

    (found,) = state.roll()

    assert "\x1b" not in found.name
    assert len(found.name) < 1000


def test_an_engine_that_never_ran_has_no_containers(state: State) -> None:
    assert state.roll() == []


def test_what_cannot_be_looked_at_is_a_problem_and_hides_nothing_else(
    state: State,
) -> None:
    """Silence would look as if nothing ran there."""
    bundle = state.bundle("default", "web")
    state.start(bundle)
    broken = state.bundle("default", "broken")
    (broken / "init.pid").symlink_to(broken / "init.pid")

    found = RollCall([state.containerd], []).roll()

    assert [c.id for c in found.running] == ["web"]
    assert found.problems == (f"{broken}: Too many levels of symbolic links",)


def test_more_than_are_looked_at_is_told(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that are, are the same at every look."""
    monkeypatch.setattr(running, "MAX_RUNNING", 2)
    for name in ("c", "a", "b"):
        state.start(state.bundle("default", name))

    found = RollCall([state.containerd], []).roll()

    assert [c.id for c in found.running] == ["a", "b"]
    assert found.problems == (
        "more than 2 containers run; the others are not judged [ENF-2404]",
    )
