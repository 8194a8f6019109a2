"""What an installation does, and in which order."""

from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.host.install.carry import carry_out
from enforcer.host.install.install import described
from enforcer.host.install.journal import Journal
from enforcer.host.install.plan import (
    AUTHZ_EDIT,
    UNINSTALL,
    Change,
    Check,
    Ground,
    Stage,
    Wanted,
    plan,
)
from enforcer.host.install.processes import InstallError
from enforcer.host.install.steps import (
    Accounts,
    File,
    Folder,
    Gate,
    Link,
    Step,
    Tell,
    Word,
)
from enforcer.host.install.texts import POLICY, settings_text
from enforcer.host.install.units import SYSTEM, shipped
from enforcer.settings import DEFAULT_ENGINES, load_settings

EVERYTHING = frozenset({"authz", "cri", "nri"})


def _ground(*there: str, authz: bool = False) -> Ground:
    json = Change(Path("/etc/docker/daemon.json"), b"{}\n", AUTHZ_EDIT)
    found = {"/", "/etc", "/usr", "/usr/libexec", *there}
    return Ground(
        exists=lambda path: str(path) in found,
        runc=Path("/usr/sbin/runc"),
        engines=DEFAULT_ENGINES,
        gate=b"#!/bin/sh\n",
        verifier=b"",
        uninstall=b"zip",
        units=shipped(frozenset({"authz"} if authz else ())),
        daemon_json=json if authz else None,
        texts={"enforcer.yaml": b"y", "policy": b"p"},
    )


def _steps(wanted: Wanted, ground: Ground) -> list[Step]:
    return [step for stage in plan(wanted, ground) for step in stage.steps]


def _place(steps: list[Step], wanted: Step) -> int:
    return steps.index(wanted)


def test_the_way_back_comes_first_and_the_gate_last() -> None:
    """Whatever fails in between, containers start without us."""
    steps = _steps(Wanted(docker=True, authz=True), _ground(authz=True))

    assert steps[0] == Folder(UNINSTALL.parent)
    assert steps[1] == File(UNINSTALL, b"zip", 0o755)
    assert isinstance(steps[-1], Gate)


def test_dockerd_hears_of_the_plug_in_while_it_answers_and_only_then() -> None:
    """Else it dies 15 s later, and its containers with it (facts/operations.md 0.1)."""
    stages = plan(Wanted(docker=True, authz=True), _ground(authz=True))
    steps = [step for stage in stages for step in stage.steps]
    asked = [check for stage in stages for check in stage.checks]

    reload = ("docker.service",)
    undone = _place(steps, Tell(Word.RELOAD, reload, undo=True))
    edited = next(n for n, s in enumerate(steps) if isinstance(s, File) and s.edit)
    stopped = next(
        n for n, s in enumerate(steps) if isinstance(s, Tell) and s.word is Word.STOP
    )
    assert stopped < undone < edited < _place(steps, Tell(Word.RELOAD, reload))
    assert asked.index(Check.AUTHZ) < asked.index(Check.DOCKER)
    assert not stages[asked.index(Check.AUTHZ)].steps


def test_folders_are_made_before_what_is_in_them_and_only_if_missing() -> None:
    """And each once."""
    steps = _steps(Wanted(docker=True), _ground("/etc/systemd"))

    made = [step.path for step in steps if isinstance(step, Folder)]
    assert len(made) == len(set(made))
    assert Path("/etc/systemd") not in made
    for at, step in enumerate(steps):
        if isinstance(step, File | Link) and step.path.parent in made:
            assert Folder(step.path.parent) in steps[:at]


def test_settings_and_policy_of_the_host_are_not_touched() -> None:
    """They are somebody's work."""
    there = ("/etc/enforcer", "/etc/enforcer/enforcer.yaml", "/etc/enforcer/policy.d")

    steps = _steps(Wanted(docker=True), _ground(*there))

    written = {s.path.name for s in steps if isinstance(s, File)}
    assert "enforcer.yaml" not in written
    assert "10-host.yaml.example" not in written


def test_enforce_writes_no_word_of_monitor() -> None:
    """gate.conf is the one thing that lets a refused start through."""
    monitor = _steps(Wanted(docker=True), _ground())
    enforce = _steps(Wanted(docker=True, enforce=True), _ground())

    conf = Path("/etc/enforcer/gate.conf")
    assert [s.content for s in monitor if isinstance(s, File) and s.path == conf] == [
        b"mode=monitor\n"
    ]
    assert not any(isinstance(s, File) and s.path == conf for s in enforce)


def test_every_file_that_ships_has_a_place() -> None:
    """Whatever the folder holds is installed, and enabled as it says itself."""
    units = shipped(EVERYTHING)

    assert {unit.path.parent for unit in units} >= {SYSTEM, Path("/etc/sysusers.d")}
    for unit in units:
        if unit.name.endswith(".socket"):
            assert unit.wanted_by(), unit.name
    bare = {unit.name for unit in shipped(frozenset())}
    assert not {n for n in bare if n.startswith(("enforcer-authz", "enforcer-cri"))}


def test_every_link_enables_a_unit_where_it_asks_to_be() -> None:
    """As `systemctl enable` would, but written down."""
    steps = _steps(Wanted(docker=True), _ground())

    links = [step for step in steps if isinstance(step, Link)]
    wants = SYSTEM / "sockets.target.wants" / "enforcer-ask.socket"
    assert Link(wants, str(SYSTEM / "enforcer-ask.socket")) in links
    assert any(isinstance(step, Accounts) for step in steps)


def test_the_settings_written_are_read_as_what_was_found(tmp_path: Path) -> None:
    """A misspelt key would stop the daemon."""
    (tmp_path / "enforcer.yaml").write_bytes(settings_text("monitor", DEFAULT_ENGINES))

    settings = load_settings(tmp_path)

    assert (settings.mode, settings.engines) == ("monitor", DEFAULT_ENGINES)
    assert b"statements:" in POLICY


def test_what_is_shown_is_what_is_done(tmp_path: Path) -> None:
    """The diff of --dry-run, applied, is the file that is written."""
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    step = File(path, b"one\nthree\n")
    (shown,) = (s for s in described((Stage((step,)),)) if s.diff)
    journal = Journal(tmp_path / "journal")

    with journal.held():
        carry_out(journal, [step], 0)

    named = f"--- {path}\n+++ {path}\n"
    assert shown.diff == f"{named}@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    assert path.read_bytes() == b"one\nthree\n"


def test_the_plug_in_is_told_of_another_data_root() -> None:
    """Else it asks about images of an engine that enforcer.yaml does not list."""
    units = {unit.name: unit for unit in shipped(EVERYTHING)}
    authz = units["enforcer-authz.service"]

    moved = authz.for_docker(Path("/srv/docker-data"))

    start = "ExecStart=/usr/lib/enforcer/bin/enforcer-authz"
    assert f"{start} --root /srv/docker-data\n" in moved.content.decode()
    assert moved.program() == authz.program()
    assert authz.for_docker(Path("/var/lib/docker")) == authz
    assert all(
        unit.for_docker(Path("/srv/docker-data")) == unit
        for name, unit in units.items()
        if name != authz.name
    )
    for hostile in ("/srv/my data", "/srv/%h", "/srv/a\nExecStart=/bin/sh", "/srv/$x"):
        with pytest.raises(InstallError, match="no plain word"):
            authz.for_docker(Path(hostile))


def test_the_settings_name_dockers_socket_and_the_plug_in_it_is_to_ask(
    tmp_path: Path,
) -> None:
    """By the one Docker is stopped and proven, by the other a missing one is seen."""
    containerd, docker = DEFAULT_ENGINES
    listed = replace(docker, api=Path("/run/other.sock"), authz="enforcer")

    raw = settings_text("enforce", (containerd, listed))
    (tmp_path / "enforcer.yaml").write_bytes(raw)

    assert load_settings(tmp_path).engines == (containerd, listed)
