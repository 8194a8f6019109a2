"""resolver.sock: values into messages and back, on both of its ends.

Neither end believes the other. What arrives is bounded before it is read, and is
refused where it has another shape. Content is not hashed here but where it is bound to
a decision (`core.subject`), however it came there.
"""

from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.subject import Claim, Content, ImageMount, ImageName
from enforcer.ports import BuildStep, ContainerRef, EngineError, ImageRef
from enforcer.sources.resolver.pb import resolver_pb2 as pb

SERVICE = "enforcer.sources.resolver.pb.Resolver"
# One image with configuration, manifest and index each as large as they may be, and
# half as much for what is mounted. Most answers have a few KiB.
MAX_ANSWER_BYTES = 24 * 1024 * 1024
MAX_TEXT = 4000  # characters of anything that is shown
MAX_NAMES = 1024  # of one image; the engines' side stops at 256
MAX_CONTENTS = 16  # of one image: a manifest, and an index
MAX_MOUNTS = 4096  # a bundle with more is larger than is read
MAX_IMAGES = 4096  # that have the very files of one mount

_Message = TypeVar("_Message", bound=Message)
_Item = TypeVar("_Item")


def read(kind: type[_Message], raw: bytes) -> _Message:
    """Read a message, or raise MalformedError."""
    try:
        found: _Message = kind.FromString(raw)
    except Exception as error:  # protobuf's DecodeError differs by implementation
        raise malformed(f"no {kind.__name__}") from error
    return found


# -- questions -------------------------------------------------------------------------


def container_message(asked: ContainerRef) -> pb.Container:
    """Write a question about a container."""
    return pb.Container(
        id=asked.id,
        bundle=asked.bundle,
        runtime_root=asked.runtime_root,
        command=asked.command,
        pid=asked.peer_pid,
    )


def parse_container(raw: bytes) -> ContainerRef:
    """Read a question about a container, or raise MalformedError."""
    asked = read(pb.Container, raw)
    if not (asked.id and asked.bundle.startswith("/") and asked.pid):
        raise malformed("no container: an id, an absolute path, and who asks")
    return ContainerRef(
        asked.id, asked.bundle, asked.runtime_root, asked.command, asked.pid
    )


def image_message(asked: ImageRef) -> pb.Image:
    """Write a question about an image at rest."""
    return pb.Image(
        engine_root=asked.engine_root, namespace=asked.namespace, name=asked.name
    )


def parse_image(raw: bytes) -> ImageRef:
    """Read a question about an image at rest, or raise MalformedError."""
    asked = read(pb.Image, raw)
    return ImageRef(asked.engine_root, asked.namespace, asked.name)


# -- answers ---------------------------------------------------------------------------


def result(message: Message) -> bytes:
    """Write the answer to a call; too large a one is a failure."""
    answer = pb.Reply(result=message.SerializeToString())
    if answer.ByteSize() > MAX_ANSWER_BYTES:
        return failure(
            EngineError(
                f"what the engine says has more than {MAX_ANSWER_BYTES} bytes",
                remedy="Mount fewer images at once.",
                code=Code.TOO_LARGE,
            )
        )
    return answer.SerializeToString()


def failure(error: EnforcerError) -> bytes:
    """Write the answer to a call that failed."""
    return pb.Reply(failure=failure_message(error)).SerializeToString()


def failure_message(error: EnforcerError) -> pb.Failure:
    """Write an error."""
    return pb.Failure(
        code=str(error.code),
        what=clip(error.what, limit=MAX_TEXT),
        remedy=clip(error.remedy, limit=MAX_TEXT),
    )


def failure_error(found: pb.Failure) -> EngineError:
    """Return the error that was written, or raise MalformedError."""
    try:
        code = Code(found.code)
    except ValueError as error:
        raise malformed("a code of another version") from error
    return EngineError(
        clip(found.what, limit=MAX_TEXT),
        remedy=clip(found.remedy, limit=MAX_TEXT),
        code=code,
    )


def parse_reply(raw: bytes) -> bytes:
    """Return the result's bytes.

    Raises:
        EngineError: The resolver's own error, with its code.
        MalformedError: Not a reply, or a code of another version.
    """
    reply = read(pb.Reply, raw)
    if not reply.HasField("failure"):
        return reply.result
    raise failure_error(reply.failure)


def resolved_message(found: Claim | BuildStep) -> pb.Resolved:
    """Write what would run."""
    if isinstance(found, BuildStep):
        return pb.Resolved(build_step=found.shown)
    mounts = (
        pb.Mount(
            destination=m.destination, images=[_claim_message(i) for i in m.images]
        )
        for m in found.mounts
    )
    return pb.Resolved(claim=_claim_message(found), mounts=mounts)


def parse_resolved(raw: bytes) -> Claim | BuildStep:
    """Read what would run, or raise MalformedError."""
    found = read(pb.Resolved, raw)
    if found.HasField("claim") == bool(found.build_step):
        raise malformed("not exactly one of an image and a build step")
    if found.build_step:
        return BuildStep(clip(found.build_step, limit=MAX_TEXT))
    return claim_of(found)


def claim_of(found: pb.Resolved) -> Claim:
    """Return the claim with what would be mounted, or raise MalformedError."""
    mounts = bounded(found.mounts, MAX_MOUNTS)
    return _claim(found.claim, tuple(_mount(mount) for mount in mounts))


def _claim_message(claim: Claim) -> pb.Claim:
    return pb.Claim(
        shown=claim.shown,
        names=[pb.Name(shown=n.shown, repository=n.repository) for n in claim.names],
        config_digest=str(claim.config_digest),
        config=claim.config,
        rootfs=str(claim.rootfs or ""),
        contents=[
            pb.Content(media_type=c.media_type, raw=c.raw) for c in claim.contents
        ],
    )


def _claim(found: pb.Claim, mounts: tuple[ImageMount, ...] = ()) -> Claim:
    return Claim(
        clip(found.shown, limit=MAX_TEXT),
        tuple(_name(name) for name in bounded(found.names, MAX_NAMES)),
        Digest.parse(found.config_digest),
        found.config,
        Digest.parse(found.rootfs) if found.rootfs else None,
        tuple(
            Content(content.media_type, content.raw)
            for content in bounded(found.contents, MAX_CONTENTS)
        ),
        mounts,
    )


def _mount(found: pb.Mount) -> ImageMount:
    images = tuple(_claim(image) for image in bounded(found.images, MAX_IMAGES))
    if not images:
        raise malformed("a mount of no image")
    return ImageMount(clip(found.destination, limit=MAX_TEXT), images)


def _name(found: pb.Name) -> ImageName:
    """Read a name; what a policy's scopes are compared with is plain, or nothing."""
    if (
        not found.repository
        or clip(found.repository, limit=MAX_TEXT) != found.repository
    ):
        raise malformed("a name that no image can have")
    return ImageName(clip(found.shown, limit=MAX_TEXT), found.repository)


def bounded(items: Sequence[_Item], most: int) -> Sequence[_Item]:
    """Return the items, or raise MalformedError where there are more."""
    if len(items) > most:
        raise malformed(f"more than {most} at once")
    return items


def malformed(what: str) -> MalformedError:
    """Return what is said of a message of another shape."""
    return MalformedError(
        f"on resolver.sock there was {what}",
        remedy="systemctl restart enforcer-resolver enforcer",
    )
