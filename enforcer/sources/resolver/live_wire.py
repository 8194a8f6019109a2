"""resolver.sock: what runs, is held, or is to be stopped or started, as messages.

An id becomes a part of what an engine is asked, so one that is no plain name is refused
at either end.
"""

import re

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.ports import (
    EngineError,
    HeldImage,
    Holdings,
    RefusedContainer,
    Roll,
    RunningContainer,
)
from enforcer.sources.resolver import wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb

MAX_RUNNING = 8192  # the engines' side stops at 4096
MAX_REFUSED = 4096  # it stops at 256 of each Docker
MAX_HELD = 16_384  # it stops at as many images
MAX_ORIGINS = 4096  # of one of them
MAX_PROBLEMS = 4096
MAX_GRACE_SECONDS = 3600

# containerd's identifiers, which Docker's are, too (containerd, pkg/identifiers).
_ID = re.compile(r"[A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*", re.ASCII)
MAX_ID = 128  # containerd's own limit is 76


def roll_message(found: Roll) -> pb.Roll:
    """Write what runs."""
    return pb.Roll(
        running=[_running_message(one) for one in found.running],
        problems=[clip(one, limit=wire.MAX_TEXT) for one in found.problems],
    )


def parse_roll(raw: bytes) -> Roll:
    """Read what runs, or raise MalformedError."""
    found = wire.read(pb.Roll, raw)
    running = wire.bounded(found.running, MAX_RUNNING)
    problems = wire.bounded(found.problems, MAX_PROBLEMS)
    return Roll(
        tuple(_running(one) for one in running),
        tuple(clip(one, limit=wire.MAX_TEXT) for one in problems),
    )


def holdings_message(found: Holdings) -> pb.Holdings:
    """Write what is at rest."""
    images = (
        pb.Held(
            name=image.name,
            digest=str(image.digest),
            origins=[pb.Origin(repository=r, digest=str(d)) for r, d in image.origins],
        )
        for image in found.images
    )
    problems = [clip(one, limit=wire.MAX_TEXT) for one in found.problems]
    return pb.Holdings(images=images, problems=problems)


def parse_holdings(raw: bytes) -> Holdings:
    """Read what is at rest, or raise MalformedError."""
    found = wire.read(pb.Holdings, raw)
    images = wire.bounded(found.images, MAX_HELD)
    problems = wire.bounded(found.problems, MAX_PROBLEMS)
    return Holdings(
        tuple(_held(image) for image in images),
        tuple(clip(one, limit=wire.MAX_TEXT) for one in problems),
    )


def _held(found: pb.Held) -> HeldImage:
    origins = wire.bounded(found.origins, MAX_ORIGINS)
    return HeldImage(
        _text(found.name),
        Digest.parse(found.digest),
        tuple((_text(o.repository), Digest.parse(o.digest)) for o in origins),
    )


def stopping_message(container: RunningContainer, grace_seconds: int) -> pb.Stopping:
    """Write what is to be stopped."""
    asked = _running_message(container)
    return pb.Stopping(container=asked, grace_seconds=grace_seconds)


def parse_stopping(raw: bytes) -> tuple[RunningContainer, int]:
    """Read what is to be stopped, and its grace, or raise MalformedError."""
    asked = wire.read(pb.Stopping, raw)
    if asked.grace_seconds > MAX_GRACE_SECONDS:
        raise wire.malformed("a grace that does not end")
    return _running(asked.container), asked.grace_seconds


def refused_message(found: tuple[RefusedContainer, ...]) -> pb.RefusedList:
    """Write what Docker gave up."""
    return pb.RefusedList(refused=[_refused_message(one) for one in found])


def parse_refused_list(raw: bytes) -> tuple[RefusedContainer, ...]:
    """Read what Docker gave up, or raise MalformedError."""
    found = wire.bounded(wire.read(pb.RefusedList, raw).refused, MAX_REFUSED)
    return tuple(_refused(one) for one in found)


def start_message(container: RefusedContainer) -> pb.Refused:
    """Write what is to be started: of what it would run nothing is said."""
    return pb.Refused(root=container.root, id=container.id, name=container.name)


def parse_start(raw: bytes) -> RefusedContainer:
    """Read what is to be started, or raise MalformedError."""
    asked = wire.read(pb.Refused, raw)
    unsaid = EngineError("nothing was said of what it runs", remedy="Report it.")
    return RefusedContainer(asked.root, _id(asked.id), _text(asked.name), "", unsaid)


def _running_message(one: RunningContainer) -> pb.Running:
    return pb.Running(
        engine=one.engine,
        root=one.root,
        namespace=one.namespace,
        id=one.id,
        name=one.name,
        started=one.started,
        bundle=one.bundle,
        shim_pid=one.shim_pid,
    )


def _running(found: pb.Running) -> RunningContainer:
    if not found.bundle.startswith("/") or found.engine not in ("docker", "containerd"):
        raise wire.malformed("no container: an engine, and an absolute path")
    return RunningContainer(
        engine=found.engine,
        root=found.root,
        namespace=_id(found.namespace),
        id=_id(found.id),
        name=_text(found.name),
        started=_text(found.started),
        bundle=found.bundle,
        shim_pid=found.shim_pid,
    )


def _refused_message(one: RefusedContainer) -> pb.Refused:
    message = pb.Refused(root=one.root, id=one.id, name=one.name, code=one.code)
    if isinstance(one.claim, EnforcerError):
        message.failure.CopyFrom(wire.failure_message(one.claim))
    else:
        message.claim.CopyFrom(wire.resolved_message(one.claim))
    return message


def _refused(found: pb.Refused) -> RefusedContainer:
    if found.HasField("failure") == found.HasField("claim"):
        raise wire.malformed("not exactly one of an image and a failure")
    claim = (
        wire.failure_error(found.failure)
        if found.HasField("failure")
        else wire.claim_of(found.claim)
    )
    return RefusedContainer(
        found.root, _id(found.id), _text(found.name), _text(found.code), claim
    )


def _id(text: str) -> str:
    if len(text) > MAX_ID or not _ID.fullmatch(text):
        raise wire.malformed("an id that no container can have")
    return text


def _text(text: str) -> str:
    return clip(text, limit=wire.MAX_TEXT)
