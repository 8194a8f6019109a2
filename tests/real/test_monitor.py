"""Monitor mode: denials are noted. Anything short of root's clear word enforces."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.gate.render import render_gate
from tests.engines.enforced import SYSTEM_PYTHON
from tests.engines.path import REAL_RUNC
from tests.real.stage import Stage, said

GENERATIONS = pytest.mark.parametrize(
    "generation",
    ["gated_containerd", "gated_docker", "gated_graph_docker", "gated_old_docker"],
)
NOBODY = 65534


def _conf(stage: Stage) -> Path:
    return stage.host.config / "gate.conf"


@contextlib.contextmanager
def _monitored(
    stage: Stage, *, gate: bool = True, daemon: bool = True
) -> Iterator[None]:
    """Set the gate, the daemon or both to monitor for a while."""
    if gate:
        _conf(stage).write_text("mode=monitor\n")
        _conf(stage).chmod(0o644)
    if daemon:
        stage.reconfigure(mode="monitor")
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            _conf(stage).unlink()
        stage.reconfigure(mode="enforce")


@GENERATIONS
def test_an_unsigned_image_starts_and_its_denial_is_recorded(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """What would break is known before anything breaks."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")

    with _monitored(stage):
        done = stage.run(image)
        status = stage.host.enforcer("status", check=False)

    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")
    assert stage.verdicts(image) == [(False, "ENF-1001")]
    assert stage.host.decisions()[-1]["mode"] == "monitor"
    assert "nothing is refused" in status.stdout
    assert stage.run(image).returncode != 0  # and back to enforce


@pytest.mark.parametrize("only", ["gate", "daemon"])
def test_one_word_for_monitor_is_not_enough(only: str, gated_containerd: Stage) -> None:
    """Two files must say it, so that one slip or one planted file opens nothing."""
    stage = gated_containerd
    image = stage.image("hello")

    with _monitored(stage, gate=only == "gate", daemon=only == "daemon"):
        done = stage.run(image)

    assert done.returncode == 1
    assert image.text not in said(done)
    assert "[ENF-1001]" in done.stderr


@pytest.mark.parametrize("monitoring_gate", ["", "monitoring gate"])
def test_a_refusal_with_no_stream_to_write_it_to_is_still_one(
    monitoring_gate: str, gated_containerd: Stage
) -> None:
    """`--null-io`, and every pod's first container: runc's stderr takes no writes.

    containerd's shim opens /dev/null for reading and gives that.
    """
    stage = gated_containerd
    image = stage.image("hello")
    name = stage.container(stage.name("mute"))
    words = ["run", "--null-io", image.full, name]

    with contextlib.ExitStack() as modes:
        if monitoring_gate:
            modes.enter_context(_monitored(stage, daemon=False))
        done = stage.containerd.ctr(*words, check=False)
    stage.containerd.ctr("containers", "rm", name, check=False)

    assert done.returncode == 1
    assert f"{image.name} is not signed" in done.stderr
    assert "[ENF-1001]" in done.stderr


@pytest.mark.parametrize(("how", "code"), [("stopped", "1601"), ("hung", "1602")])
def test_a_silent_daemon_stops_nothing_and_the_gate_notes_it(
    how: str, code: str, gated_containerd: Stage
) -> None:
    """Nobody else could record these starts."""
    stage = gated_containerd
    image = stage.image("hello")
    log = stage.host.state / "log" / "gate.log"

    with _monitored(stage):
        before = log.read_text() if log.exists() else ""
        if how == "stopped":
            stage.host.stop()
        else:
            os.kill(stage.host.pid, signal.SIGSTOP)
        try:
            done = stage.run(image)
        finally:
            if how == "stopped":
                stage.host.start()
            else:
                os.kill(stage.host.pid, signal.SIGCONT)

    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")
    noted = log.read_text().removeprefix(before).splitlines()
    assert len(noted) == 1
    assert "would refuse: enforcer: enforcerd" in noted[0]
    assert f"[ENF-{code}]" in noted[0]
    assert log.stat().st_mode & 0o077 == 0


def _group_may_write(conf: Path) -> None:
    conf.chmod(0o664)


def _others_may_write(conf: Path) -> None:
    conf.chmod(0o646)


def _not_roots(conf: Path) -> None:
    os.chown(conf, NOBODY, -1)


def _a_link(conf: Path) -> None:
    elsewhere = conf.rename(conf.with_name("elsewhere"))
    conf.symlink_to(elsewhere)


def _a_pipe(conf: Path) -> None:
    conf.unlink()
    os.mkfifo(conf)


def _garbage(conf: Path) -> None:
    conf.write_bytes(b"mode=monitor\0\xff\n" * 1000)


def _more_than_that(conf: Path) -> None:
    conf.write_text("mode=monitor\nmode=enforce\n")


def _another_word(conf: Path) -> None:
    conf.write_text("mode=monitoring\n")


FAULTS = [
    _group_may_write,
    _others_may_write,
    _not_roots,
    _a_link,
    _a_pipe,
    _garbage,
    _more_than_that,
    _another_word,
]


def _named(fault: Callable[[Path], None]) -> str:
    return fault.__name__.strip("_")


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
def test_a_doubtful_gate_conf_means_enforce(
    fault: Callable[[Path], None], gated_containerd: Stage
) -> None:
    """Whoever may write a file in /etc by some accident must not switch us off."""
    stage = gated_containerd
    image = stage.image("hello")

    with _monitored(stage):
        fault(_conf(stage))
        done = stage.run(image)

    assert done.returncode == 1
    assert image.text not in said(done)
    assert "[ENF-1001]" in done.stderr


@contextlib.contextmanager
def _broken_gate(stage: Stage, python: str) -> Iterator[None]:
    """Render the gate with an interpreter that does not work."""
    host = stage.host
    text = render_gate(
        runc=REAL_RUNC,
        python=SYSTEM_PYTHON,
        run_dir=host.run,
        config_dir=host.config,
        log_dir=host.state / "log",
    )
    broken = text.replace(f"'{SYSTEM_PYTHON}'", f"'{python}'")
    assert broken != text
    (host.gate / "runc").write_text(broken)
    try:
        yield
    finally:
        host.write_gate()


BROKEN = pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])


@BROKEN
@GENERATIONS
def test_a_gate_that_cannot_ask_refuses_and_says_so(
    generation: str, python: str, request: pytest.FixtureRequest
) -> None:
    """An interpreter that went with an upgrade: the user must learn whom to ask."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)

    with _broken_gate(stage, python):
        done = stage.run(image)

    assert done.returncode != 0
    assert image.text not in said(done)
    assert stage.verdicts(image) == []
    assert "the gate could not run" in done.stderr
    assert "[ENF-1605]" in done.stderr


@BROKEN
def test_a_gate_that_cannot_ask_lets_a_monitored_host_run(
    python: str, gated_containerd: Stage
) -> None:
    """A host that only watches must not be taken down by its watcher."""
    stage = gated_containerd
    image = stage.image("hello")

    with _monitored(stage), _broken_gate(stage, python):
        done = stage.run(image)

    assert done.returncode == 0
    assert (
        done.stdout.splitlines()[-1] == image.text
    )  # after what the gate's shell says


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
def test_a_doubtful_gate_conf_means_enforce_for_a_broken_gate_too(
    fault: Callable[[Path], None], gated_containerd: Stage
) -> None:
    """The shell half of the gate reads the same file and must doubt the same things."""
    stage = gated_containerd
    image = stage.image("hello")

    with _monitored(stage), _broken_gate(stage, "/bin/false"):
        fault(_conf(stage))
        done = stage.run(image)

    assert done.returncode == 1
    assert image.text not in said(done)
