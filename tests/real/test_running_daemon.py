"""One daemon over its life: policy and trust that change, ends, and second ones."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer import ttrpc
from tests.engines.enforced import USER
from tests.engines.notation import statement
from tests.engines.process import wait_until
from tests.reach import as_user
from tests.real.stage import Stage, containerd_stage, said

GRACE_SECONDS = 10


@pytest.fixture(scope="module")
def stage(engines: Path) -> Iterator[Stage]:
    """A host of this module's own, whose policy it may spoil."""
    with containerd_stage() as stage:
        yield stage


def _hang_up(stage: Stage, event: str) -> None:
    """Send SIGHUP and wait for the daemon's word that it has read everything."""
    before = stage.host.log.count(event)
    os.kill(stage.host.pid, signal.SIGHUP)
    wait_until(lambda: stage.host.log.count(event) > before, f"the log says {event}")


@pytest.mark.parametrize(
    "text",
    ["{", "", "{}", '{"version": "1.0", "trustPolicies": []}', "\0" * 100, "[" * 10**5],
    ids=["half", "empty", "nothing in it", "no statements", "zeroes", "deep"],
)
def test_a_policy_that_cannot_be_used_leaves_the_old_one_in_force(
    text: str, stage: Stage
) -> None:
    """A slip in an editor neither opens the host nor stops its signed images."""
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    policy = stage.host.notation.config / "trustpolicy.json"
    before = policy.read_text()

    policy.write_text(text)
    try:
        _hang_up(stage, "reload failed")
        status = stage.host.enforcer("status", check=False)
        allowed, refused = stage.run(good), stage.run(bad)
    finally:
        policy.write_text(before)
        _hang_up(stage, "policy in force")
    mended = stage.host.enforcer("status", check=False)

    assert status.returncode == 4
    assert "problem" in status.stdout
    assert "[ENF-1202]" in status.stdout
    assert (allowed.returncode, allowed.stdout) == (0, f"{good.text}\n")
    assert refused.returncode == 1
    assert "[ENF-1001]" in refused.stderr
    assert mended.returncode == 0


def test_a_daemon_that_starts_without_a_usable_policy_refuses_everything(
    stage: Stage,
) -> None:
    """There is no old policy to fall back to, and none is not an open door."""
    good = stage.image("good")
    stage.sign(good)
    policy = stage.host.notation.config / "trustpolicy.json"
    before = policy.read_text()

    stage.host.stop()
    policy.write_text("{")
    stage.host.start()
    try:
        status = stage.host.enforcer("status", check=False)
        refused = stage.run(good)
    finally:
        policy.write_text(before)
        _hang_up(stage, "policy in force")
    allowed = stage.run(good)

    assert status.returncode == 4
    assert refused.returncode == 1
    assert "[ENF-1202]" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, f"{good.text}\n")


def test_a_certificate_counts_from_the_reload_on(stage: Stage) -> None:
    """Adding a signer takes no restart.

    Nor need anybody say so: the daemon looks by itself, a quarter of a second later.
    """
    image = stage.image("hello")
    newcomer = stage.host.notation.add_signer("newcomer")
    stage.sign(image, signer=newcomer)
    stranger = stage.run(image)

    stage.host.notation.trust("acme", newcomer)
    _hang_up(stage, "policy in force")
    trusted = stage.run(image)

    assert "[ENF-1004]" in stranger.stderr
    assert (trusted.returncode, trusted.stdout) == (0, f"{image.text}\n")


def test_a_certificate_that_is_withdrawn_counts_no_more(stage: Stage) -> None:
    """The way back, for the day a key is lost."""
    image = stage.image("hello")
    lost = stage.host.notation.add_signer("lost")
    stage.host.notation.trust("acme", lost)
    _hang_up(stage, "policy in force")
    stage.sign(image, signer=lost)
    trusted = stage.run(image)

    stored = stage.host.notation.config / "truststore/x509/ca/acme/lost.crt"
    stored.unlink()
    _hang_up(stage, "policy in force")
    refused = stage.run(image)

    assert trusted.returncode == 0
    assert refused.returncode == 1
    assert image.text not in said(refused)
    assert "[ENF-1004]" in refused.stderr


def test_an_image_outside_every_scope_is_refused(stage: Stage) -> None:
    """A good signature is not enough where no statement says whose counts."""
    image = stage.image("hello")
    stage.sign(image)
    notation = stage.host.notation
    scopes = ["registry.example/other"]
    notation.write_policy(statement("other", scopes=scopes, stores=["ca:acme"]))
    try:
        _hang_up(stage, "policy in force")
        done = stage.run(image)
    finally:
        notation.write_policy(statement("everything", stores=["ca:acme"]))
        _hang_up(stage, "policy in force")

    assert done.returncode == 1
    assert "[ENF-1002]" in done.stderr
    assert stage.verdicts(image) == [(False, "ENF-1002")]


def test_a_question_being_judged_is_answered_though_the_daemon_must_end(
    stage: Stage,
) -> None:
    """An upgrade in the middle of a start: the gate gets its answer, not silence."""
    container = stage.containerd.container_id(stage.name("asked"))
    bundle = (
        stage.containerd.state / "io.containerd.runtime.v2.task/default" / container
    )
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_text('{"root": {"path": "rootfs"}, "mounts": []}')
    question = ttrpc.encode_fields(
        (1, container), (2, str(bundle)), (3, "/run/runc"), (4, "create")
    )
    call = ttrpc.Request(
        "enforcer.api.v1.Verifier", "Verify", ttrpc.encode_fields((4, question))
    )
    message = ttrpc.encode_request(call, timeout_ns=4 * 10**9)
    engine, daemon = stage.containerd.pid, stage.host.pid

    os.kill(engine, signal.SIGSTOP)  # so that the answer takes a while
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(GRACE_SECONDS)
            client.connect(str(stage.host.run / "ask.sock"))
            client.sendall(ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, message)))
            wait_until(lambda: _unread(client) == 0, "the daemon has the question")
            os.kill(daemon, signal.SIGTERM)
            answer = client.recv(65536)
    finally:
        os.kill(engine, signal.SIGCONT)
        stage.host.stop()
        stage.host.start()
        shutil.rmtree(bundle)

    (frame,) = ttrpc.FrameReader().feed(answer)
    fields = ttrpc.decode_fields(ttrpc.decode_response(frame.payload))
    assert ttrpc.number(fields, 1) == 0
    assert ttrpc.text(fields, 2) == "ENF-1108"
    assert [r["code"] for r in stage.host.decisions() if r["container"] == container]


def _unread(client: socket.socket) -> int:
    """How many bytes the other side has not read yet (unix(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), "little")


def test_a_second_daemon_for_the_same_sockets_does_not_start(stage: Stage) -> None:
    """Two would take each other's questions; the first goes on undisturbed."""
    image = stage.image("hello")
    stage.sign(image)
    host = stage.host
    named = {"config": host.config, "state": host.state, "run": host.run}
    folders = [word for n, p in named.items() for word in (f"--{n}-dir", str(p))]

    second = subprocess.run(
        [*as_user(USER), sys.executable, "-m", "enforcer.daemon", *folders],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    done = stage.run(image)

    assert second.returncode == 3
    assert "another enforcerd serves here" in second.stderr
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")


def test_what_cannot_be_recorded_is_not_allowed(stage: Stage) -> None:
    """A log that an attacker could fill or break would be worth nothing."""
    image = stage.image("hello")
    stage.sign(image)
    log = stage.host.audit_log
    aside = log.rename(log.with_name("aside"))

    log.mkdir()
    try:
        refused = stage.run(image)
    finally:
        log.rmdir()
        aside.rename(log)
    allowed = stage.run(image)

    assert refused.returncode == 1
    assert image.text not in said(refused)
    assert "[ENF-1403]" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, f"{image.text}\n")


@pytest.mark.alone
def test_twenty_starts_at_once_are_all_judged(stage: Stage) -> None:
    """A host that boots starts everything it has."""
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    results: list[tuple[str, int]] = []

    def start(kind: str) -> None:
        done = stage.run(good if kind == "good" else bad)
        results.append((kind, done.returncode))

    starts = [
        threading.Thread(target=start, args=[kind]) for kind in ["good", "bad"] * 10
    ]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()

    assert sorted(results) == [("bad", 1)] * 10 + [("good", 0)] * 10
    assert stage.verdicts(good) == [(True, "ENF-1000")] * 10
    assert stage.verdicts(bad) == [(False, "ENF-1001")] * 10
