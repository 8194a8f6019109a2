"""What runs, and what is to be stopped or started, on resolver.sock."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import resolver
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.ports import EngineError, HeldImage, Holdings, RefusedContainer, Roll
from enforcer.sources.resolver import ResolverClient, live_wire, wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb
from tests.unit.sources.serving import serving
from tests.unit.sources.test_resolver_client import (
    PATIENT_SECONDS,
    answers,
    claim,
    path,
)
from tests.unit.sweep.fleet import Fleet, container
from tests.unit.test_admission import World

__all__ = ["path"]

DOWN = EngineError("it is down", remedy="Start it.", code=Code.ENGINE_UNREACHABLE)
HOSTILE = (
    "",
    "../x",
    "a/b",
    "a b",
    "a\r\nb",
    "x?force=1",
    "-a",
    "a" * 129,
    "caf\u00e9",
)


def test_every_member_of_what_runs_arrives() -> None:
    """What is judged, shown and stopped is told by them."""
    roll = Roll((container(1), container(2, engine="containerd")), ("docker is down",))

    assert (
        live_wire.parse_roll(live_wire.roll_message(roll).SerializeToString()) == roll
    )


def test_every_member_of_what_is_at_rest_arrives() -> None:
    """A registry is asked for signatures by them."""
    one, other = Digest.of(b"1"), Digest.of(b"2")
    origins = (("r.example/a", one), ("r.example/b", other))
    held = Holdings((HeldImage("a:1", one, origins), HeldImage("x", other)), ("down",))

    raw = live_wire.holdings_message(held).SerializeToString()
    assert live_wire.parse_holdings(raw) == held


@pytest.mark.parametrize(
    "image",
    [
        pb.Held(name="a", digest="sha256:../../x"),
        pb.Held(name="a"),
        pb.Held(
            name="a", digest=str(Digest.of(b"")), origins=[pb.Origin(repository="b")]
        ),
    ],
)
def test_an_image_without_a_digest_is_refused(image: pb.Held) -> None:
    """It would become a part of a path, and of a question to a registry."""
    with pytest.raises(MalformedError):
        live_wire.parse_holdings(pb.Holdings(images=[image]).SerializeToString())


def test_what_docker_gave_up_arrives_with_its_claim_or_why_there_is_none() -> None:
    """The sweep starts again only what it could judge."""
    good = RefusedContainer("/var/lib/docker", "r1", "db", "ENF-1601", claim())
    bad = replace(good, id="r2", claim=DOWN)

    raw = live_wire.refused_message((good, bad)).SerializeToString()
    found = live_wire.parse_refused_list(raw)

    assert found[0] == good
    assert isinstance(found[1].claim, EnforcerError)
    assert (found[1].claim.code, found[1].claim.what) == (DOWN.code, DOWN.what)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_id_that_no_container_can_have_reaches_no_engine(name: str) -> None:
    """It would become a part of a path of Docker's API."""
    fleet = Fleet(World())
    methods = resolver.methods(fleet)
    stop = live_wire.stopping_message(replace(container(), id=name), 10)
    elsewhere = live_wire.stopping_message(replace(container(), namespace=name), 10)

    for method, message in (
        ("Stop", stop),
        ("Stop", elsewhere),
        ("Start", pb.Refused(root="/var/lib/docker", id=name)),
    ):
        with pytest.raises(MalformedError):
            methods[method](message.SerializeToString())

    assert (fleet.stopped, fleet.started) == ([], [])


def test_a_grace_without_end_is_refused() -> None:
    """Whoever stops must not be kept waiting for ever."""
    fleet = Fleet(World())
    message = live_wire.stopping_message(container(), live_wire.MAX_GRACE_SECONDS + 1)

    with pytest.raises(MalformedError):
        resolver.methods(fleet)["Stop"](message.SerializeToString())

    assert fleet.stopped == []


def test_stop_and_start_name_the_container_they_are_about() -> None:
    """And no other: a wrong one would be stopped."""
    fleet = Fleet(World())
    methods = resolver.methods(fleet)
    gave_up = RefusedContainer("/var/lib/docker", "r1", "db", "ENF-1601", claim())

    stop = live_wire.stopping_message(container(3), 7).SerializeToString()
    assert methods["Stop"](stop) == pb.Nothing()
    start = live_wire.start_message(gave_up).SerializeToString()
    assert methods["Start"](start) == pb.Nothing()

    assert (fleet.stopped, fleet.started) == ([("c3", 7)], ["r1"])


@given(st.binary(max_size=300))
def test_hostile_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    """Neither end believes the other."""
    for parse in (
        live_wire.parse_roll,
        live_wire.parse_stopping,
        live_wire.parse_refused_list,
        live_wire.parse_holdings,
        live_wire.parse_start,
    ):
        with contextlib.suppress(MalformedError):
            parse(raw)


def test_more_than_can_run_is_refused() -> None:
    """A resolver that somebody took over cannot fill our memory."""
    running = (container(),) * (live_wire.MAX_RUNNING + 1)

    with pytest.raises(MalformedError, match="more than"):
        live_wire.parse_roll(live_wire.roll_message(Roll(running)).SerializeToString())


def test_the_client_asks_all_five(path: Path) -> None:
    """What the resolver says arrives; its errors with their codes."""
    roll = Roll((container(),))
    replies = (
        wire.result(live_wire.roll_message(roll)),
        wire.result(live_wire.refused_message(())),
        wire.result(live_wire.holdings_message(Holdings(()))),
        wire.failure(DOWN),
        wire.failure(DOWN),
    )
    gave_up = RefusedContainer("/var/lib/docker", "r1", "db", "ENF-1601", claim())

    client = ResolverClient(path, seconds=PATIENT_SECONDS)
    with serving(path, answers(*replies)), contextlib.closing(client):
        assert client.running() == roll
        assert client.refused() == ()
        assert client.held() == Holdings(())
        with pytest.raises(EngineError, match="it is down"):
            client.stop(container(), 5)
        with pytest.raises(EngineError, match="it is down"):
            client.start(gave_up)
