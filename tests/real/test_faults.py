"""The gate's fault table: whatever happens to the daemon, nothing unsigned starts.

And once the fault is gone, what is signed starts again with nobody's help.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.engines.process import wait_until
from tests.real.faults import DROPPED_SECONDS, FAULTS, Fault
from tests.real.stage import Done, Image, Stage, said

pytestmark = pytest.mark.alone  # it measures deadlines

PROMISED_SECONDS = 5.0  # from the user's command to the refusal


@dataclass(frozen=True, slots=True)
class _Start:
    """What became of one start, and how long its user waited."""

    done: Done
    seconds: float


def _run(stage: Stage, image: Image) -> _Start:
    began = time.monotonic()
    done = stage.run(image)
    return _Start(done, time.monotonic() - began)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_nothing_unsigned_starts_and_the_signed_once_the_fault_is_gone(
    fault: Fault, request: pytest.FixtureRequest
) -> None:
    """Fail closed, in time, in words; then carry on. All engines at once."""
    stages: list[Stage] = [request.getfixturevalue(name) for name in fault.engines]
    good, bad = ([stage.image(word) for stage in stages] for word in ("good", "bad"))
    for stage, image in zip(stages, good, strict=True):
        stage.sign(image)

    with contextlib.ExitStack() as faults, ThreadPoolExecutor() as threads:
        for stage in stages:
            faults.enter_context(fault.happens(stage))
        refusals = list(threads.map(_run, stages, bad))
        meanwhile = list(threads.map(_run, stages, good))
        if fault.ends_by_itself:
            list(threads.map(_wait_for, stages, good))
    backs = [_run(*pair) for pair in zip(stages, good, strict=True)]
    still = [_run(*pair) for pair in zip(stages, bad, strict=True)]

    for start, image in zip(refusals, bad, strict=True):
        _check_refused(start, image)
    for start, image in zip(meanwhile, good, strict=True):
        _check_meanwhile(start, image, fault)
    # The better of two: other programs of this machine make no promise.
    waits = [
        min(a.seconds, b.seconds) for a, b in zip(refusals, meanwhile, strict=True)
    ]
    assert max(waits) < PROMISED_SECONDS
    for start, image in zip(backs, good, strict=True):
        assert (start.done.returncode, start.done.stdout) == (0, f"{image.text}\n")
    for start, image in zip(still, bad, strict=True):
        _check_refused(start, image)
        assert "[ENF-1001]" in start.done.stderr


def _check_refused(start: _Start, image: Image) -> None:
    assert start.done.returncode != 0
    assert image.text not in said(start.done)
    assert "[ENF-" in start.done.stderr


def _check_meanwhile(start: _Start, image: Image, fault: Fault) -> None:
    if fault.ends_by_itself and start.done.returncode == 0:
        return
    _check_refused(start, image)
    assert any(f"[{code}]" in start.done.stderr for code in fault.codes)
    assert fault.advice in start.done.stderr


def _wait_for(stage: Stage, image: Image) -> None:
    wait_until(
        lambda: stage.run(image).returncode == 0, "the fault is over", DROPPED_SECONDS
    )
