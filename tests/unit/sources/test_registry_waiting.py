"""Being asked to wait, and errors that may be over a moment later."""

import itertools
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from enforcer.core.codes import Code
from enforcer.sources.registry.errors import RegistryError
from enforcer.sources.registry.patience import MAX_WAIT_SECONDS, wait_seconds
from tests.registry.fake import FakeRegistry, Rule, at
from tests.registry.rig import refused, signatures, take
from tests.registry.server import Reply, Seen, Server
from tests.unit.sources.signed import image, signature

IMAGE = image("of a busy registry")
SIGNED = signature(IMAGE.manifest)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def fake() -> FakeRegistry:
    registry = FakeRegistry()
    registry.push(IMAGE.manifest, "1")
    registry.attach(SIGNED)
    return registry


def first(count: int, part: str, reply: Reply) -> Rule:
    """Answer so for the first requests whose path has this part."""
    numbers = itertools.count()

    def rule(seen: Seen) -> Reply | None:
        return reply if part in seen.path and next(numbers) < count else None

    return rule


def busy(seconds: str | None = None, status: int = 429) -> Reply:
    return Reply(status, headers={"Retry-After": seconds} if seconds else {})


@pytest.mark.parametrize("part", ["/manifests/1", "/blobs/"])
def test_a_wait_that_there_is_time_for_is_kept(
    fake: FakeRegistry, server: Server, part: str
) -> None:
    """And nobody is asked meanwhile."""
    asked: list[float] = []
    fake.rules.append(lambda _: asked.append(time.monotonic()))
    fake.rules.append(first(1, part, busy("1")))

    items = take(server)

    assert signatures(items) == [SIGNED]
    assert refused(items) == []
    assert max(b - a for a, b in itertools.pairwise(asked)) >= 1


@pytest.mark.parametrize("after", ["60", "999999999", "in an hour"])
def test_a_wait_that_there_is_no_time_for_is_a_refusal_at_once(
    fake: FakeRegistry, server: Server, after: str
) -> None:
    """It says for how long, and the registry is left alone."""
    if after == "in an hour":
        after = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    fake.rules.append(first(1, "/manifests/1", busy(after)))
    started = time.monotonic()

    with pytest.raises(RegistryError) as caught:
        take(server)

    assert caught.value.code == Code.REGISTRY_RATE_LIMITED
    assert caught.value.is_final
    assert "wants not to be asked for another" in caught.value.what
    assert time.monotonic() - started < 5
    assert len(server.seen) == 1


def test_a_limit_in_the_middle_ends_the_run(fake: FakeRegistry, server: Server) -> None:
    """A hundred more requests would be a hundred more refusals, and nothing half."""
    fake.rules.append(at("/blobs/", busy("60")))

    with pytest.raises(RegistryError) as caught:
        take(server)

    assert caught.value.code == Code.REGISTRY_RATE_LIMITED
    assert len([path for path in server.paths() if "/blobs/" in path]) == 1


def test_whoever_always_wants_a_wait_is_not_asked_for_ever(
    fake: FakeRegistry, server: Server
) -> None:
    fake.rules.append(at("", busy("1")))

    with pytest.raises(RegistryError) as caught:
        take(server)

    assert caught.value.code == Code.REGISTRY_RATE_LIMITED
    assert len(server.seen) == 4


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_over_there_is_tried_once_more(
    fake: FakeRegistry, server: Server, status: int
) -> None:
    fake.rules.append(first(1, "/manifests/1", Reply(status)))

    assert signatures(take(server)) == [SIGNED]

    fake.rules[:] = [at("/manifests/1", Reply(status))]
    asked = len(server.seen)
    with pytest.raises(RegistryError) as caught:
        take(server)
    assert caught.value.code == Code.REGISTRY_UNREACHABLE
    assert f"(status {status})" in caught.value.what
    assert len(server.seen) == asked + 2


@pytest.mark.parametrize(
    ("text", "waits", "seconds"),
    [
        ("0", 0, 1), ("7", 3, 7), (" 7 ", 0, 7), ("", 0, 1), ("", 2, 4), ("-5", 0, 1),
        ("1e9", 0, 1), ("soon", 1, 2), ("9" * 400, 0, 1), ("1.5", 0, 1),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 0, 90),
        (format_datetime(NOW - timedelta(days=900)), 0, 1),
        ("Mon, 01 Jun 2026 12:00:30 -0000", 0, 30),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 0, MAX_WAIT_SECONDS),
        ("Mon, 99 Jun 2026 12:00:30 GMT", 0, 1), ("\x00" * 50, 0, 1),
        ("999999999", 0, MAX_WAIT_SECONDS),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(
    text: str, waits: int, seconds: float
) -> None:
    """RFC 9110, 10.2.3; what is neither is a second, then two, then four."""
    assert wait_seconds({"Retry-After": text}, waits, NOW) == seconds
