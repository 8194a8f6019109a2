"""What runs is judged again: once a change, by what it really runs, and told once."""

import threading
import time
from dataclasses import dataclass, field, replace

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.standing import Standing
from enforcer.ports import AuditError, CacheError, EngineError
from enforcer.sweep import SweepRules
from enforcer.sweep.memory import RETRY_SECONDS
from enforcer.sweep.report import MAX_SHOWN
from enforcer.sweep.sweep import FAILED_SECONDS, ROLL_SECONDS
from tests.unit.sweep.fleet import Fleet, container, refused
from tests.unit.test_admission import CLAIM, SIGNATURE, World, policy, raising

DOWN = EngineError("it is gone", remedy="Start it.", code=Code.ENGINE_UNREACHABLE)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(World(), [container()])


def revoke(fleet: Fleet) -> None:
    """Nobody signed it any more, and the cache says so by another mark."""
    fleet.world.signatures = ()
    fleet.mark += 1


def test_what_is_well_is_not_worth_a_record(fleet: Fleet) -> None:
    """The gate has put its start on record; saying so every 15 minutes is noise."""
    sweep = fleet.sweep()

    sweep.turn()

    assert fleet.records == []
    assert (sweep.view.running, sweep.view.denied, sweep.view.unjudged) == (1, 0, 0)
    assert sweep.view.summary == ""


def test_a_change_is_told_once_and_so_is_that_it_is_over(fleet: Fleet) -> None:
    """An operator who is told every quarter of an hour stops reading."""
    sweep = fleet.sweep()
    sweep.turn()

    revoke(fleet)
    for _ in range(3):
        fleet.seconds += 1000
        sweep.turn()
    denied = sweep.view
    fleet.world.signatures, fleet.mark = (SIGNATURE,), fleet.mark + 1
    fleet.seconds += 1
    sweep.turn()

    assert fleet.told() == [("c1", "ENF-1001"), ("c1", "ENF-1000")]
    assert [r.asked_by for r in fleet.records] == ["sweep", "sweep"]
    assert (denied.denied, denied.from_the_start) == (1, 0)
    assert denied.summary == "1 of 1 running containers denied"
    (found,) = denied.found
    assert (found.name, found.code, found.standing) == (
        "web-1",
        "ENF-1001",
        Standing.DENIED,
    )
    assert sweep.view.found == ()


def test_a_change_needs_no_engine_for_what_is_known(fleet: Fleet) -> None:
    """An engine that hangs just then must not delay the news by a second."""
    fleet.running_now = [container(n) for n in range(200)]
    sweep = fleet.sweep()
    sweep.turn()
    fleet.asked.clear()
    fleet.claims = {f"c{n}": DOWN for n in range(200)}

    revoke(fleet)
    fleet.seconds += 1
    sweep.turn()

    assert fleet.asked == []
    assert len(fleet.records) == 200
    assert sweep.view.denied == 200
    assert len(sweep.view.found) == MAX_SHOWN


@dataclass
class CountingWorld(World):
    steps: list[str] = field(default_factory=list)

    def _step(self, name: str) -> None:
        self.steps.append(name)


def test_containers_of_one_image_are_weighed_once() -> None:
    """Two hundred replicas are one question."""
    world = CountingWorld()
    fleet = Fleet(world, [container(n) for n in range(200)])
    sweep = fleet.sweep()
    sweep.turn()
    world.steps.clear()

    revoke(fleet)
    fleet.seconds += 1
    sweep.turn()

    assert len(fleet.records) == 200
    assert world.steps.count("signatures_about") == 1


def test_without_a_reason_nothing_is_looked_at(fleet: Fleet) -> None:
    """It looks four times a second; that must cost next to nothing."""
    sweep = fleet.sweep()
    sweep.turn()
    fleet.running_now.append(container(2))

    fleet.seconds += ROLL_SECONDS / 2
    sweep.turn()
    before = list(fleet.asked)
    fleet.seconds += ROLL_SECONDS
    sweep.turn()

    assert before == ["c1"]
    assert fleet.asked == ["c1", "c2"]


def test_what_ran_before_enforcement_is_found_by_the_first_sweep(fleet: Fleet) -> None:
    """Nobody judged it at its start."""
    fleet.world.signatures = ()
    sweep = fleet.sweep()

    sweep.turn()

    assert fleet.told() == [("c1", "ENF-1001")]
    assert (sweep.view.denied, sweep.view.from_the_start) == (1, 1)
    assert sweep.view.found[0].from_the_start


def test_the_timer_alone_finds_what_only_time_changes(fleet: Fleet) -> None:
    """An exemption or a certificate ends, and no file says so."""
    sweep = fleet.sweep(SweepRules(every_seconds=60))
    sweep.turn()
    fleet.world.signatures = ()

    fleet.seconds += 59
    sweep.turn()
    before = fleet.told()
    fleet.seconds += 1
    sweep.turn()

    assert before == []
    assert fleet.told() == [("c1", "ENF-1001")]
    assert fleet.asked == ["c1", "c1"]


def test_another_process_under_the_same_id_is_another_container(fleet: Fleet) -> None:
    """A restart may run another image by a moved tag."""
    sweep = fleet.sweep()
    sweep.turn()
    unsigned = EngineError("bare", remedy="Build.", code=Code.NO_IMAGE)

    fleet.running_now = [container(started="9-2")]
    fleet.claims["c1"] = unsigned
    for _ in range(2):
        fleet.seconds += ROLL_SECONDS
        sweep.turn()

    assert fleet.told() == [("c1", "ENF-1102")]
    assert sweep.view.denied == 1


def test_an_engine_that_is_down_is_asked_once_and_again_later(fleet: Fleet) -> None:
    """With 200 containers, a second of waiting each would be minutes."""
    fleet.running_now = [container(n) for n in range(200)]
    fleet.claims = {f"c{n}": DOWN for n in range(200)}
    sweep = fleet.sweep()

    sweep.turn()
    asked, hasty = len(fleet.asked), list(fleet.records)
    fleet.seconds += RETRY_SECONDS[0]
    sweep.turn()
    unjudged = sweep.view
    fleet.claims.clear()
    fleet.seconds += RETRY_SECONDS[1]
    sweep.turn()

    assert (asked, hasty) == (1, [])
    assert (unjudged.unjudged, unjudged.denied) == (200, 0)
    assert unjudged.found[0].standing is Standing.UNJUDGED
    assert sweep.view.unjudged == 0
    assert {code for _, code in fleet.told()} == {"ENF-1108", "ENF-1000"}


def test_what_an_engine_forgot_is_judged_as_it_was_read(fleet: Fleet) -> None:
    """The image's tag is moved or removed, the process still runs what it ran."""
    sweep = fleet.sweep(SweepRules(every_seconds=60))
    sweep.turn()
    fleet.claims["c1"] = EngineError("no such image", remedy="Load it.")

    fleet.seconds += 60
    sweep.turn()
    well = sweep.view
    revoke(fleet)
    fleet.seconds += 1
    sweep.turn()

    assert (well.denied, well.unjudged) == (0, 0)
    assert fleet.told() == [("c1", "ENF-1001")]


@pytest.mark.parametrize("error", [ValueError("x"), RecursionError(), MemoryError()])
def test_one_that_makes_us_stumble_does_not_hide_the_others(
    fleet: Fleet, error: Exception
) -> None:
    """Its records are a stranger's, and may hold anything."""
    fleet.running_now = [container(1), container(2)]
    fleet.claims["c1"] = error
    fleet.world.signatures = ()
    sweep = fleet.sweep()

    sweep.turn()
    fleet.seconds += RETRY_SECONDS[0]
    sweep.turn()

    assert fleet.told() == [("c2", "ENF-1001"), ("c1", "ENF-1901")]


def test_what_cannot_be_put_on_record_is_told_as_soon_as_it_can(fleet: Fleet) -> None:
    """A full disk must not swallow the one record there is of a change."""
    sweep = fleet.sweep(SweepRules(on_denied="stop"))
    sweep.turn()
    fleet.on_record = AuditError("full", remedy="Free space.")

    revoke(fleet)
    fleet.seconds += 1
    sweep.turn()
    silent = list(fleet.stopped)
    fleet.on_record = None
    fleet.seconds += FAILED_SECONDS + 1
    sweep.turn()

    assert silent == []
    assert fleet.told()[0] == ("c1", "ENF-1001")


def test_a_cache_that_cannot_be_read_is_no_denial(fleet: Fleet) -> None:
    """Its next start is refused; but what runs is not told to be unsigned."""
    sweep = fleet.sweep()
    sweep.turn()
    fleet.world.failing["signatures_about"] = raising(
        CacheError("it is torn", remedy="Mend it.")
    )

    fleet.mark += 1
    fleet.seconds += 1
    sweep.turn()

    assert (sweep.view.denied, sweep.view.unjudged) == (0, 1)
    assert fleet.told() == [("c1", "ENF-1402")]


def test_the_policys_lack_is_no_denial_either(fleet: Fleet) -> None:
    fleet.world.failing["current"] = raising(
        EnforcerError("none", remedy="Write one.", code=Code.POLICY_MISSING)
    )
    sweep = fleet.sweep()

    sweep.turn()

    assert (sweep.view.denied, sweep.view.unjudged) == (0, 1)


def test_another_policy_is_looked_at_without_any_mark(fleet: Fleet) -> None:
    """The daemon says so once it is in force; its files may have changed before."""
    sweep = fleet.sweep()
    sweep.turn()
    fleet.world.force = policy(scope="registry.test/x")

    sweep.changed(SweepRules())
    fleet.seconds += 1
    sweep.turn()

    assert fleet.told() == [("c1", "ENF-1002")]


def test_what_is_gone_is_forgotten(fleet: Fleet) -> None:
    """A host that starts a container a second must not fill our memory."""
    fleet.world.signatures = ()
    sweep = fleet.sweep()
    sweep.turn()

    fleet.running_now = []
    fleet.seconds += ROLL_SECONDS
    sweep.turn()

    assert (sweep.view.running, sweep.view.found) == (0, ())


def test_more_images_than_are_kept_in_mind_are_told(fleet: Fleet) -> None:
    """Memory is bounded; what does not fit is not judged, and not hidden."""
    big = replace(CLAIM, config=b"x" * (40 * 1024 * 1024))
    other = replace(big, config=b"y" * (40 * 1024 * 1024))
    fleet.running_now = [container(1), container(2)]
    fleet.claims = {"c1": big, "c2": other}
    sweep = fleet.sweep()

    sweep.turn()
    fleet.seconds += RETRY_SECONDS[0]
    sweep.turn()

    assert dict(fleet.told())["c2"] == "ENF-1303"


def test_what_an_engine_cannot_show_is_a_problem_in_words(fleet: Fleet) -> None:
    fleet.problems = ("/run/x cannot be listed: Permission denied",) * 100
    sweep = fleet.sweep()

    sweep.turn()

    assert sweep.view.problems == fleet.problems[:20]


def test_a_sweep_that_fails_is_told_and_does_not_end_the_thread(fleet: Fleet) -> None:
    """Else one mistake of ours means that nothing is swept until the next boot."""
    sweep = fleet.sweep()
    fleet.running_now = [None]  # type: ignore[list-item]  # what no engine returns
    thread = threading.Thread(target=sweep.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60

    while not sweep.view.problems and time.monotonic() < until:
        time.sleep(0.01)
    alive = thread.is_alive()
    sweep.end()
    thread.join(60)

    assert alive
    assert "the sweep failed with AttributeError [ENF-2405]" in sweep.view.problems
    assert not thread.is_alive()


def test_while_nobody_can_say_what_runs_all_that_ran_is_remembered(
    fleet: Fleet,
) -> None:
    """Or each would be reported anew when the resolver is back."""
    fleet.world.signatures = ()
    sweep = fleet.sweep()
    sweep.turn()

    for down in (DOWN, DOWN, None):
        fleet.on_running = down
        fleet.seconds += ROLL_SECONDS
        sweep.turn()
        told = sweep.view.problems
        assert told == (("it is gone [ENF-1108]",) if down else ())
        assert (sweep.view.running, sweep.view.denied) == (1, 1)

    assert fleet.told() == [("c1", "ENF-1001")]


def test_restarts_wait_for_a_resolver_that_can_say(fleet: Fleet) -> None:
    """What it gave up is started once somebody can say so."""
    fleet.given_up, fleet.on_running = [refused()], DOWN
    sweep = fleet.sweep()
    sweep.turn()
    assert fleet.started == []

    fleet.on_running = None
    fleet.seconds += 1000
    sweep.turn()

    assert fleet.started == ["r1"]
