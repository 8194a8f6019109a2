"""`cache sync`: what is asked of which registry, and what one that fails costs."""

import base64
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enforcer.cli.cache.sync_due import AGAIN_SECONDS, is_due, note
from enforcer.core.codes import Code
from enforcer.core.reference import parse_reference
from enforcer.core.subject import Content
from enforcer.intake.questions import Question
from enforcer.intake.rounds import ask_all
from enforcer.settings import load_settings
from enforcer.sources.fetcher import Fetched, FetcherClient, FetcherError, Wanted
from tests.registry.fake import REPOSITORY, FakeRegistry
from tests.registry.server import Reply, Seen, Server, serving
from tests.unit.cli.host import Done, Host
from tests.unit.sources.signed import image, signature

IMAGE, OTHER = image("synced"), image("other")
NOWHERE = "127.0.0.1:1"  # nobody listens there
PASSWORD = "marked-77ab-password"  # noqa: S105 - the test's own, looked for below


@pytest.fixture
def registry() -> Iterator[tuple[Server, FakeRegistry]]:
    """A registry with one signed image, another that is not, and no one else's."""
    fake = FakeRegistry()
    fake.push(IMAGE.manifest, "1")
    fake.push(OTHER.manifest, "2")
    fake.attach(signature(IMAGE.manifest))
    with serving(fake) as server:
        yield server, fake


def name(server: Server, tag: str = "1") -> str:
    return f"{server.host}/{REPOSITORY}:{tag}"


def sync(host: Host, *words: str) -> Done:
    return host.run("cache", "sync", "-o", "json", *words)


def cached(host: Host) -> set[str]:
    listed = host.run("cache", "list", "-o", "json").json
    return {entry["subject"] for entry in listed}


def digest(content: Content) -> str:
    return str(content.descriptor.digest)


def test_a_named_image_is_fetched_with_its_signatures(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """And is judged from then on without a network."""
    server, _ = registry

    done = sync(host, name(server))
    again = sync(host, f"{server.host}/{REPOSITORY}@{digest(IMAGE.manifest)}")

    (found,) = done.json["registries"]
    assert (done.status, again.status) == (0, 0)
    assert (found["registry"], found["images"]) == (server.host, 1)
    assert (found["signatures"], found["problems"]) == (1, [])
    assert cached(host) == {digest(IMAGE.manifest)}


def test_settings_and_files_name_images_too(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """What a list names need not be here yet: it can start as soon as it is."""
    server, _ = registry
    text = f"# ours\n\n{name(server)}  # the app\n"
    (host.root / "list").write_text(text)

    listed = sync(host, "--list", str(host.root / "list"))
    host.settings(notationConfig=str(host.notation), sync={"list": [name(server)]})
    in_settings = sync(host)
    file = {"list": str(host.root / "list")}
    host.settings(notationConfig=str(host.notation), sync=file)
    in_file = sync(host)

    for done in (listed, in_settings, in_file):
        assert [r["images"] for r in done.json["registries"]] == [1], done.err
        assert done.status == 0


def test_a_registry_that_is_down_stops_no_other(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """It is told, asked once and no further; the status is the worst of all."""
    server, _ = registry
    down = [f"{NOWHERE}/{REPOSITORY}:{number}" for number in range(3)]

    done = sync(host, *down, name(server))

    one, other = done.json["registries"]
    assert done.status == 3
    assert (one["registry"], one["images"], one["skipped"]) == (NOWHERE, 1, 2)
    assert [p["code"] for p in one["problems"]] == ["ENF-2602"]
    assert (other["signatures"], other["problems"]) == (1, [])
    assert f"{down[0]}: " in done.err
    assert "[ENF-2602]" in done.err


def test_a_registry_that_had_enough_is_left_alone(host: Host) -> None:
    """429 is obeyed for all of its images, and the seconds are told."""
    asked: list[str] = []

    def busy(seen: Seen) -> Reply:
        asked.append(seen.path)
        return Reply(429, b"", {"Retry-After": "3600"})

    with serving(busy) as server:
        done = sync(host, name(server, "1"), name(server, "2"), name(server, "3"))

    (found,) = done.json["registries"]
    assert [p["code"] for p in found["problems"]] == ["ENF-2604"]
    assert found["skipped"] == 2
    assert len(asked) == 1
    assert "3600" in done.err


def test_what_somebody_named_and_is_not_there_is_a_problem(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """Of what is on this host it is none: it may have been built here."""
    server, _ = registry

    done = sync(host, name(server, "9"), name(server, "1"))

    (found,) = done.json["registries"]
    assert done.status != 0
    assert [p["code"] for p in found["problems"]] == ["ENF-2601"]
    assert found["signatures"] == 1


@pytest.mark.parametrize("text", ["app:1", "library/app", "UPPER/x:1@sha256:0"])
def test_a_name_without_a_registry_is_nobodys(text: str, host: Host) -> None:
    """`app:1` must not become a question to Docker Hub; nor is anything else asked."""
    done = sync(host, f"{NOWHERE}/app:1", text)

    assert done.status == 2
    assert "names no registry" in done.err or "expected REGISTRY" in done.err
    assert NOWHERE not in done.err.replace(f"{NOWHERE}/app:1", "")


def test_only_registries_that_may_be_asked_are(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """Where a network is closed but for one server, others are not even tried."""
    server, _ = registry
    closed = {"registries": [server.host]}
    host.settings(notationConfig=str(host.notation), sync=closed)

    done = sync(host, f"{NOWHERE}/app:1", "docker.io/library/app:1", name(server))

    assert done.status == 0
    assert [r["registry"] for r in done.json["registries"]] == [server.host]
    assert done.json["closed"] == 2


def test_what_a_lying_registry_gives_is_not_kept(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """Another content under the digest that was asked for is an error, and no more."""
    server, fake = registry
    wanted = digest(IMAGE.manifest)
    fake.manifests[wanted] = OTHER.manifest

    done = sync(host, f"{server.host}/{REPOSITORY}@{wanted}")

    (found,) = done.json["registries"]
    assert done.status == 1
    assert [p["code"] for p in found["problems"]] == ["ENF-2605"]
    assert cached(host) == set()


def test_a_list_that_cannot_be_read_is_told(host: Host) -> None:
    """Nothing is asked by half of a list."""
    done = sync(host, "--list", str(host.root / "none"))

    assert done.status != 0
    assert str(host.root / "none") in done.err


def test_a_list_that_is_too_long_is_told(
    host: Host,
    registry: tuple[Server, FakeRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is not asked about would else be taken for done."""
    monkeypatch.setattr("enforcer.cli.cache.sync_targets.MAX_QUESTIONS", 1)
    server, _ = registry

    done = sync(host, name(server), name(server, "2"), name(server))

    assert done.status != 0
    assert len(done.json["engines"]) == 1
    assert "the rest" in done.json["engines"][0]
    assert cached(host) == {digest(IMAGE.manifest)}


def test_a_login_is_sent_to_its_registry_and_shown_nowhere(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in what is printed, nor in anything that is kept."""
    heard: list[str] = []

    def closed(seen: Seen) -> Reply:
        heard.append(seen.headers.get("Authorization", ""))
        challenge = {"WWW-Authenticate": 'Basic realm="all"'}
        return Reply(401, b"", challenge)

    with serving(closed) as server:
        auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        login = {"auths": {server.host: {"auth": auth}}}
        (host.root / "config.json").write_text(json.dumps(login))
        (host.root / "config.json").chmod(0o600)
        monkeypatch.setenv("DOCKER_CONFIG", str(host.root))
        done = sync(host, name(server))

    (found,) = done.json["registries"]
    kept = b"".join(p.read_bytes() for p in (host.root / "state").rglob("*.*"))
    assert [p["code"] for p in found["problems"]] == ["ENF-2603"]
    assert f"Basic {auth}" in heard
    for word in (PASSWORD, auth):
        assert word not in done.out + done.err
        assert word.encode() not in kept


# -- how often ---------------------------------------------------------------------


def test_the_timer_does_nothing_until_it_is_told_to(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """No network unless somebody asked for it."""
    server, _ = registry
    host.settings(notationConfig=str(host.notation), sync={"list": [name(server)]})
    off = host.run("cache", "sync", "--due")
    asked = len(server.seen)
    every = {"list": [name(server)], "every": "6h"}
    host.settings(notationConfig=str(host.notation), sync=every)

    first = host.run("cache", "sync", "--due")
    between = len(server.seen)
    second = host.run("cache", "sync", "--due")

    assert (off.status, off.out, asked) == (0, "", 0)
    assert (first.status, between > 0) == (0, True)
    assert (second.status, second.out, len(server.seen)) == (0, "", between)


def test_it_is_due_when_the_time_has_passed_and_sooner_after_a_failure(
    host: Host,
) -> None:
    """A registry that was down is not asked every few minutes, nor left for a day."""
    host.settings(notationConfig=str(host.notation), sync={"every": "6h"})
    folders = (host.root / name for name in ("config", "state", "run"))
    settings = load_settings(*folders)
    began = datetime(2026, 5, 4, tzinfo=UTC)

    def due(seconds: float) -> bool:
        return is_due(settings, began + timedelta(seconds=seconds))

    assert due(0)
    note(settings, began, is_done=True)
    done = [due(at) for at in (-60, 0, 6 * 3600 - 1, 6 * 3600)]
    note(settings, began, is_done=False)
    partial = [due(at) for at in (0, AGAIN_SECONDS - 1, AGAIN_SECONDS)]
    (settings.state_dir / "sync.json").write_text("{")

    assert done == [True, False, False, True]
    assert partial == [False, False, True]
    assert due(0)


def test_a_fetcher_that_is_dead_is_told_and_nothing_replaces_it(host: Host) -> None:
    """A host that has the service must not go on without it unnoticed."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(host.root / "run" / "fetcher.sock"))

    done = sync(host, f"{NOWHERE}/app:1")

    assert done.status == 3
    assert "[ENF-2701]" in done.err


class Silent(FetcherClient):
    """A fetcher that one registry keeps busy past the end of its time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []

    def fetch_signatures(self, wanted: Wanted) -> Fetched:
        self.asked.append(f"{wanted.access.host}:{wanted.reference}")
        raise FetcherError("no end", remedy="-", code=Code.FETCHER_SILENT)


def test_a_fetcher_that_is_silent_is_not_waited_for_image_after_image(
    host: Host,
) -> None:
    """Two minutes each: the timer's half an hour would be over before the next one."""
    names = ("a.test/app:1", "a.test/app:2", "b.test/app:1")
    questions = [Question(parse_reference(name), named=True) for name in names]
    root = host.root
    settings = load_settings(root / "config", root / "state", root / "run")
    client = Silent(root / "none")

    rounds = ask_all(questions, settings, client, datetime.now(UTC))

    assert client.asked == ["a.test:1", "b.test:1"]
    assert [(done.registry, done.skipped) for done in rounds] == [
        ("a.test", 1),
        ("b.test", 0),
    ]


# -- what is told ------------------------------------------------------------------


@pytest.mark.parametrize("output", ["text", "json"])
def test_without_a_policy_what_was_brought_is_told_and_then_the_error(
    host: Host, registry: tuple[Server, FakeRegistry], output: str
) -> None:
    """It is stored, and counts as soon as there is a policy: nobody has to guess."""
    server, _ = registry
    (host.notation / "trustpolicy.json").unlink()

    done = host.run("cache", "sync", "-o", output, name(server))

    assert done.status == 4
    assert cached(host) == {digest(IMAGE.manifest)}
    assert done.err.startswith("enforcer: ")
    assert done.err.endswith("[ENF-1201]\n")
    if output == "json":
        assert [r["signatures"] for r in done.json["registries"]] == [1]
        assert done.json["failure"]["code"] == "ENF-1201"
    else:
        assert done.out == f"{server.host}: 1 image(s), 1 signature(s)\n"


def test_what_is_refused_is_told_by_the_exit_status_as_an_imports_is(
    host: Host, registry: tuple[Server, FakeRegistry]
) -> None:
    """The rest is taken; and it would be refused again, so that nobody asks sooner."""
    server, fake = registry
    stranger = image("of somebody else").manifest
    fake.attach(signature(stranger))
    fake.about[digest(IMAGE.manifest)] += fake.about.pop(digest(stranger))
    wanted = {"list": [name(server)], "every": "6h"}
    host.settings(notationConfig=str(host.notation), sync=wanted)

    done = host.run("cache", "sync", "--due", "-o", "json")
    imported = host.run("cache", "import", name(server))

    assert (done.status, imported.status) == (1, 1)
    assert [len(r["refused"]) for r in done.json["registries"]] == [1]
    assert "and listed for another" in done.err
    assert cached(host) == {digest(IMAGE.manifest)}
    assert json.loads((host.root / "state" / "sync.json").read_text())["outcome"] == (
        "done"
    )
