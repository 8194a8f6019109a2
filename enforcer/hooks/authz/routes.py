"""Every call of Docker's Engine API, v1.24 to v1.51, and the rule for it.

dockerd hands over the request line as it was sent, and itself acts on its decoded path.
So we decode once, as Go's net/url does, and refuse every path that is not then its own
canonical form: what dockerd would redirect (`//`, `/../`) has no place here.
"""

import re
from enum import Enum, auto
from urllib.parse import parse_qsl, unquote_to_bytes

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

MAX_PATH = 4096  # the longest name there can be is 512 characters, escaped three times
MAX_FIELDS = 1000  # in a query; real ones have at most twenty
OLDEST = (1, 24)  # older ones configure a container at its start (Docker 20.10)


class Rule(Enum):
    """What is done about a call."""

    ALLOW = auto()
    CONTAINER = auto()  # judge the image, its image mounts and the runtime in the body
    SERVICE = auto()  # the same in a swarm service's task
    START = auto()  # the gate judges it; only a checkpoint is refused here
    BUILD = auto()  # as `builds` says
    PULL = auto()  # allowed, except for the builder below
    PLUGIN = auto()  # refused


# Calls that read. None of GET's and HEAD's starts or changes anything; attach/ws is
# like exec, which no door covers.
READING = frozenset({"GET", "HEAD", "OPTIONS"})

# {id}: one part of a path. {name}: one or more, as images and plug-ins have slashes.
_TABLE: dict[Rule, tuple[str, ...]] = {
    Rule.CONTAINER: ("POST /containers/create",),
    Rule.SERVICE: ("POST /services/create", "POST /services/{id}/update"),
    # Allowed: the gate judges what really starts, and later than we could. Refused
    # here, `docker run --rm` would wait for ever for the end of its container.
    Rule.START: ("POST /containers/{id}/start",),
    # BuildKit is a service of its own behind /grpc, its files come through /session.
    Rule.BUILD: ("POST /build", "POST /session", "POST /grpc"),
    # An unsigned image may be pulled; it does not start.
    Rule.PULL: ("POST /images/create",),
    Rule.PLUGIN: (
        "POST /plugins/pull",
        "POST /plugins/create",
        "POST /plugins/{name}/enable",
        "POST /plugins/{name}/upgrade",
        "POST /plugins/{name}/set",
    ),
    Rule.ALLOW: (
        # Containers: judged when they were created, and by the gate at each start; a
        # restart and a restart policy lead there, too.
        "POST /containers/{id}/restart",
        "POST /containers/{id}/stop",
        "POST /containers/{id}/kill",
        "POST /containers/{id}/pause",
        "POST /containers/{id}/unpause",
        "POST /containers/{id}/wait",
        "POST /containers/{id}/resize",
        "POST /containers/{id}/rename",
        "POST /containers/{id}/update",
        "POST /containers/prune",
        "DELETE /containers/{id}",
        # Into a container that runs: not covered by any door (README).
        "POST /containers/{id}/attach",
        "POST /containers/{id}/exec",
        "POST /exec/{id}/start",
        "POST /exec/{id}/resize",
        "PUT /containers/{id}/archive",
        # Taking a checkpoint; starting from one is refused.
        "POST /containers/{id}/checkpoints",
        "DELETE /containers/{id}/checkpoints/{id}",
        # Images: an unsigned one may be there, and be signed there. It does not start.
        "POST /images/load",
        "POST /images/{name}/tag",
        "POST /images/{name}/push",
        "POST /images/prune",
        "DELETE /images/{name}",
        "POST /commit",
        "POST /build/prune",
        "POST /build/cancel",
        "POST /auth",
        # Networks and volumes hold no image.
        "POST /networks/create",
        "POST /networks/{id}/connect",
        "POST /networks/{id}/disconnect",
        "POST /networks/prune",
        "DELETE /networks/{id}",
        "POST /volumes/create",
        "POST /volumes/prune",
        "PUT /volumes/{id}",
        "DELETE /volumes/{id}",
        # Swarm: a node may join and leave. The gate of each node judges every task, and
        # those ordered by other managers never pass this door anyway.
        "POST /swarm/init",
        "POST /swarm/join",
        "POST /swarm/leave",
        "POST /swarm/update",
        "POST /swarm/unlock",
        "POST /nodes/{id}/update",
        "DELETE /nodes/{id}",
        "DELETE /services/{id}",
        "POST /secrets/create",
        "POST /secrets/{id}/update",
        "DELETE /secrets/{id}",
        "POST /configs/create",
        "POST /configs/{id}/update",
        "DELETE /configs/{id}",
        # Less of a plug-in is no harm.
        "POST /plugins/{name}/disable",
        "POST /plugins/{name}/push",
        "DELETE /plugins/{name}",
    ),
}
ROUTES: tuple[tuple[str, Rule], ...] = tuple(
    (call, rule) for rule, calls in _TABLE.items() for call in calls
)

# What buildx pulls to build with where /grpc is refused. Refused as a build, too: that
# is where `docker build` shows our words.
BUILDER = "moby/buildkit"

_PARTS = {"{id}": "[^/]+", "{name}": ".+"}
_PATTERNS = tuple(
    (
        re.compile(re.sub(r"\{\w+\}", lambda m: _PARTS[m.group()], call)),
        rule,
    )
    for call, rule in ROUTES
)
# What the names in paths are made of; no %, so that nothing is decoded twice.
_CANONICAL = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.:@+~-]+)+")
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_VERSION = re.compile(r"/v([0-9.]+)(?=/)")
_KNOWN_VERSION = re.compile(r"(\d)\.(\d{1,3})")


class CallError(EnforcerError):
    """A call that is refused whatever the image."""

    default_code = Code.DOCKER_CALL_UNKNOWN


def rule_for(method: str, untrusted_uri: str) -> Rule:
    """Return the rule for a request line, as dockerd has it.

    Raises:
        CallError: Not in the table, or dockerd might take it for another call.
    """
    if method in READING:
        return Rule.ALLOW
    call = f"{method} {_path(untrusted_uri)}"
    for pattern, rule in _PATTERNS:
        if pattern.fullmatch(call):
            return rule
    raise CallError(
        f"{clip(call)} is no call of Docker's API that enforcer knows",
        remedy="What is not in its table is refused.",
    )


def is_builder(untrusted_uri: str) -> bool:
    """Whether a pull is for BuildKit in a container."""
    names = query_values(untrusted_uri, "fromImage")
    return any(name.partition(":")[0].endswith(BUILDER) for name in names)


def query_values(untrusted_uri: str, name: str) -> tuple[str, ...]:
    """Return every value the query gives a name; more than Go would see, never less.

    Raises:
        CallError: There are too many to look at.
    """
    query = untrusted_uri.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise CallError(
            f"a query of more than {MAX_FIELDS} fields", remedy="No call needs that."
        ) from error
    return tuple(value for key, value in pairs if key == name)


def _path(uri: str) -> str:
    """Return the decoded path without the version, if nobody can read it otherwise."""
    path = uri.partition("?")[0]
    decoded = ""
    if len(path) <= MAX_PATH and path.isascii() and _ESCAPES.fullmatch(path):
        decoded = unquote_to_bytes(path).decode("latin-1")
    if not _CANONICAL.fullmatch(decoded):
        raise CallError(
            f'"{clip(path)}" is no plain path',
            remedy="Docker could read it as another call.",
        )
    version = _VERSION.match(decoded)
    if not version:
        return decoded
    known = _KNOWN_VERSION.fullmatch(version[1])
    if not known or (int(known[1]), int(known[2])) < OLDEST:
        raise CallError(
            f"version {clip(version[1])} of Docker's API is refused",
            remedy="1.24 is the oldest that is judged.",
        )
    return decoded[version.end() :]
