"""Which of Docker's containers were given up at a refusal, and come back by policy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.errors import EnforcerError
from enforcer.sources.engines.containerd import Containerd
from enforcer.sources.engines.docker import Docker
from enforcer.sources.engines.given_up import MAX_GIVEN_UP, given_up
from enforcer.sources.engines.host import host_platform

ID = "a" * 64
ERROR = "OCI runtime create failed: enforcer: nobody answers [ENF-1601]: unknown"
Record = dict[str, Any]


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    containerd = Containerd(
        socket=tmp_path / "c", root=tmp_path, state=tmp_path, platform=host_platform()
    )
    return Docker(root=tmp_path, containerd=containerd, api=tmp_path / "d")


def record() -> Record:
    return {
        "Name": "/db",
        "Image": "sha256:" + "b" * 64,
        "Driver": "overlay2",
        "Config": {"Image": "db:1", "Labels": {}},
        "State": {"Running": False, "Error": ERROR},
        "HasBeenManuallyStopped": False,
    }


def write(
    docker: Docker, found: object, *, policy: object = "always", id_: str = ID
) -> None:
    folder = docker.root / "containers" / id_
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(json.dumps(found))
    (folder / "hostconfig.json").write_text(
        json.dumps({"RestartPolicy": {"Name": policy}})
    )


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_docker_would_restart_and_was_refused_is_told(
    docker: Docker, policy: str
) -> None:
    """With what it would run, or why nobody can say: here there is no image."""
    write(docker, record(), policy=policy)

    (found,) = given_up(docker)

    assert (found.id, found.name, found.code) == (ID, "db", "ENF-1601")
    assert isinstance(found.claim, EnforcerError)


def _state(**members: object) -> Callable[[Record], object]:
    return lambda found: found["State"].update(members)


OTHERS: dict[str, Callable[[Record], object]] = {
    "it runs": _state(Running=True),
    "Docker is at it": _state(Restarting=True),
    "it is being removed": _state(RemovalInProgress=True),
    "it is dead": _state(Dead=True),
    "it ended by itself": _state(Error=""),
    "it failed for another reason": _state(Error="no such file [ENF-]"),
    "no error at all": lambda found: found["State"].pop("Error"),
    "somebody stopped it": lambda found: found.update(HasBeenManuallyStopped=True),
    "nobody knows who stopped it": lambda found: found.pop("HasBeenManuallyStopped"),
    "swarm makes another": lambda found: found["Config"]["Labels"].update(
        {"com.docker.swarm.task.id": "x"}
    ),
    "no state": lambda found: found.pop("State"),
    "two states": lambda found: found.update(state=found["State"]),
}


@pytest.mark.parametrize("why", OTHERS)
def test_everything_else_is_left_alone(docker: Docker, why: str) -> None:
    found = record()
    OTHERS[why](found)
    write(docker, found)

    assert list(given_up(docker)) == []


@pytest.mark.parametrize("policy", ["no", "on-failure", "", 7, None, {}])
def test_what_docker_would_not_restart_at_boot_stays_down(
    docker: Docker, policy: object
) -> None:
    write(docker, record(), policy=policy)

    assert list(given_up(docker)) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[ENF-1601]", b"\xff[ENF-1601]", b"[" * 100_000]
)
def test_a_record_that_is_none_is_passed_over(docker: Docker, content: bytes) -> None:
    """It is being written, or somebody wrote it; the others count all the same."""
    write(docker, record(), id_="c" * 64)
    write(docker, record())
    (docker.root / "containers" / ID / "config.v2.json").write_bytes(content)

    assert [found.id for found in given_up(docker)] == ["c" * 64]


def test_a_docker_without_containers_gave_up_none(docker: Docker) -> None:
    assert list(given_up(docker)) == []


def test_the_last_code_counts_and_their_number_is_bounded(docker: Docker) -> None:
    """An image may be called after a code; the gate's own comes last."""
    found = record()
    found["State"]["Error"] = f"x[ENF-1000] {ERROR}"
    for number in range(MAX_GIVEN_UP + 1):
        write(docker, found, id_=f"{number:064x}")

    told = list(given_up(docker))

    assert len(told) == MAX_GIVEN_UP
    assert {one.code for one in told} == {"ENF-1601"}
