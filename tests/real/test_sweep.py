"""What runs when somebody is not trusted any more: reported at once, stopped if wanted.

On every kind of engine, and by every way there is to take trust away.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.sources.break_glass import BreakGlassFolder
from tests.engines.images import describe
from tests.engines.process import wait_until
from tests.pki import Template, issue, leaf_template, pems
from tests.real.acme import People, judged, sign
from tests.real.stage import Image, Stage
from tests.real.sweeping import (
    ENGINES,
    POLITE,
    SLEEP,
    codes,
    hang,
    hears,
    lives,
    monitored,
    remove,
    seconds_since,
    start,
    start_again,
    status,
    swept_stage,
    told,
)
from tests.revoker import Listed, Revoker, make_crl, points, revoking_ca

BUSY_SECONDS = 3.0  # one is promised; the machine may have other things to do
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
GRACE = 3
WHY = {"since": "2026-01-02", "reason": "the key was stolen"}


@pytest.fixture(scope="module", params=ENGINES)
def stage(people: People, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Run a host that trusts acme-release, with one kind of engine after another."""
    with swept_stage(ENGINES[request.param](), people.release) as stage:
        yield stage


@pytest.fixture
def image(people: People, stage: Stage) -> Image:
    """A signed image whose containers go on."""
    image = stage.image("app", cmd=SLEEP)
    sign(stage, image, people.release)
    return image


@pytest.fixture
def container(stage: Stage, image: Image) -> Iterator[str]:
    """A running container of it."""
    id_ = start(stage, image)
    yield id_
    remove(stage, id_)


@contextmanager
def _key_denied(stage: Stage, image: Image) -> Iterator[Path]:
    (report,) = judged(stage, image)["signatures"]
    with stage.host.also(deny=[{"key": report["key"], **WHY}]):
        yield stage.host.config / "policy.d" / "50.yaml"


@contextmanager
def _reloaded(stage: Stage) -> Iterator[None]:
    """Wait at the end until the daemon has read its policy and stores again."""
    before = stage.host.log.count("policy in force")
    yield
    wait_until(
        lambda: stage.host.log.count("policy in force") > before, "it has read them"
    )


@contextmanager
def _anchor_removed(stage: Stage, image: Image) -> Iterator[Path]:
    store = stage.host.config / "trust" / "x509" / "ca" / "acme"
    aside = stage.host.home / "aside"
    stranger = store / "stranger.crt"
    store.rename(aside)
    store.mkdir(mode=0o755)
    shutil.copy(stage.host.stranger.ca, stranger)
    yield stranger
    with _reloaded(stage):
        shutil.rmtree(store)
        aside.rename(store)


@contextmanager
def _signature_removed(stage: Stage, image: Image) -> Iterator[Path]:
    stage.unsign(image)
    yield stage.host.state / "cache" / "index.db"
    target = f"oci-layout:{image.layout}@{image.digest}"
    stage.host.enforcer("cache", "import", target)


WAYS: dict[str, tuple[Callable[..., object], str]] = {
    "its key is denied": (_key_denied, "ENF-1019"),
    "its anchor is removed": (_anchor_removed, "ENF-1004"),
    "its signature is removed": (_signature_removed, "ENF-1001"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.alone
def test_a_signer_who_is_not_trusted_any_more_is_reported_at_once(
    stage: Stage, image: Image, container: str, way: str
) -> None:
    """Reported, running on, refused at the next start; and told when it is over."""
    revoked, code = WAYS[way]

    with revoked(stage, image) as changed:  # type: ignore[attr-defined]  # all are
        at = hears(stage, container, code)
        late = seconds_since(changed, at)
        found = status(stage)
        lines = stage.host.enforcer("status", check=False).stdout
        running = lives(stage, container)
        answer = start_again(stage, container)
        down = not lives(stage, container)

    print(f"{way}: reported after {late:.2f} s")
    assert late < BUSY_SECONDS
    assert [one["container"] for one in found["found"]] == [container]
    assert found["found"][0]["code"] == code
    assert (found["denied"], found["from_the_start"]) == (1, 0)
    assert "1 denied now   0 not judged" in lines
    assert running
    assert f"[{code}]" in answer
    assert down


def test_what_is_trusted_again_is_told(
    stage: Stage, image: Image, container: str
) -> None:
    """So that whoever was called can go home."""
    with _signature_removed(stage, image):
        hears(stage, container, "ENF-1001")
    hears(stage, container, "ENF-1001", "ENF-1000")

    assert status(stage)["found"] == []
    assert lives(stage, container)


def test_broken_glass_and_exemptions_count_for_what_runs(
    stage: Stage, image: Image, container: str
) -> None:
    """And end for it as they end for what starts."""
    config = describe(image.layout).config
    glass = BreakGlassFolder(stage.host.run / "break-glass")
    exempt = {"digest": config, "role": "x", "reason": "y", "until": "2126-01-01"}

    with _signature_removed(stage, image):
        hears(stage, container, "ENF-1001")
        glass.break_for(Digest.parse(config), "on call")
        hears(stage, container, "ENF-1001", "ENF-1021")
        glass.mend(Digest.parse(config))
        hears(stage, container, "ENF-1001", "ENF-1021", "ENF-1001")
        with stage.host.also(exempt=[exempt]):
            hears(stage, container, "ENF-1001", "ENF-1021", "ENF-1001", "ENF-1020")


@contextmanager
def _stopping(stage: Stage) -> Iterator[None]:
    stage.reconfigure(sweep={"onDenied": "stop", "graceSeconds": GRACE})
    try:
        yield
    finally:
        stage.reconfigure(sweep={"onDenied": "report"})


def test_what_is_denied_is_stopped_where_the_host_says_so(
    stage: Stage, people: People
) -> None:
    """One ends when it is asked to, the other is killed; neither comes back."""
    images = [stage.image("app", cmd=cmd) for cmd in (POLITE, SLEEP)]
    words = ("--restart=always",) if stage.is_docker else ()
    sign(stage, images[0], people.release)
    sign(stage, images[1], people.release)
    polite, rude, other = (
        start(stage, image, *words) for image in (images[0], images[1], images[0])
    )
    remove(stage, other)

    with _stopping(stage):
        for image in images:
            stage.unsign(image)
        first = hears(stage, polite, "ENF-1001", "ENF-2401")
        hears(stage, rude, "ENF-1001", "ENF-2401")
        wait_until(lambda: not lives(stage, polite), "the polite one has ended")
        ended = datetime.now(UTC)
        wait_until(lambda: not lives(stage, rude), "the rude one is killed")
        killed = datetime.now(UTC)

    print(f"ended after {ended - first}, killed after {killed - first}")
    assert killed - first >= timedelta(seconds=GRACE - 1)
    assert not lives(stage, polite)
    assert "[ENF-1001]" in told(stage, rude)[-1]["message"]
    remove(stage, polite, rude)


def test_what_ran_before_enforcement_is_found_and_monitor_mode_stops_nothing(
    stage: Stage,
) -> None:
    """A host that already runs things learns at once which of them nobody signed."""
    image = stage.image("old", cmd=SLEEP)
    with monitored(stage), _stopping(stage):
        id_ = start(stage, image)
        hears(stage, id_, "ENF-1001")
        assert lives(stage, id_)
        assert status(stage)["from_the_start"] == 0
    stage.host.stop()

    stage.host.start()
    hears(stage, id_, "ENF-1001", "ENF-1001")
    wait_until(lambda: status(stage)["from_the_start"] == 1, "status says so")
    lines = stage.host.enforcer("status", check=False).stdout

    assert "1 ran before this daemon, and may predate enforcement" in lines
    assert lives(stage, id_)
    remove(stage, id_)


@pytest.mark.alone
def test_an_engine_that_hangs_does_not_delay_the_news(
    stage: Stage, image: Image, container: str
) -> None:
    """What it said before is remembered, and the daemon goes on judging."""
    wait_until(lambda: status(stage)["running"] == 1, "the sweep knows it")
    stage.host.enforcer("status")
    engine = stage.docker.containerd if stage.is_docker else stage.containerd
    _learnt(stage)
    hang(engine.pid)
    try:
        with _signature_removed(stage, image) as changed:
            late = seconds_since(changed, hears(stage, container, "ENF-1001"))
    finally:
        os.kill(engine.pid, signal.SIGCONT)

    assert late < BUSY_SECONDS
    hears(stage, container, "ENF-1001", "ENF-1000")


def _learnt(stage: Stage) -> None:
    """Wait for a sweep that began after now: a change that changes nothing."""
    before = status(stage)["at"]
    marker = stage.host.run / "break-glass"
    marker.mkdir(exist_ok=True)
    marker.touch()
    wait_until(lambda: status(stage)["at"] > before, "everything was looked at")


def _hears_at_last(stage: Stage, id_: str, code: str) -> None:
    wait_until(lambda: codes(stage, id_)[-1:] == [code], f"the sweep says {code}")


def test_without_its_cache_a_host_stops_nothing(
    stage: Stage, image: Image, container: str
) -> None:
    """A disk that is not mounted makes everything look unsigned.

    Whoever is reading the cache at that moment may find half of it: ENF-1401.
    """
    cache, aside = stage.host.state / "cache", stage.host.state / "aside"
    with _stopping(stage):
        cache.rename(aside)
        try:
            _hears_at_last(stage, container, "ENF-1001")
            wait_until(lambda: status(stage)["problems"], "it says why not")
            found = status(stage)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
            aside.rename(cache)
        _hears_at_last(stage, container, "ENF-1000")

    assert set(codes(stage, container)) <= {"ENF-1000", "ENF-1001", "ENF-1401"}
    assert "there is no signature cache in" in found["problems"][0]
    assert "[ENF-2403]" in found["found"][0]["stopping"]
    assert lives(stage, container)


@dataclass(frozen=True, slots=True)
class _Revocable:
    """A signer whose certificate names a list, and a server of that list."""

    key: Path
    chain: Path
    list_: Callable[[bool], None]


@contextmanager
def _revocable(stage: Stage) -> Iterator[_Revocable]:
    def now(template: Template) -> Template:
        return replace(template, starts=NOW - 30 * DAY, ends=NOW + 300 * DAY)

    home = stage.host.home / stage.name("revocable")
    home.mkdir()
    with ExitStack() as stack:
        revoker = stack.enter_context(Revoker())
        ca = issue(now(revoking_ca(f"C=US,ST=WA,O=acme,CN={home.name}")))
        pointer = points([revoker.url("/list")])
        leaf = issue(now(replace(leaf_template(), extra=((pointer, False),))), ca)
        (home / "key").write_bytes(leaf.key_pem)
        (home / "key").chmod(0o600)
        (home / "chain").write_bytes(pems((leaf, ca)))
        (home / f"{home.name}.crt").write_bytes(ca.pem)
        add = ("trust", "add", "--store", "acme", home / f"{home.name}.crt")
        with _reloaded(stage):
            stage.host.enforcer(*add)

        def publish(revoked: bool) -> None:  # noqa: FBT001 - of two lists one
            entry = Listed(leaf.certificate.serial_number, at=NOW - DAY)
            body = make_crl(
                ca,
                *([entry] if revoked else []),
                number=1 + revoked,
                this_update=NOW - DAY + timedelta(hours=revoked),
                next_update=NOW + DAY,
            )
            revoker.serve("/list", body)
            done = stage.host.enforcer("cache", "sync", "-o", "json", check=False)
            assert json.loads(done.stdout)["kept"] == 1, done.stderr

        yield _Revocable(home / "key", home / "chain", publish)


@pytest.mark.alone
def test_a_certificate_on_a_newer_list_is_reported_at_once(stage: Stage) -> None:
    """Evidence comes by `cache sync`, and no policy changes."""
    image = stage.image("app", cmd=SLEEP)
    with _revocable(stage) as who:
        words = ("--key", who.key, "--cert", who.chain, "--write-layout")
        target = f"oci-layout:{image.layout}@{image.digest}"
        stage.host.enforcer("sign", target, *words)
        who.list_(False)  # noqa: FBT003 - as above
        id_ = start(stage, image)
        who.list_(True)  # noqa: FBT003
        at = hears(stage, id_, "ENF-1014")

    late = seconds_since(stage.host.state / "cache" / "evidence" / "index", at)
    print(f"reported {late:.2f} s after the list was kept")
    assert late < BUSY_SECONDS
    assert "[ENF-1014]" in start_again(stage, id_)
    assert codes(stage, id_) == ["ENF-1014"]
    remove(stage, id_)
