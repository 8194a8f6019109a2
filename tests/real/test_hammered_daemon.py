"""A daemon that is restarted and killed while everybody asks (T-LC-1).

Of the unsigned nothing is ever allowed, at whatever moment of an end or a beginning
the question comes; of the signed all is allowed again right after.
"""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from enforcer.hooks.asking import Asker
from tests.engines.process import wait_until
from tests.real.stage import Image, Stage, said

pytestmark = pytest.mark.alone  # it measures deadlines

CLIENTS = 64
ENDS = 40 if os.environ.get("ENFORCER_SOAK") else 6
BETWEEN_SECONDS = 1.0
BACK_SECONDS = 10  # two are promised; the machine may be busy


class _Crowd:
    """Clients that ask over and over, and what they were told."""

    def __init__(self, stage: Stage, good: Image, bad: tuple[Image, ...]) -> None:
        host = stage.host
        gate_log = host.state / "log" / "gate.log"
        self._asker = Asker(
            "door", host.run / "ask.sock", host.config / "gate.conf", gate_log
        )
        root = stage.docker.data_root if stage.is_docker else stage.containerd.root
        self._root, self._namespace = str(root), "" if stage.is_docker else "default"
        self._good, self._bad = good, bad
        self.over = threading.Event()
        self.allowed: list[str] = []
        self.denied: list[str] = []

    def ask(self, number: int) -> None:
        """Be one client, until all is over."""
        images = (self._good, *self._bad)
        while not self.over.is_set():
            image = images[number % len(images)]
            answer = self._asker.image(self._root, self._namespace, image.full)
            told = self.allowed if answer.passes else self.denied
            told.append(image.full if answer.passes else answer.code)
            number += 1


def _unsigned_of_all_kinds(stage: Stage) -> tuple[Image, ...]:
    stranger = stage.image("stranger")
    stage.sign(stranger, signer=stage.host.stranger)
    unsigned = stage.image("unsigned")
    forgotten = stage.image("forgotten")
    stage.sign(forgotten)
    stage.unsign(forgotten)
    return stranger, unsigned, forgotten


def _end_and_start(stage: Stage, *, kill: bool) -> None:
    if kill:
        stage.host.kill()
    else:
        stage.host.stop()
    stage.host.start()


@pytest.mark.parametrize("generation", ["gated_containerd", "gated_docker"])
def test_whenever_the_daemon_ends_and_begins_nothing_unsigned_is_allowed(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """64 clients ask over ask.sock, and the engine starts containers meanwhile."""
    stage: Stage = request.getfixturevalue(generation)
    good, bad = stage.image("good"), _unsigned_of_all_kinds(stage)
    stage.sign(good)
    crowd = _Crowd(stage, good, bad)
    starts = []

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(crowd.ask, number) for number in range(CLIENTS)]
        with contextlib.ExitStack() as ends:
            ends.callback(crowd.over.set)
            for number in range(ENDS):
                time.sleep(BETWEEN_SECONDS)
                _end_and_start(stage, kill=number % 2 == 0)
                starts.append(stage.run(bad[number % len(bad)]))
    for client in clients:
        client.result()

    wait_until(lambda: stage.run(good).returncode == 0, "all is well", BACK_SECONDS)
    assert set(crowd.allowed) == {good.full}
    assert len(crowd.denied) > CLIENTS
    for done in starts:
        assert done.returncode != 0
        assert "this is" not in done.stdout, said(done)
    _nothing_unsigned_on_record(stage, bad)
    print(f"{len(crowd.allowed)} allowed, {len(crowd.denied)} refused")


def _nothing_unsigned_on_record(stage: Stage, bad: tuple[Image, ...]) -> None:
    names = {name for image in bad for name in (image.name, image.full)}
    allowed = [r for r in stage.host.decisions() if r["allowed"]]
    assert allowed
    assert not names & {record["reference"] for record in allowed}
