"""What can happen to enforcerd, its files and the host it runs on."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.evidence import Floor, Memory, Slot
from enforcer.sources.revocation.floors import Floors
from tests.real.sabotage.victim import Happens, Sabotage, Victim, rewritten, with_mode

LATER = datetime(2099, 1, 1, tzinfo=UTC)


@contextlib.contextmanager
def _down(victim: Victim) -> Iterator[Sequence[str]]:
    victim.stage.host.stop()
    try:
        yield ()
    finally:
        victim.stage.host.start()


@contextlib.contextmanager
def _hung(victim: Victim) -> Iterator[Sequence[str]]:
    os.kill(victim.stage.host.pid, signal.SIGSTOP)
    try:
        yield ()
    finally:
        os.kill(victim.stage.host.pid, signal.SIGCONT)


def _gate_conf(text: str, mode: int = 0o644) -> Happens:
    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        conf = victim.stage.host.config / "gate.conf"
        conf.write_text(text)
        conf.chmod(mode)
        try:
            yield ()
        finally:
            conf.unlink()

    return happens


@contextlib.contextmanager
def _monitor_left_on(victim: Victim) -> Iterator[Sequence[str]]:
    victim.stage.reconfigure(mode="monitor")
    try:
        with _gate_conf("mode=monitor\n")(victim):
            yield ()
    finally:
        victim.stage.reconfigure(mode="enforce")


def _policy(victim: Victim) -> Path:
    return victim.stage.host.notation.config / "trustpolicy.json"


@contextlib.contextmanager
def _policy_broken(victim: Victim) -> Iterator[Sequence[str]]:
    with rewritten(_policy(victim), "{"):
        yield ()


@contextlib.contextmanager
def _policy_writable(victim: Victim) -> Iterator[Sequence[str]]:
    with with_mode(_policy(victim), 0o666):
        yield ()


@contextlib.contextmanager
def _trust_writable(victim: Victim) -> Iterator[Sequence[str]]:
    stores = victim.stage.host.notation.config / "truststore" / "x509" / "ca"
    with with_mode(stores, 0o777):
        yield ()


@contextlib.contextmanager
def _settings_writable(victim: Victim) -> Iterator[Sequence[str]]:
    with with_mode(victim.stage.host.config / "enforcer.yaml", 0o666):
        yield ()


@contextlib.contextmanager
def _ask_socket_open(victim: Victim) -> Iterator[Sequence[str]]:
    with with_mode(victim.stage.host.run / "ask.sock", 0o666):
        yield ()


@contextlib.contextmanager
def _disk_full(victim: Victim) -> Iterator[Sequence[str]]:
    log = victim.stage.host.state / "log"
    log.mkdir(exist_ok=True)
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", log)
    subprocess.run(mount, check=True)
    try:
        yield ()
    finally:
        subprocess.run(("umount", "--lazy", log), check=True)


@contextlib.contextmanager
def _clock_behind(victim: Victim) -> Iterator[Sequence[str]]:
    """The host's clock is not ours to move; what it must not be behind is."""
    state = victim.stage.host.state
    note = state / "cache" / "evidence" / "memory"
    floors = Floors(state / "floors.db", note)
    slot = Slot.crl(Digest.of(b"an issuer's key"), "http://crl.example/1")
    floors.remember(Memory(floors={slot: Floor(LATER)}))
    try:
        yield ()
    finally:
        floors.reset()


@contextlib.contextmanager
def _clock_at_1970(victim: Victim) -> Iterator[Sequence[str]]:
    """As on a board without a battery; whoever looks is told so by the C library."""
    yield (
        "/usr/bin/env",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "/usr/bin/faketime",
        "-m",
        "1970-01-02 00:00:00",
    )


_garbled, _alone = _gate_conf("mode=monitoring\n"), _gate_conf("mode=monitor\n")
_open_to_all = _gate_conf("mode=monitor\n", 0o666)

HOST_ROWS = (
    Sabotage("enforcerd down", "docker", _down, "ENF-2150"),
    Sabotage("enforcerd hung", "docker", _hung, "ENF-2150"),
    Sabotage(
        "monitor left on", "docker", _monitor_left_on, "ENF-2151", "start", status=0
    ),
    Sabotage("gate.conf alone says monitor", "docker", _alone, "ENF-2152"),
    Sabotage("gate.conf writable by all", "docker", _open_to_all, "ENF-2155"),
    Sabotage("gate.conf garbled", "docker", _garbled, "ENF-2155"),
    Sabotage("policy broken", "docker", _policy_broken, "ENF-2153"),
    Sabotage("policy writable by all", "docker", _policy_writable, "ENF-2160"),
    Sabotage("trust stores writable by all", "docker", _trust_writable, "ENF-2160"),
    Sabotage(
        "settings writable by all", "docker", _settings_writable, "ENF-2166", status=4
    ),
    Sabotage("ask.sock open to all", "docker", _ask_socket_open, "ENF-2160"),
    Sabotage("disk full", "docker", _disk_full, "ENF-2161"),
    Sabotage("clock behind proven time", "docker", _clock_behind, "ENF-2170"),
    Sabotage("clock at 1970", "docker", _clock_at_1970, "ENF-2170"),
)
