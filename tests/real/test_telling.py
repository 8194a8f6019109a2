"""`explain`, `log`, `watch` and `status` beside real daemons and engines."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.stage import Image, Stage, said


@pytest.fixture(params=["gated_docker", "gated_graph_docker", "gated_containerd"])
def stage(request: pytest.FixtureRequest) -> Stage:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Stage)
    return found


def _json(stage: Stage, *words: str) -> Any:  # of many shapes
    return json.loads(stage.host.enforcer(*words, "-o", "json", check=False).stdout)


def _name(stage: Stage, image: Image) -> str:
    return image.name if stage.is_docker else image.full


def test_an_image_is_explained_by_whatever_name(stage: Stage) -> None:
    """Bare, as a person would say it, or as `verify` takes it; and by its decision."""
    image = stage.image("app")
    target = ("docker:" if stage.is_docker else "containerd:") + _name(stage, image)
    refused = stage.run(image)
    (record,) = [
        r for r in stage.host.decisions() if r["reference"] == _name(stage, image)
    ]

    bare = stage.host.enforcer("explain", image.name, check=False)
    exact = stage.host.enforcer("explain", target, check=False)
    past = stage.host.enforcer("explain", record["id"])
    stage.sign(image)
    now = stage.host.enforcer("explain", image.name)
    changed = stage.host.enforcer("explain", record["id"])

    assert f"next: enforcer explain {record['id']}" in said(refused)
    for done in (bare, exact):
        assert done.returncode == 1, done.stderr
        assert "   DENIED  ENF-1001 unsigned\n" in done.stdout
        assert "would pass if signed by: somebody whom it trusts (x509 ca:acme" in (
            done.stdout
        )
        assert done.stdout.endswith(f"  from       {target}\n")
    assert past.stdout.endswith("  now        the same: DENIED ENF-1001\n")
    assert "   ALLOWED  ENF-1000 allowed\n" in now.stdout
    assert "  now        different: ALLOWED ENF-1000: " in changed.stdout


def test_content_under_the_same_name_is_not_taken_for_what_was_judged(
    stage: Stage,
) -> None:
    """The tag was moved to something signed; what was refused is still not."""
    image = stage.image("moving")
    stage.run(image)
    (record,) = [
        r for r in stage.host.decisions() if r["reference"] == _name(stage, image)
    ]
    other = stage.image("moving", name=image.name)
    stage.sign(other)

    told = stage.host.enforcer("explain", record["id"]).stdout.splitlines()[-1]

    assert told == (
        "  now        cannot be told: that content is not on this host any more"
    )


def test_what_was_decided_is_found_and_its_record_is_whole(stage: Stage) -> None:
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    for image in (good, bad):
        stage.run(image)

    found = stage.host.enforcer("log", "-o", "json", "--image", _name(stage, bad))
    denied = stage.host.enforcer("log", "--since", "10m", "--denied", "-n", "1")
    report = _json(stage, "log", "--verify")

    (line,) = map(json.loads, found.stdout.splitlines())
    assert (line["allowed"], line["code"]) == (False, "ENF-1001")
    assert f"{_name(stage, bad)}  ENF-1001  unsigned  {line['id']}" in denied.stdout
    assert (report["whole"], report["breaks"]) == (True, [])
    assert report["daemon_head"] == report["head"]
    assert report["lines"] == len(stage.host.decisions(sweeps=True))


def test_the_running_daemon_knows_that_the_end_was_cut_off(
    gated_containerd: Stage,
) -> None:
    """Nothing in the file itself could tell."""
    stage = gated_containerd
    stage.run(stage.image("bad"))
    path = stage.host.state / "log" / "audit" / "audit.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    try:
        cut = stage.host.enforcer("log", "--verify", check=False)
    finally:
        path.write_bytes(whole)

    assert cut.returncode == 1
    assert "the line that enforcerd wrote last (" in cut.stdout
    assert stage.host.enforcer("log", "--verify").returncode == 0


def test_status_tells_who_asked_what_is_trusted_and_which_engines_answer(
    stage: Stage,
) -> None:
    stage.run(stage.image("bad"))

    found = _json(stage, "status")
    text = stage.host.enforcer("status").stdout

    gate = next(door for door in found["doors"] if door["name"] == "gate")
    assert gate["denied"] >= 1
    assert found["day"]["denied"] >= gate["denied"]
    assert 0 < found["day"]["p50_ms"] <= found["day"]["p99_ms"]
    assert found["pid"] == stage.host.pid
    assert (found["trust"]["anchors"], found["trust"]["store"]) == (1, "ca:acme")
    assert found["trust"]["subject"].startswith("CN=acme CA,")
    kinds = [engine["kind"] for engine in found["engines"]]
    assert kinds == (["containerd", "docker"] if stage.is_docker else ["containerd"])
    assert {engine["reachable"] for engine in found["engines"]} == {True}
    assert found["policy"]["loaded_at"]
    assert "  trust       1 anchors   the first ends " in text
    assert "  gate        asked " in text
    assert "reachable" in text


def test_status_says_which_engine_does_not_answer(gated_containerd: Stage) -> None:
    stage = gated_containerd
    gone = {
        "kind": "containerd",
        "socket": "/nowhere/containerd.sock",
        "root": "/nowhere",
        "state": "/nowhere",
    }
    before = stage.host.settings["engines"]
    assert isinstance(before, list)
    stage.reconfigure(engines=[*before, gone])
    try:
        reached = {e["socket"]: e["problem"] for e in _json(stage, "status")["engines"]}
    finally:
        stage.reconfigure(engines=before)

    assert reached.pop("/nowhere/containerd.sock") == "No such file or directory"
    assert set(reached.values()) == {""}


@contextmanager
def _watching(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    words = [*stage.host.folders, "watch", "-o", "jsonl", "--denied", "-n", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "enforcer", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_denial_is_seen_as_it_is_made(stage: Stage) -> None:
    first, second = stage.image("first"), stage.image("second")
    stage.run(first)
    with _watching(stage) as process:
        assert process.stdout
        backlog = json.loads(process.stdout.readline())
        stage.run(second)
        line = json.loads(process.stdout.readline())

    assert backlog["reference"] == _name(stage, first)
    assert (line["reference"], line["asked_by"]) == (_name(stage, second), "gate")
