"""Containers that Docker gave up because a start was refused, read from its records.

Docker tries once when it boots. What is refused then stays down, whatever its restart
policy says, until somebody starts it.
"""

import re
from collections.abc import Iterator
from itertools import islice

from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import Json, require_object
from enforcer.core.subject import Claim
from enforcer.files import read_file
from enforcer.ports import RefusedContainer
from enforcer.sources.engines.docker import MAX_RECORD_BYTES, RECORD, Docker

MAX_LISTED = 10_000  # containers of one Docker, nearly all of them ended long ago
MAX_GIVEN_UP = 256  # of those that are told at once

_CODE = re.compile(r"\[(ENF-\d{4})\]")
_BACK = ("always", "unless-stopped")  # what Docker starts again when it boots
_SWARM = "com.docker.swarm.task.id"  # swarm makes new ones by itself


def given_up(docker: Docker) -> Iterator[RefusedContainer]:
    """Yield what Docker would have restarted, and was refused; never raises."""
    try:
        listed = sorted(islice((docker.root / "containers").iterdir(), MAX_LISTED))
    except OSError:  # no container yet
        return
    found = (_given_up(docker, path.name) for path in listed if docker.has(path.name))
    yield from islice((one for one in found if one is not None), MAX_GIVEN_UP)


def _given_up(docker: Docker, id_: str) -> RefusedContainer | None:
    try:
        path = docker.root / "containers" / id_ / RECORD
        if b"[ENF-" not in read_file(path, max_bytes=MAX_RECORD_BYTES):
            return None  # most: not worth reading all of it
        members = docker.members(id_, ("State", "HasBeenManuallyStopped", "Config"))
        code = _refusal(members)
        if code and _comes_back(docker, id_):
            return RefusedContainer(
                str(docker.root),
                id_,
                clip(docker.name_of(id_) or id_),
                code,
                _claim(docker, id_),
            )
    except EnforcerError:  # it is being written, or removed
        return None
    return None


def _refusal(members: dict[str, Json]) -> str:
    """Return the code a container that is down was refused with, or ""."""
    known = ("Running", "Restarting", "Dead", "RemovalInProgress", "Error")
    state = require_object(members.get("State"), what="its State", known=known)
    config = require_object(members.get("Config"), what="its Config", known=("Labels",))
    labels = config.get("Labels")
    busy = any(state.get(name) for name in known[:-1])
    by_hand = members.get("HasBeenManuallyStopped") is not False
    swarm = isinstance(labels, dict) and _SWARM in labels
    if busy or by_hand or swarm:
        return ""
    codes = _CODE.findall(str(state.get("Error") or ""))
    return codes[-1] if codes else ""


def _comes_back(docker: Docker, id_: str) -> bool:
    host = docker.members(id_, ("RestartPolicy",), "hostconfig.json")
    policy = require_object(
        host.get("RestartPolicy"), what="its RestartPolicy", known=("Name",)
    )
    return policy.get("Name") in _BACK


def _claim(docker: Docker, id_: str) -> Claim | EnforcerError:
    try:
        return docker.claim_at_rest(id_)
    except EnforcerError as error:
        return error
