"""`enforcer prove`: only our own refusal counts, and nothing stays on the host."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.host.prove import Result
from enforcer.host.prove import prove as prove_here
from enforcer.host.prove.proving import CLEAN_SECONDS
from enforcer.settings import load_settings
from tests.engines.dockerd import Store
from tests.engines.path import REAL_RUNC, Release
from tests.engines.process import wait_until
from tests.real.authz import AuthzStage
from tests.real.proving import (
    MARK,
    Proof,
    api_of,
    everything,
    kill_runs,
    left_behind,
    listed,
    marked,
    prove,
)
from tests.real.stage import Stage, containerd_stage, docker_stage

GENERATIONS = ("c21", "c16", "docker", "graph", "old")
ALL = pytest.mark.parametrize("stage", GENERATIONS, indirect=True)
ONE_EACH = pytest.mark.parametrize("stage", ["c21", "docker"], indirect=True)
DOCKERS = pytest.mark.parametrize("stage", ["docker", "graph", "old"], indirect=True)
KILLS = 20 if os.environ.get("ENFORCER_SOAK") else 6
FROZEN_SECONDS = 30.0
PATIENCE_SECONDS = 180  # for a run's end: the machine may be busy
MAX_TRIES = 10
ASLEEP_SECONDS, HURRY_SECONDS = 8, 2.0
_MAKERS: dict[str, Callable[[], Stage]] = {
    "c21": containerd_stage,
    "c16": lambda: containerd_stage("bookworm"),
    "docker": lambda: docker_stage("containerd"),
    "graph": lambda: docker_stage("graphdriver"),
    "old": lambda: docker_stage("graphdriver", "bookworm"),
}


@pytest.fixture(scope="module")
def stages(engines: Path) -> Iterator[dict[str, Stage]]:
    """Every stage that a test asked for, with one signed image that has run."""
    with contextlib.ExitStack() as stack:
        made: dict[str, Stage] = {}

        def stage(name: str) -> Stage:
            if name not in made:
                made[name] = stack.enter_context(_MAKERS[name]())
                api_of(made[name])
                good = made[name].image("good")
                made[name].sign(good)
                made[name].run(good)
                prove(made[name])  # engines make some of their own folders late
            return made[name]

        yield _Lazily(stage)


class _Lazily(dict[str, Stage]):
    """Makes a stage when it is first asked for."""

    def __init__(self, make: Callable[[str], Stage]) -> None:
        self._make = make

    def __missing__(self, name: str) -> Stage:
        return self._make(name)


@pytest.fixture
def stage(stages: dict[str, Stage], request: pytest.FixtureRequest) -> Stage:
    return stages[request.param]


def _expected(stage: Stage) -> set[str]:
    """The doors that are live on a stage without CRI, verifiers and plug-in."""
    if not stage.is_docker:
        return {"containerd-task"}
    found = {"containerd-task", "docker-start", "docker-build"}
    found.add("docker-runtime:io.containerd.runc.v2")
    if stage.engine.release == "bookworm":
        return found | {"docker-runtime:io.containerd.runtime.v1.linux"}
    return found | {"docker-mount"}


@contextlib.contextmanager
def _gate(stage: Stage, change: Callable[[Path], None]) -> Iterator[None]:
    """Do something to the gate, for a while."""
    gate = stage.host.gate / "runc"
    change(gate)
    try:
        yield
    finally:
        gate.unlink(missing_ok=True)
        stage.host.write_gate()


def _replaced(gate: Path) -> None:
    gate.unlink()
    gate.symlink_to(REAL_RUNC)


@ALL
def test_every_live_door_of_a_healthy_host_refuses_and_nothing_stays(
    stage: Stage,
) -> None:
    """Each refusal is in the audit log, for the image that was made for that door."""
    before, before_listed = everything(stage), listed(stage)

    proof = prove(stage)

    assert proof.status == 0, proof
    assert proof.doors_that("refused") == _expected(stage)
    assert proof.doors_that("open") == set()
    for door in proof.doors:
        assert door["what"]
        if door["result"] == "refused":
            (record,) = [
                r for r in stage.host.decisions() if r["id"] == door["decision"]
            ]
            assert (record["allowed"], record["code"]) == (False, door["code"])
    assert listed(stage) == before_listed
    assert everything(stage) == before


@ALL
def test_a_host_whose_gate_is_the_real_runc_is_open_and_nothing_stays(
    stage: Stage,
) -> None:
    """The program has run: its status is one that nothing else gives."""
    before, before_listed = everything(stage), listed(stage)

    with _gate(stage, _replaced):
        proof = prove(stage)

    assert proof.status == 5
    assert proof.doors_that("open") == _expected(stage)
    for name in _expected(stage):
        assert proof.of(name)["code"] == "ENF-2201"
        assert "ran (exit status 42)" in proof.of(name)["what"]
    assert listed(stage) == before_listed
    assert everything(stage) - before == set()


@ONE_EACH
def test_a_second_runc_before_the_gate_is_found(stage: Stage) -> None:
    """The engine's PATH has the gate's folder first; what stands there is asked."""

    def second(gate: Path) -> None:
        gate.write_text(f'#!/bin/sh\nexec {REAL_RUNC} "$@"\n')

    with _gate(stage, second):
        proof = prove(stage, "--door", "containerd-task")

    assert proof.status == 5
    assert proof.doors_that("open") == {"containerd-task"}


@ONE_EACH
def test_without_any_runc_nothing_is_proven(stage: Stage) -> None:
    """Nothing starts, but enforcer has nothing to do with it."""
    with _gate(stage, Path.unlink):
        proof = prove(stage)

    assert proof.status == 5
    assert proof.of("containerd-task")["result"] == "not proven"
    assert proof.of("containerd-task")["code"] == "ENF-2202"
    assert (
        'exec: "runc": executable file not found'
        in (proof.of("containerd-task")["what"])
    )
    assert proof.doors_that("refused") == set()


@ONE_EACH
def test_a_refusal_that_the_audit_log_does_not_have_is_no_proof(stage: Stage) -> None:
    """Whoever can print our words into runc's log is not enforcer."""
    words = "enforcer: x is not signed [ENF-1001]; next: enforcer explain ENF-1001"

    def forged(gate: Path) -> None:
        gate.write_text(
            f'#!/bin/sh\necho "{words} (decision 06H0000000000000)" >&2\nexit 1\n'
        )

    with _gate(stage, forged):
        proof = prove(stage, "--door", "containerd-task")

    assert proof.status == 5
    assert proof.of("containerd-task")["result"] == "not proven"


@ALL
def test_a_dead_daemon_is_still_a_refusal_and_is_said(stage: Stage) -> None:
    """The gate refuses by itself; the code says that nobody was asked."""
    stage.host.stop()
    try:
        proof = prove(stage, "--door", "containerd-task", "--door", "docker-start")
    finally:
        stage.host.start()

    assert proof.status == 0, proof
    for door in proof.doors:
        assert (door["result"], door["code"]) == ("refused", "ENF-1601")
        assert "enforcerd cannot be reached" in door["what"]
        assert door["decision"] == ""


@ONE_EACH
def test_in_monitor_mode_every_door_is_open_and_it_says_so(stage: Stage) -> None:
    """By design; but nobody may take that host for one that enforces."""
    conf = stage.host.config / "gate.conf"
    conf.write_text("mode=monitor\n")
    conf.chmod(0o644)
    stage.host.stop()
    stage.host.configure(mode="monitor")
    stage.host.start()
    try:
        proof = prove(stage)
        text = stage.host.enforcer("prove", check=False)
    finally:
        conf.unlink()
        stage.host.stop()
        stage.host.configure(mode="enforce")
        stage.host.start()

    assert proof.status == text.returncode == 5
    assert proof.doors_that("open") == _expected(stage)
    assert text.stdout.startswith("mode: monitor - every door is open by design")


@pytest.mark.parametrize("release", ["forky", "bookworm"])
def test_the_plugin_refuses_at_create_where_it_is_promised(
    release: Release, engines: Path
) -> None:
    """Unlisted, that door is open; start is the gate's, and stays shut."""
    store: Store = "containerd" if release == "forky" else "graphdriver"
    with AuthzStage(store, release) as stage:
        api_of(stage, authz=stage.relay.name)
        healthy = prove(stage)
        settings = json.loads(stage.docker.config.read_text())
        del settings["authorization-plugins"]
        stage.docker.config.write_text(json.dumps(settings))
        stage.docker.restart()
        unlisted = prove(stage)

    assert healthy.status == 0, healthy
    assert healthy.of("docker-create")["result"] == "refused"
    assert healthy.of("docker-build")["code"] == "ENF-1106"
    assert unlisted.status == 5
    assert unlisted.doors_that("open") == {"docker-create"}
    assert "does not list its plug-in" in unlisted.of("docker-create")["what"]
    assert unlisted.of("docker-start")["result"] == "refused"


@ONE_EACH
@pytest.mark.parametrize("opened", [False, True], ids=["gated", "open"])
def test_what_a_killed_run_left_is_removed_by_the_next(
    stage: Stage, *, opened: bool
) -> None:
    """kill -9 at moments all over a run, also while the program runs."""
    before = everything(stage) | listed(stage)

    with _gate(stage, _replaced if opened else lambda gate: None):
        kill_runs(stage, KILLS)
        proof = prove(stage)

    assert proof.status == (5 if opened else 0), proof
    assert not any(door["code"] == "ENF-2205" for door in proof.doors)
    assert left_behind(stage, before) == set()


@DOCKERS
def test_what_only_looks_like_ours_is_left_alone(stage: Stage) -> None:
    """A name is anybody's to give, and so is a label: it takes both."""
    mark = f"{MARK}0123456789abcdef"
    good = stage.image("mine")
    stage.rename(good, f"{mark}:1")
    made = stage.docker.docker(
        "create", "--network=none", "--label", f"enforcer.prove={mark}", good.name
    ).stdout.strip()

    prove(stage)

    kept = stage.docker.docker("images", "--quiet", f"{mark}:1").stdout
    containers = stage.docker.docker("ps", "--all", "--quiet", "--no-trunc").stdout
    stage.docker.docker("rm", made)
    stage.docker.docker("rmi", f"{mark}:1")
    assert kept.strip()
    assert made in containers


@contextlib.contextmanager
def _halfway(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is held (SIGSTOP) while something of its own is there.

    A run is short: one that was over before we could hold it is made anew.
    """
    command = [sys.executable, "-m", "enforcer", *stage.host.folders, "prove"]
    for _ in range(MAX_TRIES):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            try:
                wait_until(
                    lambda: bool(marked(stage)) or run.poll() is not None,
                    "it has made something",
                )
                run.send_signal(signal.SIGSTOP)
                if marked(stage):
                    yield run
                    return
            finally:
                run.send_signal(signal.SIGCONT)
                run.wait(PATIENCE_SECONDS)
    raise AssertionError("no run could be held")


@pytest.mark.parametrize("stage", ["c21", "docker"], indirect=True)
def test_an_interrupted_run_removes_what_it_made(stage: Stage) -> None:
    """SIGTERM, as by whoever is tired of waiting."""
    before = listed(stage)
    with _halfway(stage) as run:
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGCONT)
        status = run.wait(PATIENCE_SECONDS)

    assert status == 130
    assert listed(stage) == before


@ONE_EACH
def test_a_frozen_engine_is_not_waited_for(stage: Stage) -> None:
    """SIGSTOP: it takes connections and says nothing; what hung is named."""
    pid = stage.engine.pid
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        proof = prove(stage)
    finally:
        os.kill(pid, signal.SIGCONT)

    kind = "docker" if stage.is_docker else "containerd"
    assert proof.status == 5
    assert time.monotonic() - began < FROZEN_SECONDS
    assert (proof.of(kind)["result"], proof.of(kind)["code"]) == ("hung", "ENF-2203")


@ONE_EACH
def test_a_door_that_hangs_is_given_up_and_the_next_run_removes_what_it_left(
    stage: Stage,
) -> None:
    """A runc that does not come back: the engine waits, and we do not."""
    before_listed = listed(stage)
    door = "docker-start" if stage.is_docker else "containerd-task"
    host = stage.host
    settings = load_settings(host.config, host.state, host.run)

    def asleep(gate: Path) -> None:
        sleep = f'case "$*" in *create*) exec /bin/sleep {ASLEEP_SECONDS} ;; esac'
        gate.write_text(f'#!/bin/sh\n{sleep}\nexec {REAL_RUNC} "$@"\n')

    with _gate(stage, asleep):
        began = time.monotonic()
        found, *_ = prove_here(settings, only=(door,), door_seconds=HURRY_SECONDS)
        took = time.monotonic() - began
        time.sleep(ASLEEP_SECONDS)
    wait_until(
        lambda: prove(stage).status == 0, "the engine has recovered", PATIENCE_SECONDS
    )

    assert (found.door, found.result, found.code) == (door, Result.HUNG, "ENF-2203")
    assert took < HURRY_SECONDS + CLEAN_SECONDS * 3
    assert listed(stage) == before_listed


def test_without_any_engine_there_is_nothing_to_prove(engines: Path) -> None:
    """Exit 3, as everywhere where what is asked about is not there."""
    with containerd_stage() as stage:
        stage.engine.stop()
        proof = prove(stage)

    assert proof.status == 3
    assert "no engine that enforcer.yaml lists can be reached" in proof.told
    assert "[ENF-2204]" in proof.told


@ONE_EACH
def test_two_runs_do_not_take_each_others_images_for_leftovers(stage: Stage) -> None:
    """The second is told, and removes nothing."""
    with _halfway(stage) as first:
        second = prove(stage)
        first.send_signal(signal.SIGCONT)
        status = first.wait(PATIENCE_SECONDS)

    assert status == 0
    assert second.status == 1
    assert "another `enforcer prove` is under way" in second.told


def test_a_door_that_nobody_knows_is_a_mistake(engines: Path) -> None:
    with containerd_stage() as stage:
        proof: Proof = prove(stage, "--door", "docker-stat")

    assert proof.status == 2
    assert 'no door is called "docker-stat"; there are docker-create' in proof.told
