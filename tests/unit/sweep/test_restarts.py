"""What Docker gave up is started again: once it would be allowed, and not for ever."""

import pytest

from enforcer.core.errors import EnforcerError
from enforcer.ports import EngineError
from enforcer.sweep.restarts import LOOK_SECONDS, TRY_AFTER_SECONDS
from tests.unit.sweep.fleet import Fleet, refused
from tests.unit.test_admission import SIGNATURE, World


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(World(), given_up=[refused()])


def test_a_daemon_that_came_too_late_makes_up_for_it(fleet: Fleet) -> None:
    """Docker asks once when it boots, and never again."""
    sweep = fleet.sweep()

    sweep.turn()

    assert fleet.started == ["r1"]
    assert sweep.view.restarted == 1


def test_what_would_be_refused_again_is_not_tried(fleet: Fleet) -> None:
    """It was refused for what it is, and still is that."""
    fleet.world.signatures = ()
    sweep = fleet.sweep()

    for _ in range(10):
        sweep.turn()
        fleet.seconds += LOOK_SECONDS
    refused_still = list(fleet.started)
    fleet.world.signatures = (SIGNATURE,)
    sweep.turn()

    assert refused_still == []
    assert fleet.started == ["r1"]


def test_tries_are_few(fleet: Fleet) -> None:
    """A start that fails for another reason is somebody else's to mend."""
    sweep = fleet.sweep()

    for _ in range(1000):
        sweep.turn()
        fleet.seconds += LOOK_SECONDS

    assert fleet.started == ["r1"] * len(TRY_AFTER_SECONDS)


def test_one_that_was_up_in_between_may_be_tried_anew(fleet: Fleet) -> None:
    sweep = fleet.sweep()
    for up in (False, True, False):
        fleet.given_up = [] if up else [refused()]
        sweep.turn()
        fleet.seconds += LOOK_SECONDS

    assert fleet.started == ["r1", "r1"]


def test_a_docker_that_is_down_is_no_reason_to_fail(fleet: Fleet) -> None:
    fleet.on_start = EngineError("it is down", remedy="Start it.")
    sweep = fleet.sweep()

    sweep.turn()

    assert sweep.view.restarted == 0
    assert sweep.view.at is not None


def test_nobody_can_say_what_it_would_run_so_it_stays_down(fleet: Fleet) -> None:
    """Deny is the default, here as well."""
    fleet.given_up = [refused(claim=EnforcerError("lost", remedy="Load it."))]

    fleet.sweep().turn()

    assert fleet.started == []
