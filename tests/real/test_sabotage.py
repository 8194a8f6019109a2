"""Ways in which enforcement stops without a word, and what doctor says about each.

`tests/real/sabotage` is the table. What prove says is a second column: it has to fail
for a row with `opens_door`, too.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.codes import PAGES, Code
from tests.reach import as_user
from tests.real.authz import AuthzStage
from tests.real.proving import api_of
from tests.real.sabotage import BINDIR, ROWS, SECONDS, Sabotage, Victim
from tests.real.sabotage.victim import sign_pause, with_mode
from tests.real.stage import containerd_stage


@pytest.fixture(scope="module")
def docker_victim(engines: Path) -> Iterator[Victim]:
    """Docker 28 with the gate and the authorization plug-in."""
    with AuthzStage("containerd") as stage:
        api_of(stage)
        yield Victim(stage)


@pytest.fixture(scope="module")
def kubernetes_victim(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """containerd 2.1 with CRI, the gate in PATH, and the verifier of pulls."""
    folder = tmp_path_factory.mktemp("verifiers") / "bin"
    config = BINDIR.format(folder=folder)
    with containerd_stage(cri=True, extra_config=config) as stage:
        stage.host.enforcer("gate", "--bindir", folder)
        sign_pause(stage)
        yield Victim(stage, folder)


@pytest.fixture(scope="module")
def named_victim(engines: Path) -> Iterator[Victim]:
    """containerd 2.1 with CRI that has the gate as BinaryName, and no runc in PATH."""
    with containerd_stage(cri=True, by_name=True) as stage:
        sign_pause(stage)
        yield Victim(stage)


@pytest.fixture
def victim(row: Sabotage, request: pytest.FixtureRequest) -> Victim:
    """The host that a row is about."""
    found: Victim = request.getfixturevalue(f"{row.host}_victim")
    return found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_doctor_names_what_is_amiss_and_is_content_once_it_is_gone(
    row: Sabotage, victim: Victim
) -> None:
    """People look the code up, and scripts look at the exit status."""
    with row.happens(victim) as before:
        began = time.monotonic()
        status, report = victim.doctor(before)
        seconds = time.monotonic() - began
    after, mended = victim.doctor()

    found = {finding["code"]: finding for finding in report["findings"]}
    assert row.code in found, report["findings"]
    assert status == row.status, report["findings"]
    assert found[row.code]["severity"] == ("failure" if row.status else "warning")
    assert found[row.code]["consequence"] == PAGES[Code(row.code)][0]
    assert found[row.code]["remedy"]
    assert row.code not in {finding["code"] for finding in mended["findings"]}
    assert (after, _failures(mended)) == (0, [])
    assert seconds < SECONDS


@pytest.mark.parametrize("row", [r for r in ROWS if r.opens_door], ids=str)
def test_prove_finds_open_what_doctor_says_is_open(
    row: Sabotage, victim: Victim
) -> None:
    """The second column of the table: what truly happens in that state."""
    with row.happens(victim) as before:
        status, proof = victim.prove(before)
    after, mended = victim.prove()

    assert (status, proof["open"] > 0) == (5, True), _doors(proof)
    assert (after, mended["open"]) == (0, 0), _doors(mended)


def test_doctor_finds_no_failure_on_healthy_old_engines(engines: Path) -> None:
    """containerd 1.6 and Docker 20.10 have less to look at, and none of it is amiss."""
    with AuthzStage("graphdriver", "bookworm") as stage:
        status, report = Victim(stage).doctor()

    assert (status, _failures(report)) == (0, [])
    seen = {check["check"] for check in report["checked"]}
    assert {"engines", "gate", "runtimes", "docker plug-in", "enforcerd"} <= seen


def _doors(proof: dict[str, Any]) -> str:
    return "; ".join(f"{d['door']} {d['result']}: {d['what']}" for d in proof["doors"])


def _failures(report: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    return [f for f in report["findings"] if f["severity"] == "failure"]


def test_without_root_doctor_says_what_it_could_not_see(docker_victim: Victim) -> None:
    """Nothing is well only because nobody was allowed to look."""
    host = docker_victim.stage.host
    homes = (host.home, docker_victim.containerd.home, host.config)
    nobody = as_user(65534)
    with contextlib.ExitStack() as modes:
        for folder in homes:
            modes.enter_context(with_mode(folder, 0o755))
        status, report = docker_victim.doctor(nobody)

    unseen = [f for f in report["findings"] if f["code"] == "ENF-2101"]
    assert status == 3, report["findings"]
    assert {f["code"] for f in _failures(report)} == {"ENF-2101"}
    assert any("docker" in finding["subject"] for finding in unseen)
    assert any("admin.sock" in finding["subject"] for finding in unseen)
    assert {f["remedy"] for f in unseen} <= {"sudo enforcer doctor", "try again"}
    seen = {check["check"] for check in report["checked"]}
    assert not {"runtimes", "gate", "docker plug-in"} & seen
