"""Docker: its container records on disk, and either of its two image stores."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.image import MAX_MANIFEST_BYTES, media_type_of
from enforcer.core.reference import parse_reference
from enforcer.core.strictjson import Json, parse_json, require_object, require_text
from enforcer.core.subject import Claim, ImageName
from enforcer.files import FileMissingError, read_file
from enforcer.ports import EngineError
from enforcer.sources.engines.bundle import Start
from enforcer.sources.engines.containerd import Containerd, Runnable
from enforcer.sources.engines.docker_api import DockerApi
from enforcer.sources.engines.graphdriver import GraphDriver

MAX_RECORD_BYTES = 16 * 1024 * 1024
NAMESPACE = "moby"
SNAPSHOTTER = "overlayfs"  # Docker's Driver with the containerd image store
GRAPH_DRIVER = "overlay2"
RECORD = "config.v2.json"

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


@dataclass(frozen=True, slots=True)
class _Record:
    """What config.v2.json says: the immutable image, and the name that was typed."""

    image: Digest
    typed: str
    driver: str


class Docker:
    """One dockerd's data root, with the containerd it uses."""

    def __init__(self, *, root: Path, containerd: Containerd, api: Path) -> None:
        self.root = root
        self.containerd = containerd
        self.api = DockerApi(api)
        self.executor = root / "buildkit" / "executor"
        self.graph = GraphDriver(root)

    def has(self, container: str) -> bool:
        """Whether this dockerd has a record of a container."""
        known = _CONTAINER_ID.fullmatch(container)
        return bool(known) and self._path(container).is_file()

    def name_of(self, container: str) -> str:
        """Return what people call a container, or "" where its record does not say."""
        with suppress(EnforcerError):
            name = self.members(container, ("Name",)).get("Name")
            return str(name or "").removeprefix("/")
        return ""

    def driver_of(self, container: str) -> str:
        """Return the storage driver of a container, or raise EngineError."""
        return self._record(container).driver

    def claim(self, start: Start) -> Claim:
        """Say what a container would run. Raises EngineError."""
        record = self._record(start.container.id)
        if record.driver == GRAPH_DRIVER:
            return self._graph_claim(record, self.graph.mounted_rootfs(start))
        if record.driver == SNAPSHOTTER:
            rootfs = self.containerd.mounted_rootfs(
                NAMESPACE, SNAPSHOTTER, start.container.id, start
            )
            return self._store_claim(record, rootfs)
        raise self._not_judged(record)

    def claim_at_rest(self, container: str) -> Claim:
        """Say what a container that does not run would run: nothing is mounted.

        Raises:
            EngineError: As `claim`. Only the gate, at the start, can be sure.
        """
        record = self._record(container)
        if record.driver == GRAPH_DRIVER:
            return self._graph_claim(record, None)
        if record.driver == SNAPSHOTTER:
            snapshots = self.containerd.snapshots
            rootfs = snapshots.chain_id(NAMESPACE, SNAPSHOTTER, container)
            return self._store_claim(record, rootfs)
        raise self._not_judged(record)

    def _not_judged(self, record: _Record) -> EngineError:
        return EngineError(
            f"Docker's storage driver {clip(record.driver)} is not judged by this "
            "version",
            remedy="Use overlay2 or the containerd image store.",
            code=Code.NOT_SUPPORTED,
        )

    def name(self, typed: str, *, origin: bool) -> ImageName:
        """Name an image as policy does; without host and origin it is a local one."""
        reference = parse_reference(typed)
        return ImageName(clip(typed), reference.repository(local=not origin))

    def _graph_claim(self, record: _Record, rootfs: Digest | None) -> Claim:
        origin = self.graph.has_origin(record.image)
        typed = [record.typed]
        if _is_id(record):
            typed = list(self.graph.names_of(record.image))
        return Claim(
            clip(record.typed),
            tuple(self.name(name, origin=origin) for name in typed),
            record.image,
            self.graph.config(record.image),
            rootfs,
            (),
        )

    def _store_claim(self, record: _Record, rootfs: Digest) -> Claim:
        found = self._runnable(record, rootfs)
        origin = self.containerd.has_origin(NAMESPACE, found)
        typed = [record.typed]
        if _is_id(record):
            stored = self.containerd.raw_names_of(NAMESPACE, record.image)
            typed = [familiar(name) for name in stored]
        return Claim(
            clip(record.typed),
            tuple(self.name(name, origin=origin) for name in typed),
            found.config_digest,
            found.config,
            rootfs,
            found.contents,
        )

    def _runnable(self, record: _Record, rootfs: Digest) -> Runnable:
        """Follow the immutable digest Docker noted when the container was created."""
        raw = self.containerd.blob(record.image, MAX_MANIFEST_BYTES)
        target = Descriptor.of(media_type_of(raw), raw)
        return self.containerd.runnable(target, rootfs=rootfs, shown=clip(record.typed))

    def _record(self, container: str) -> _Record:
        what = f"Docker's record of container {clip(container, limit=12)}"
        try:
            known = ("Image", "Config", "Driver", "ImageManifest")
            members = self.members(container, known)
            config = require_object(
                members.get("Config"), what="its Config", known=("Image",)
            )
            return _Record(
                Digest.parse(require_text(members, "Image", what=what)),
                require_text(config, "Image", what="its Config"),
                require_text(members, "Driver", what=what),
            )
        except EnforcerError as error:
            missing = isinstance(error, FileMissingError)
            raise EngineError(
                f"{what} cannot be read: {error.what}",
                remedy="Create the container again.",
                code=Code.NO_RECORD if missing else error.code,
            ) from error

    def members(
        self, container: str, known: Collection[str], file: str = RECORD
    ) -> dict[str, Json]:
        """Return what Docker wrote down about a container, or raise EnforcerError."""
        path = self.root / "containers" / container / file
        raw = read_file(path, max_bytes=MAX_RECORD_BYTES)
        document = parse_json(raw, what=str(path), max_bytes=MAX_RECORD_BYTES)
        return require_object(document, what=str(path), known=known)

    def _path(self, container: str) -> Path:
        return self.root / "containers" / container / RECORD


def familiar(name: str) -> str:
    """Shorten a stored name as Docker shows it: `docker.io/` and `library/` go.

    Raises:
        InvalidReferenceError: `docker.io/foo.bar/x`, which would read as foo.bar's.
    """
    path = parse_reference(name).path
    short = name.removeprefix("docker.io/")
    return short.removeprefix("library/") if path.count("/") == 1 else short


def _is_id(record: _Record) -> bool:
    """Whether what was typed is (the beginning of) the image's own id."""
    match = _IMAGE_ID.fullmatch(record.typed)
    return match is not None and record.image.hex.startswith(match.group(1))
