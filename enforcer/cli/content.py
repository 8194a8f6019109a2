"""What `verify` says about an artifact that is no image, and its content."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from enforcer.cli.target import Target
from enforcer.core.artifact import Artifact, parse_artifact
from enforcer.core.errors import MalformedError, clip
from enforcer.core.strictjson import Json

NOT_READ = "not read; --exec does, and hands it on"


@dataclass(frozen=True, slots=True)
class Read:
    """An artifact, and how much of its content was hashed; None if nothing was."""

    artifact: Artifact
    blobs: int | None = None
    bytes: int = 0


def artifact_of(target: Target) -> Artifact | None:
    """Return what the target is, unless it is an image or an index."""
    try:
        artifact = parse_artifact(target.contents[0].raw)
    except MalformedError:
        return None
    return None if artifact.is_image or target.claim else artifact


def read_content(artifact: Artifact, target: Target) -> Read:
    """Hash every blob of an artifact that is in a layout.

    An image is hashed by the engine that unpacks it, a chart or a firmware by nobody.

    Raises:
        EnforcerError: One is missing, or is not what the manifest names.
    """
    if target.folder is None or target.stream is None:  # not at hand
        return Read(artifact)
    blobs = {part.content for part in artifact.parts} | {artifact.config}
    for blob in blobs:
        _exhaust(target.stream(blob))
    return Read(artifact, len(blobs), sum(blob.size for blob in blobs))


def content_lines(read: Read) -> Iterator[str]:
    """Yield what people read below the decision."""
    artifact = read.artifact
    shown = clip(artifact.media_type)
    yield (
        f"  artifact   {artifact.kind} ({shown})"
        if artifact.kind
        else (f"  artifact   {shown}")
    )
    yield f"  content    {_content(read)}"
    for other in artifact.uncounted:
        yield f"  beside     {other}: not looked at, counts for nothing"


def content_json(read: Read) -> dict[str, Json]:
    """Return the same for programs."""
    return {
        "kind": read.artifact.kind,
        "mediaType": read.artifact.media_type,
        "blobsVerified": read.blobs,
        "uncounted": list(read.artifact.uncounted),
    }


def _content(read: Read) -> str:
    if read.blobs is None:
        return NOT_READ
    return f"{read.blobs} blobs, {read.bytes} bytes: what was signed"


def _exhaust(parts: Iterable[bytes]) -> None:
    for _ in parts:
        pass
