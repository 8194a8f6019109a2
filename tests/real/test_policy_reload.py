"""A host policy that changes while the daemon runs, by editors good and bad."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from enforcer.core.host_policy import parse_host_policy
from enforcer.daemon import LOOK_SECONDS
from tests.engines.enforced import POLICY_SECONDS
from tests.engines.process import wait_until
from tests.real.acme import (
    PRODUCTION,
    People,
    Policy,
    acme_stage,
    assert_refused,
    assert_runs,
    sign,
)
from tests.real.door import ask_image
from tests.real.stage import Image, Stage

BUSY_SECONDS = 3.0  # one is promised; the machine may have other things to do
CHANGES = 8
MAX_TRIES = 5  # a busy machine may stop a writer for longer than a look takes
NOBODY = 65534
ALLOWED, UNMET, DENIED = "ENF-1000", "ENF-1017", "ENF-1019"


@pytest.fixture(scope="module")
def stage(people: People) -> Iterator[Stage]:
    """Run a production host whose policy this module may spoil."""
    with acme_stage("containerd", people, PRODUCTION) as stage:
        yield stage


@pytest.fixture(autouse=True)
def _as_before(stage: Stage) -> Iterator[None]:
    """Have PRODUCTION in force again, whatever a test did to it."""
    yield
    folder = stage.host.config / "policy.d"
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.unlink()
    stage.host.write_policy(PRODUCTION)
    wait_until(lambda: _is_production(stage), "all is as before", POLICY_SECONDS)


def _is_production(stage: Stage) -> bool:
    found = stage.host.policy()
    path = stage.host.config / "policy.d" / "10-policy.yaml"
    good = parse_host_policy([(str(path), path.read_bytes())])
    return (found["digest"], found["problem"]) == (str(good.digest), "")


@pytest.fixture
def image(people: People, stage: Stage) -> Image:
    """An image that PRODUCTION allows, because acme-release signed it."""
    image = stage.image("app")
    sign(stage, image, people.release)
    return image


def _local(required: object) -> Policy:
    """PRODUCTION with another requirement for local names, and for every name."""
    statement = {"name": "local", "scopes": ["docker.io/library/*"]}
    return PRODUCTION | {
        "always": required,
        "statements": [{**statement, "require": required}],
    }


def _code(stage: Stage, image: Image) -> str:
    return ask_image(stage, image.full).code


def _becomes(stage: Stage, image: Image, code: str) -> None:
    """Wait until that is what a door is told."""
    wait_until(lambda: _code(stage, image) == code, f"{code}", POLICY_SECONDS)


@pytest.mark.alone
def test_a_replaced_policy_is_in_force_within_a_second(
    stage: Stage, image: Image
) -> None:
    """Whoever closes a hole need not restart anything, nor wonder whether it is."""
    strict, lax = _local("acme-qa"), PRODUCTION
    took = []

    for number in range(CHANGES):
        policy, wanted = (lax, ALLOWED) if number % 2 else (strict, UNMET)
        before = stage.host.policy()["digest"]
        stage.host.write_policy(policy)
        started = time.monotonic()
        _becomes(stage, image, wanted)
        took.append(time.monotonic() - started)
        after = stage.host.policy()
        assert after["digest"] not in ("", before)
        assert after["problem"] == ""
        assert stage.host.decisions()[-1]["policy"] == after["digest"]
        (assert_runs if number % 2 else assert_refused)(stage, image)

    print(f"in force after {statistics.median(took):.2f} s, at most {max(took):.2f} s")
    assert max(took) < BUSY_SECONDS


def test_a_broken_policy_leaves_the_last_good_one_and_every_problem_is_told(
    people: People, stage: Stage, image: Image
) -> None:
    """A slip in an editor neither opens the host nor stops what is signed."""
    unsigned = stage.image("unsigned")
    before = stage.host.policy()["digest"]
    broken = {
        "10-policy.yaml": "apiVersion: enforcer/v1\nalwyas: acme-release\n",
        "20-more.yaml": "apiVersion: enforcer/v1\nstatements:\n"
        "  - {name: open, scopes: ['*'], require: everybody}\n",
        "30-half.yaml": "apiVersion: enforcer/v1\ndeny: [",
    }

    paths = [stage.host.write_policy(text, name) for name, text in broken.items()]
    wait_until(lambda: "30-half" in stage.host.policy()["problem"], "it was read")
    status = stage.host.enforcer("status", check=False)
    assert_runs(stage, image)
    assert_refused(stage, unsigned, "[ENF-1001]")

    assert status.returncode == 4
    assert before[:19] in status.stdout
    for place, what in (
        (f"{paths[0]}:2", "alwyas"),
        (f"{paths[1]}:3", 'unknown signer "everybody"'),
        (str(paths[2]), "not YAML"),
    ):
        assert place in status.stdout
        assert what in status.stdout
    ours = [r for r in stage.host.decisions() if r["reference"] == image.full]
    assert {record["policy"] for record in ours} == {before}


def _linked(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere.yaml")
    path.symlink_to(path.parent.parent / "elsewhere.yaml")


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "a file of a group": lambda path: path.chmod(0o664),
    "a file of another user": lambda path: os.chown(path, NOBODY, NOBODY),
    "a link": _linked,
    "a folder of a group": lambda path: path.parent.chmod(0o775),
}


@pytest.mark.parametrize("how", UNTRUSTED)
def test_a_policy_somebody_else_could_write_is_not_followed(
    how: str, people: People, stage: Stage
) -> None:
    """Its words may be anybody's; the last good one stays, and status says why."""
    devs = stage.image("devs")
    sign(stage, devs, people.dev)
    before = stage.host.policy()["digest"]
    folder = stage.host.config / "policy.d"

    draft = stage.host.write_policy(_local("acme-dev"), ".draft")
    UNTRUSTED[how](draft)  # hidden until it is as bad as it shall be
    draft.rename(folder / "10-policy.yaml")
    wait_until(lambda: bool(stage.host.policy()["problem"]), "it was read")
    status = stage.host.policy()
    assert_refused(stage, devs, "validly signed by acme-dev, but", "[ENF-1017]")
    with stage.host.policy_changes():  # the folder's mode may be all that was wrong
        folder.chmod(0o755)
        stage.host.write_policy(_local("acme-dev"))

    assert_runs(stage, devs)  # all that was wrong with it was who could write it
    assert status["digest"] == before
    assert str(folder) in status["problem"]


def _pieces(stage: Stage, image: Image) -> Sequence[str]:
    """A policy whose every beginning is one, too, and allows what all of it denies."""
    why = {"since": "2026-01-02", "reason": f"edition {stage.name('edition')}"}
    others = [f"sha256:{number:064x}" for number in range(10)]
    entries = [{"image": digest, **why} for digest in (*others, image.digest)]
    return (
        yaml.dump(PRODUCTION, Dumper=_Plain),
        "deny:\n",
        *(yaml.safe_dump([entry]) for entry in entries),
    )


class _Plain(yaml.SafeDumper):
    """Writes everything out; a policy has no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _write_in_pieces(
    path: Path, pieces: Sequence[str], meanwhile: Callable[[], str]
) -> tuple[list[str], float]:
    """Write as a bad editor does; return what was seen, and the longest silence."""
    seen, longest = [], 0.0
    with path.open("w") as file:
        written = time.monotonic()
        for piece in pieces:
            file.write(piece)
            file.flush()
            longest = max(longest, time.monotonic() - written)
            written = time.monotonic()
            while time.monotonic() < written + LOOK_SECONDS / 3:
                seen.append(meanwhile())
    return seen, max(longest, time.monotonic() - written)


@pytest.mark.alone
def test_half_of_a_policy_is_never_in_force(stage: Stage, image: Image) -> None:
    """Every beginning of this one would let an image start that all of it denies."""
    half = "".join(_pieces(stage, image)[:1])
    stage.host.write_policy(half)
    _becomes(stage, image, ALLOWED)
    path = stage.host.write_policy("".join(_pieces(stage, image)))
    _becomes(stage, image, DENIED)

    seen, silence = list[str](), LOOK_SECONDS
    for _ in range(MAX_TRIES):
        with stage.host.policy_changes():
            pieces = _pieces(stage, image)
            now, silence = _write_in_pieces(path, pieces, lambda: _code(stage, image))
            assert_refused(stage, image, "denied since 2026-01-02", f"[{DENIED}]")
        if silence < LOOK_SECONDS:
            seen = [*now, _code(stage, image)]
            break

    print(f"{len(seen)} questions while it was written, silence {silence:.2f} s")
    assert silence < LOOK_SECONDS
    assert set(seen) == {DENIED}
    assert len(seen) > len(_pieces(stage, image))
    assert stage.host.policy()["problem"] == ""
