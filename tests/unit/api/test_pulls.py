"""A pull that nothing is known about: fetched for between two decisions, or denied."""

import time
from concurrent.futures import Future
from dataclasses import replace

import pytest

from enforcer.api import wire
from enforcer.api.judge import Fetch, Judge
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.core.codes import Code
from enforcer.core.record import DecisionRecord
from enforcer.core.reference import parse_reference
from enforcer.core.registry_access import Credential, Pull, Secret
from enforcer.intake.pulls import Pulls, _login, _wanted
from enforcer.ports import AdmissionRequest, ImageRef
from enforcer.settings import Settings, SyncSettings, load_settings
from tests.unit.test_admission import MANIFEST, SIGNATURE, World

REQUEST = AdmissionRequest(
    "bindir", "registry.example/app:1", str(MANIFEST.descriptor.digest)
)
PULL = Pull(Credential("me", Secret("word")))
DEADLINE = 3.0  # as a host has it
PATIENT_SECONDS = 30.0  # where the deadline is not what is asked about


class Fetching:
    """Plays what fetches: `outcome` is its result, None for one that never ends."""

    def __init__(self, world: World, outcome: str | Exception | None) -> None:
        self._world = world
        self._outcome = outcome
        self.asked: list[tuple[AdmissionRequest, Pull]] = []

    def __call__(
        self, request: AdmissionRequest, denied: DecisionRecord, pull: Pull
    ) -> "Future[str]":
        assert not denied.decision.allowed
        self.asked.append((request, pull))
        found: Future[str] = Future()
        if self._outcome == "":
            self._world.signatures = (SIGNATURE,)
        if isinstance(self._outcome, Exception):
            found.set_exception(self._outcome)
        elif self._outcome is not None:
            found.set_result(self._outcome)
        return found


async def pulled(
    outcome: str | Exception | None,
    pull: Pull | None = PULL,
    seconds: float = PATIENT_SECONDS,
) -> tuple[DecisionRecord, list[str], Fetching]:
    """Judge a pull of what is unknown; return answer, records, and what fetched."""
    world = World(signatures=())
    fetching = Fetching(world, outcome)
    judge = Judge(world.admission(), deadline_seconds=seconds, fetch=fetching)
    record = await judge.verify(REQUEST, pull=pull)
    judge.close()
    return record, [str(one.decision.code) for one in world.records], fetching


async def test_what_is_fetched_in_time_is_decided_about_once_more() -> None:
    """Both decisions are on record: the first was a denial (law 7)."""
    record, codes, fetching = await pulled("")

    assert record.decision.allowed
    assert codes == ["ENF-1001", "ENF-1000"]
    assert fetching.asked == [(REQUEST, PULL)]


async def test_what_is_not_to_be_had_says_why() -> None:
    """Whoever pulls must learn that the registry was asked, and what it said."""
    record, codes, _ = await pulled("asked its registry: it has none")

    assert record.decision.code is Code.UNSIGNED
    assert record.decision.message.endswith("; asked its registry: it has none")
    assert codes == ["ENF-1001"]


@pytest.mark.alone
async def test_a_fetch_that_does_not_end_is_a_denial_in_time() -> None:
    """The deadline is the decision's own; what comes later is for the next pull."""
    began = time.monotonic()
    record, codes, _ = await pulled(None, seconds=DEADLINE)

    assert time.monotonic() - began < DEADLINE
    assert record.decision.code is Code.UNSIGNED
    assert "still being fetched" in record.decision.message
    assert codes == ["ENF-1001"]


async def test_a_fetch_that_breaks_is_a_denial() -> None:
    """Nothing of it reaches the caller but that it failed."""
    record, _, _ = await pulled(ValueError("word"))

    assert not record.decision.allowed
    assert "word" not in record.decision.message
    assert "ValueError" in record.decision.message


async def test_what_is_no_pull_fetches_nothing() -> None:
    """A start waits for no network, whatever the settings say."""
    record, codes, fetching = await pulled("", pull=None)

    assert not record.decision.allowed
    assert (codes, fetching.asked) == (["ENF-1001"], [])


@pytest.mark.parametrize("step", ["current", "signatures_about"])
async def test_another_denial_fetches_nothing(step: str) -> None:
    """Without a policy, or with a broken cache, there is nothing to be gained."""

    def fail() -> None:
        raise OSError("broken")

    world = World(signatures=(), failing={step: fail})  # type: ignore[dict-item]
    fetching = Fetching(world, "")
    judge = Judge(world.admission(), deadline_seconds=PATIENT_SECONDS, fetch=fetching)

    record = await judge.verify(REQUEST, pull=PULL)
    judge.close()

    assert not record.decision.allowed
    assert fetching.asked == []


# -- what is asked, of whom, as whom --------------------------------------------------


def denied(request: AdmissionRequest = REQUEST) -> DecisionRecord:
    return World(signatures=()).judge(request)


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("none")
    return load_settings(folder, folder, folder)


def test_without_the_setting_nothing_is_fetched(settings: Settings) -> None:
    """No network unless somebody asked for it."""
    fetch: Fetch = Pulls(lambda: settings)

    assert fetch(REQUEST, denied(), PULL) is None


def test_a_registry_that_may_not_be_asked_is_not(settings: Settings) -> None:
    """Said at once, and nobody was connected to."""
    closed = SyncSettings(on_pull=True, registries=("other.example",))
    fetch = Pulls(lambda: replace(settings, sync=closed))

    found = fetch(REQUEST, denied(), PULL)

    assert found is not None
    assert found.result(5) == "sync.registries leaves its registry out"


def test_without_a_fetcher_it_says_so(settings: Settings) -> None:
    """enforcerd has no network and no child: the service is all there is."""
    fetch = Pulls(lambda: replace(settings, sync=SyncSettings(on_pull=True)))

    found = fetch(REQUEST, denied(), PULL)

    assert found is not None
    assert "[ENF-2701]" in found.result(5)


def test_what_is_asked_about_is_the_very_digest_under_the_pulled_name() -> None:
    """Not the tag, which may have moved; and Docker Hub's name is spelled out."""
    digest = MANIFEST.descriptor.digest
    short = replace(REQUEST, reference="app:1")
    image = AdmissionRequest("cri", image=ImageRef("/c", "k8s.io", "r.example/b:2"))
    id_ = AdmissionRequest("cri", image=ImageRef("/c", "k8s.io", str(digest)))

    found = [_wanted(asked, denied(REQUEST)) for asked in (REQUEST, short, image, id_)]

    assert [wanted and wanted.text for wanted in found] == [
        f"registry.example/app@{digest}",
        f"docker.io/library/app@{digest}",
        f"r.example/b@{digest}",
        None,
    ]


@pytest.mark.parametrize(
    ("server", "name", "is_used"),
    [
        ("", "r.example/app", True),
        ("r.example", "r.example/app", True),
        ("https://R.example/v2/", "r.example/app", True),
        ("r.example:5000", "r.example/app", False),
        ("r.example", "r.example.evil/app", False),
        ("https://r.example@evil.example/", "r.example/app", False),
        ("https://index.docker.io/v1/", "library/app", True),
        ("https://index.docker.io/v1/", "r.example/app", False),
    ],
)
def test_a_login_goes_to_the_registry_it_is_for(
    server: str, name: str, *, is_used: bool
) -> None:
    """kubelet says whose it is; it must reach nobody else."""
    wanted = parse_reference(name)

    assert (_login(wanted, replace(PULL, server=server)) == PULL.login) == is_used


def test_a_login_is_read_from_the_question_and_shown_by_nothing() -> None:
    """Of ask.sock; whoever asks elsewhere has no business with it."""
    words = {"username": "me", "password": "m4rked", "identity_token": "t0ken"}
    said = pb.Pull(server="s", **words)
    message = pb.VerifyRequest(reference="app:1", digest="x", pull=said)

    found = wire.parse_pull(message.SerializeToString())
    empty = pb.VerifyRequest(reference="a", digest="x", pull=pb.Pull())
    none = pb.VerifyRequest(reference="a", digest="x")

    assert found == Pull(Credential("me", Secret("m4rked"), Secret("t0ken")), "s")
    assert "m4rked" not in repr(found)
    assert wire.parse_pull(empty.SerializeToString()) == Pull()
    assert wire.parse_pull(none.SerializeToString()) is None
