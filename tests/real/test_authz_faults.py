"""The plug-in while enforcerd, the disk or the plug-in itself is broken.

In every row: no container of an unsigned image is created, `docker ps` is answered
within PROMISED_SECONDS, and a signed image runs again once the fault is gone.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.engines.process import EngineError, wait_until
from tests.real.authz import AuthzStage
from tests.real.faults import absent, copy_folder, hung
from tests.real.stage import Done, Image

PROMISED_SECONDS = 5.0
IDLE = 400  # more than plug-in or daemon take
BOOT_SECONDS = 90
# dockerd tries a dead plug-in for 30 s and a bit: 32 s with Docker 28, and 45 s with
# 20.10, whose client asks for the version first.
DOCKER_TRIES_SECONDS = (25.0, 70.0)
GENERATIONS = ("faulty_docker", "faulty_old_docker")
Fault = Callable[[AuthzStage], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def faulty_docker(engines: Path) -> Iterator[AuthzStage]:
    """Run Docker 28 with containerd's store."""
    with AuthzStage("containerd") as stage:
        yield stage


@pytest.fixture(scope="module")
def faulty_old_docker(engines: Path) -> Iterator[AuthzStage]:
    """Run Docker 20.10."""
    with AuthzStage("graphdriver", "bookworm") as stage:
        yield stage


@pytest.fixture
def stage(generation: str, request: pytest.FixtureRequest) -> AuthzStage:
    found: AuthzStage = request.getfixturevalue(generation)
    return found


@contextlib.contextmanager
def _killed_while_asked(stage: AuthzStage) -> Iterator[None]:
    """Every question finds it hung; it dies a second later, and comes back."""
    os.kill(stage.host.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        dying = threads.submit(_die_later, stage)
        try:
            yield
        finally:
            dying.result()
            stage.host.start()


def _die_later(stage: AuthzStage) -> None:
    time.sleep(1)
    stage.host.kill()


@contextlib.contextmanager
def _disk_full(stage: AuthzStage) -> Iterator[None]:
    """No decision can be recorded any more."""
    log = stage.host.state / "log"
    log.mkdir(mode=0o700, exist_ok=True)
    stage.host.stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "full", log], check=True)
    try:
        with contextlib.suppress(OSError), (log / "filler").open("wb") as filler:
            for _ in range(64):
                filler.write(b"x" * 1024)
                filler.flush()
        stage.host.start()
        yield
    finally:
        stage.host.stop()
        subprocess.run(["umount", log], check=True)
    stage.host.start()


@contextlib.contextmanager
def _cache_corrupt(stage: AuthzStage) -> Iterator[None]:
    """Every file of the signature cache has other bytes than it had."""
    cache, kept = stage.host.state / "cache", stage.host.state / "kept"
    copy_folder(cache, kept)
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    try:
        yield
    finally:
        stage.host.stop()
        shutil.rmtree(cache)
        kept.rename(cache)
        stage.host.start()


def _crowded(path_of: Callable[[AuthzStage], Path], said: bytes) -> Fault:
    @contextlib.contextmanager
    def crowd(stage: AuthzStage) -> Iterator[None]:
        """Take every place at a socket, and say no more than this."""
        with contextlib.ExitStack() as open_ones:
            for _ in range(IDLE):
                client = open_ones.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(path_of(stage)))
                with contextlib.suppress(OSError):
                    client.sendall(said)
            yield

    return crowd


_HEAD = b"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n{"
# name -> what breaks, and the code a signed image is refused with meanwhile; "" where
# it is created all the same, None where it may be either.
FAULTS: dict[str, tuple[Fault, str | None]] = {
    "absent": (absent, "ENF-1601"),
    "hung": (hung, "ENF-1602"),
    "killed while asked": (_killed_while_asked, "ENF-160"),
    "disk full": (_disk_full, "ENF-1403"),
    "cache corrupt": (_cache_corrupt, "ENF-14"),
    "plug-in crowded": (_crowded(lambda s: s.relay.socket, b""), ""),
    "plug-in crowded by halves": (_crowded(lambda s: s.relay.socket, _HEAD), ""),
    "enforcerd crowded": (_crowded(lambda s: s.host.run / "ask.sock", b""), None),
}


def _create(stage: AuthzStage, image: Image) -> tuple[Done, float]:
    began = time.monotonic()
    done = stage.docker.docker("create", image.name, check=False)
    return done, time.monotonic() - began


def _seconds_of_ps(stage: AuthzStage) -> float:
    began = time.monotonic()
    stage.docker.docker("ps", "--all")
    return time.monotonic() - began


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.alone
def test_nothing_unsigned_is_created_and_docker_goes_on(
    fault: str, stage: AuthzStage
) -> None:
    """The row of the fault table that belongs to this door."""
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    breaks, code = FAULTS[fault]

    with breaks(stage), ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(_create, stage, image) for image in (bad, good)]
        ps = threads.submit(_seconds_of_ps, stage).result()
        (refused, refused_seconds), (either, _) = (each.result() for each in asked)
        listed = stage.docker.docker("ps", "--all", "--format={{.Image}}").stdout
    back, still = stage.run(good), stage.run(bad)

    assert refused.returncode == 1
    assert "[ENF-1" in refused.stderr
    assert refused_seconds < PROMISED_SECONDS + 1  # the client's own start included
    assert bad.name not in listed.split()
    assert ps < PROMISED_SECONDS
    if code:
        assert (either.returncode, f"[{code}" in either.stderr) == (1, True)
    elif code is not None:
        assert either.returncode == 0
    assert (back.returncode, back.stdout) == (0, f"{good.text}\n")
    assert (still.returncode, "[ENF-1001]" in still.stderr) == (125, True)


def test_without_the_plugin_dockerd_refuses_every_call_and_does_not_boot(
    faulty_docker: AuthzStage, faulty_old_docker: AuthzStage
) -> None:
    """What the README says, measured; and then it goes on as if nothing had been.

    Both at once: nearly all of it is dockerd waiting.
    """
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_loses_its_plugin, (faulty_docker, faulty_old_docker)))


def _loses_its_plugin(stage: AuthzStage) -> None:
    good = stage.image("good")
    stage.sign(good)

    stage.relay.kill()
    began = time.monotonic()
    listed = stage.docker.docker("ps", check=False, timeout_seconds=BOOT_SECONDS)
    seconds = time.monotonic() - began
    stage.relay.start()
    back = stage.run(good)
    stage.docker.stop()
    stage.relay.kill()
    stage.relay.socket.unlink()
    began = time.monotonic()
    with pytest.raises(EngineError) as caught:
        stage.docker.start()
    boot = time.monotonic() - began
    stage.relay.start()
    stage.docker.start()
    booted = stage.run(good)

    print(f"docker ps without the plug-in: {seconds:.1f} s, {listed.stderr.strip()}")
    print(f"dockerd gave up booting after {boot:.1f} s")
    least, most = DOCKER_TRIES_SECONDS
    assert listed.returncode == 1
    assert least < seconds < most
    assert "authz" in listed.stderr.lower() or "plugin" in listed.stderr
    assert (back.returncode, back.stdout) == (0, f"{good.text}\n")
    assert "ended at once" in str(caught.value)
    assert stage.relay.name in str(caught.value)
    assert (booted.returncode, booted.stdout) == (0, f"{good.text}\n")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_plugin_that_restarts_at_once_costs_nobody_a_call(stage: AuthzStage) -> None:
    """dockerd tries again by itself; systemd starts it within 100 ms."""
    good = stage.image("good")
    stage.sign(good)

    stage.relay.kill()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(stage.run, good)
        time.sleep(0.1)
        stage.relay.start()
        done = waiting.result()

    assert (done.returncode, done.stdout) == (0, f"{good.text}\n")


@pytest.mark.alone
def test_dockerd_hangs_on_a_hung_plugin_so_systemd_watches_it(
    faulty_docker: AuthzStage,
) -> None:
    """No timeout of dockerd's ends this: the unit's WatchdogSec does, by a kill."""
    stage = faulty_docker
    os.kill(stage.relay.pid, signal.SIGSTOP)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            stage.docker.docker("ps", timeout_seconds=PROMISED_SECONDS)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(stage.docker.docker, "ps", check=False)
            time.sleep(0.2)
            stage.relay.kill()  # what the watchdog does
            stage.relay.start()
            done = waiting.result()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stage.relay.pid, signal.SIGCONT)

    assert done.returncode == 0
    wait_until(lambda: _seconds_of_ps(stage) < PROMISED_SECONDS, "dockerd answers")
