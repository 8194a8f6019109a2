"""What can happen to the daemon and its disk, each for a while."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.engines.enforced import USER
from tests.engines.process import wait_until
from tests.real.door import ask_image
from tests.real.stage import Stage

GENERATIONS = (
    "gated_containerd",
    "gated_old_containerd",
    "gated_docker",
    "gated_graph_docker",
    "gated_old_docker",
)
PAGE = 4096  # what tmpfs takes for a file of one byte
IDLE = 300  # more than one socket takes
DROPPED_SECONDS = 15  # the daemon gives a silent client five


@dataclass(frozen=True, slots=True)
class Fault:
    """How it comes and goes, and what the user of a signed image may be told."""

    name: str
    happens: Callable[[Stage], AbstractContextManager[None]]
    codes: tuple[str, ...]
    advice: str
    engines: tuple[str, ...] = GENERATIONS
    ends_by_itself: bool = False  # a signed image may start, and has to in the end

    def __str__(self) -> str:
        return self.name


@contextlib.contextmanager
def absent(stage: Stage) -> Iterator[None]:
    """The daemon is stopped, as by an administrator."""
    stage.host.stop()
    try:
        yield
    finally:
        stage.host.start()


@contextlib.contextmanager
def killed(stage: Stage) -> Iterator[None]:
    """The daemon is gone without having ended anything."""
    stage.host.kill()
    try:
        yield
    finally:
        stage.host.start()


@contextlib.contextmanager
def hung(stage: Stage) -> Iterator[None]:
    """The daemon is there, takes connections, and is silent."""
    pid = stage.host.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def resolver_killed(stage: Stage) -> Iterator[None]:
    """Nobody can say what would run; enforcerd itself is well."""
    stage.host.resolver.kill()
    try:
        yield
    finally:
        stage.host.start_resolver()


@contextlib.contextmanager
def resolver_hung(stage: Stage) -> Iterator[None]:
    """What could say what would run takes the question, and is silent."""
    pid = stage.host.resolver.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def killed_mid_request(stage: Stage) -> Iterator[None]:
    """The daemon dies with a question on its desk."""

    def kill() -> None:
        wait_until(lambda: is_asking(stage), "the gate asks")
        time.sleep(0.2)  # the question is in the socket
        stage.host.kill()

    os.kill(stage.host.pid, signal.SIGSTOP)  # it must not have answered before
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()
        stage.host.start()


@contextlib.contextmanager
def disk_full(stage: Stage) -> Iterator[None]:
    """Not one byte more goes to the disk of the state folder."""
    host = stage.host
    host.stop()
    with _on_small_disk(host.state):
        host.start()
        filler = host.state / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        _fill_last_block(stage)
        try:
            yield
        finally:
            filler.unlink()
            host.stop()
    host.start()


@contextlib.contextmanager
def no_descriptors(stage: Stage) -> Iterator[None]:
    """The daemon can open nothing more: no file, and no connection."""
    limits = Path(f"/proc/{stage.host.pid}/limits").read_text()
    (soft,) = re.findall(r"(?m)^Max open files +(\d+)", limits)
    _limit_descriptors(stage, 3)
    try:
        yield
    finally:
        _limit_descriptors(stage, soft)


def _limit_descriptors(stage: Stage, most: int | str) -> None:
    """Set the daemon's own limit, as its own user: root alone may not, everywhere."""
    words = ("prlimit", f"--pid={stage.host.pid}", f"--nofile={most}:")
    subprocess.run(words, check=True, user=USER, group=USER)


@contextlib.contextmanager
def cache_corrupt(stage: Stage) -> Iterator[None]:
    """Every blob of the signature cache has other content than its name says."""
    blobs = [
        p for p in (stage.host.state / "cache" / "blobs").rglob("*") if p.is_file()
    ]
    kept = {path: path.read_bytes() for path in blobs}
    for path, content in kept.items():
        path.write_bytes(bytes(byte ^ 0x20 for byte in content))
    try:
        yield
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


@contextlib.contextmanager
def idle_clients(stage: Stage) -> Iterator[None]:
    """Silent clients hold every place at the gate's own socket, and stay.

    Only root gets that far. The fault ends by itself: the daemon drops them.
    """
    with contextlib.ExitStack() as open_ones:
        for _ in range(IDLE):
            client = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(stage.host.run / "ask.sock"))
        yield


FAULTS = (
    Fault("absent", absent, ("ENF-1601",), "systemctl status enforcer"),
    Fault("killed", killed, ("ENF-1601",), "systemctl status enforcer"),
    Fault("killed mid-request", killed_mid_request, ("ENF-1601",), "nothing starts"),
    Fault("hung", hung, ("ENF-1602",), "systemctl restart enforcer"),
    Fault("resolver killed", resolver_killed, ("ENF-1113",), "enforcer-resolver"),
    Fault("resolver hung", resolver_hung, ("ENF-1114",), "enforcer-resolver"),
    Fault("no descriptors", no_descriptors, ("ENF-1602",), "nothing starts"),
    Fault("disk full", disk_full, ("ENF-1403",), "Free space"),
    Fault("cache corrupt", cache_corrupt, ("ENF-1401",), "enforcer cache fsck"),
    Fault(
        "idle clients", idle_clients, ("ENF-1601", "ENF-1602"), "nothing starts",
        engines=("gated_containerd",), ends_by_itself=True,
    ),
)  # fmt: skip


def is_asking(stage: Stage) -> bool:
    """Whether a gate of this host is running right now."""
    sock = f"\0{stage.host.run / 'ask.sock'}\0".encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if sock in process.read_bytes():
                return True
    return False


def _fill_last_block(stage: Stage) -> None:
    """Have denials recorded until not even a short one finds room in the audit log."""
    log = stage.host.audit_log
    for _ in range(4096 // 256):
        before = log.stat().st_size if log.exists() else 0  # nobody may have asked yet
        ask_image(stage, "nothing:1")
        if not log.exists() or log.stat().st_size == before:
            return
    raise AssertionError("the disk is not full")


@contextlib.contextmanager
def _on_small_disk(folder: Path) -> Iterator[None]:
    """Put a folder with all that is in it on a file system with little room."""
    aside = folder.with_name(f"{folder.name}-aside")
    used = sum(path.stat().st_size // PAGE + 1 for path in folder.rglob("*")) * PAGE
    options = f"size={2 * used + 2**20},mode=0711,uid={USER},gid={USER}"
    copy_folder(folder, aside)
    words = ("mount", "-t", "tmpfs", "-o", options, "enforcer-test", str(folder))
    subprocess.run(words, check=True)
    try:
        copy_folder(aside, folder)
        yield
        shutil.rmtree(aside)
        copy_folder(folder, aside)
    finally:
        subprocess.run(("umount", str(folder)), check=True)
        copy_folder(aside, folder)
        shutil.rmtree(aside)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder with all that is in it, and whose it is."""
    words = ("cp", "--archive", "--no-target-directory", str(source), str(target))
    subprocess.run(words, check=True)
