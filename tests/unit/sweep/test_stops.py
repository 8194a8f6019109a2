"""Stopping: only where it is wanted, only for what is certain, recorded before."""

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.ports import AuditError, EngineError
from enforcer.sweep import SweepRules
from enforcer.sweep.memory import RETRY_SECONDS
from enforcer.sweep.stops import AGAIN_SECONDS, MARGIN_SECONDS, MAX_TRIES
from enforcer.sweep.sweep import ROLL_SECONDS
from enforcer.weigher import HostRules
from tests.unit.sweep.fleet import Fleet, container
from tests.unit.test_admission import SIGNATURE, World, raising

STOP = SweepRules(on_denied="stop", grace_seconds=7)


@pytest.fixture
def fleet() -> Fleet:
    """One container runs, and nobody signed it."""
    return Fleet(World(signatures=()), [container()])


def test_it_is_on_record_before_it_is_done(fleet: Fleet) -> None:
    """Who finds a container gone must find out why."""
    sweep = fleet.sweep(STOP)

    sweep.turn()

    assert fleet.order == ["ENF-1001", "ENF-2401", "stop"]
    assert fleet.stopped == [("c1", 7)]
    record = fleet.records[-1]
    assert record.decision.message.startswith("web-1 is stopped, with 7 s to end: ")
    assert "[ENF-1001]" in record.decision.message
    assert (record.container, record.decision.allowed) == ("c1", False)
    assert sweep.view.stopped == 1
    assert "killed after 7 s [ENF-2401]" in sweep.view.found[0].stopping


@pytest.mark.parametrize(
    ("on_denied", "by_policy", "stops"),
    [
        ("", False, False),
        ("", True, True),
        ("report", True, False),
        ("stop", False, True),
    ],
)
def test_the_host_has_the_last_word_and_the_policy_the_first(
    fleet: Fleet, on_denied: str, *, by_policy: bool, stops: bool
) -> None:
    """And without a word from either, nothing is stopped."""
    fleet.policy_stops = by_policy

    fleet.sweep(SweepRules(on_denied=on_denied)).turn()

    assert bool(fleet.stopped) is stops


def test_monitor_mode_stops_nothing(fleet: Fleet) -> None:
    """It is for finding out what would happen."""
    sweep = fleet.sweep(STOP, HostRules(mode="monitor"))

    sweep.turn()

    assert fleet.stopped == []
    assert sweep.view.denied == 1


UNCERTAIN = {
    "an engine that is down": Code.ENGINE_UNREACHABLE,
    "no record": Code.NO_RECORD,
    "a torn cache": Code.CACHE_CORRUPT,
    "lost evidence": Code.EVIDENCE_LOST,
    "stale evidence": Code.EVIDENCE_STALE,
    "no evidence": Code.REVOCATION_UNKNOWN,
    "a store that is gone": Code.TRUST_STORE_MISSING,
    "a clock at 1970": Code.CERTIFICATE_NOT_VALID,
    "a signature that ended": Code.SIGNATURE_EXPIRED,
    "a blob that rotted": Code.CONTENT_TAMPERED,
    "no time": Code.DEADLINE,
    "our mistake": Code.INTERNAL,
}


@pytest.mark.parametrize("why", UNCERTAIN)
def test_a_broken_host_is_not_taken_down(fleet: Fleet, why: str) -> None:
    """Each refuses a start; a container that runs and earns money goes on."""
    fleet.world.failing["signatures_about"] = raising(
        EnforcerError(why, remedy="Mend it.", code=UNCERTAIN[why])
    )
    sweep = fleet.sweep(STOP)

    sweep.turn()

    assert fleet.told() == [("c1", str(UNCERTAIN[why]))]
    assert fleet.stopped == []


def test_a_doubt_about_the_host_stops_nothing(fleet: Fleet) -> None:
    """An empty place where the cache was makes everything look unsigned."""
    fleet.doubt = "there is no signature cache in /var/lib/enforcer/cache"
    sweep = fleet.sweep(STOP)

    sweep.turn()

    assert fleet.stopped == []
    assert f"nothing is stopped: {fleet.doubt}" in sweep.view.problems
    assert "[ENF-2403]" in sweep.view.found[0].stopping


def test_what_cannot_be_put_on_record_is_not_stopped(fleet: Fleet) -> None:
    """Law 7, the other way round."""
    sweep = fleet.sweep(SweepRules())
    sweep.turn()
    fleet.on_record = AuditError("full", remedy="Free space.")

    sweep.changed(STOP)
    fleet.seconds += 1
    sweep.turn()
    kept = list(fleet.stopped)
    fleet.on_record = None
    fleet.seconds += AGAIN_SECONDS
    sweep.turn()

    assert kept == []
    assert fleet.stopped == [("c1", 7)]


def test_what_does_not_end_is_asked_again_and_then_left_to_people(
    fleet: Fleet,
) -> None:
    """Endless signals help nobody; each has its record."""
    sweep = fleet.sweep(STOP)
    for _ in range(3 * MAX_TRIES):
        sweep.turn()
        fleet.seconds += STOP.grace_seconds + MARGIN_SECONDS + ROLL_SECONDS

    assert fleet.stopped == [("c1", 7)] * MAX_TRIES
    assert [code for _, code in fleet.told()].count("ENF-2401") == MAX_TRIES
    assert "does not end [ENF-2402]" in sweep.view.found[0].stopping


def test_it_is_not_asked_twice_within_its_grace(fleet: Fleet) -> None:
    sweep = fleet.sweep(STOP)
    sweep.turn()

    fleet.seconds += STOP.grace_seconds
    sweep.turn()

    assert fleet.stopped == [("c1", 7)]


def test_an_engine_that_will_not_stop_it_is_told_and_asked_again(
    fleet: Fleet,
) -> None:
    fleet.on_stop = EngineError("no", remedy="Look.", code=Code.DOCKER_UNREACHABLE)
    sweep = fleet.sweep(STOP)
    sweep.turn()
    problems = sweep.view.problems

    fleet.on_stop = None
    fleet.seconds += AGAIN_SECONDS + ROLL_SECONDS
    sweep.turn()

    assert problems == ("web-1 is not stopped: no. Look. [ENF-2408]",)
    assert fleet.stopped == [("c1", 7)]


@pytest.mark.parametrize(
    "error",
    [
        EngineError("it is down", remedy="Start it.", code=Code.DOCKER_UNREACHABLE),
        EngineError("it is down", remedy="Start it.", code=Code.ENGINE_UNREACHABLE),
        EngineError("no resolver", remedy="Start it.", code=Code.RESOLVER_UNREACHABLE),
    ],
)
def test_an_engine_that_was_down_for_long_is_asked_once_it_is_up(
    fleet: Fleet, error: EngineError
) -> None:
    """What nobody was asked for counts for nothing, and fills no log meanwhile."""
    fleet.on_stop = error
    sweep = fleet.sweep(STOP)
    for _ in range(60):
        sweep.turn()
        fleet.seconds += ROLL_SECONDS
    meanwhile = [code for _, code in fleet.told()].count("ENF-2401")

    fleet.on_stop = None
    fleet.seconds += RETRY_SECONDS[-1]
    sweep.turn()

    assert fleet.stopped == [("c1", 7)]
    assert meanwhile <= len(RETRY_SECONDS) + 1


def test_an_engine_with_its_hands_full_is_left_alone(fleet: Fleet) -> None:
    """No record of a stop that was not tried, and no try counted."""
    fleet.running_now = [container(n) for n in range(10)]
    fleet.on_stop = EngineError("full", remedy="Wait.", code=Code.BUSY)
    sweep = fleet.sweep(STOP)

    sweep.turn()

    assert [code for _, code in fleet.told()].count("ENF-2401") == 1


def test_what_a_newer_policy_may_allow_is_judged_first(fleet: Fleet) -> None:
    """A policy mended a moment ago must not come too late."""
    fleet.running_now = [container(n) for n in range(3)]
    sweep = fleet.sweep(STOP)

    def mend() -> None:
        fleet.world.signatures = (SIGNATURE,)
        sweep.changed(STOP)

    fleet.after_stop = mend
    sweep.turn()
    fleet.seconds += 1
    sweep.turn()

    assert len(fleet.stopped) == 1
    assert sweep.view.denied == 0
