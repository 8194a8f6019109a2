"""containerd: records over its socket, blobs from its content store on disk."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.image import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Index,
    Manifest,
    Platform,
    parse_config,
    parse_manifest_or_index,
)
from enforcer.core.reference import parse_reference
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.core.subject import Claim, Content, ImageName, select_manifest
from enforcer.files import FileMissingError, read_file, read_parts
from enforcer.ports import EngineError
from enforcer.sources.engines.bundle import Start
from enforcer.sources.engines.calls import call, within
from enforcer.sources.engines.pb import (
    containers_pb2,
    containers_pb2_grpc,
    content_pb2,
    content_pb2_grpc,
    images_pb2,
    images_pb2_grpc,
    namespaces_pb2,
    namespaces_pb2_grpc,
    tasks_pb2,
    tasks_pb2_grpc,
)
from enforcer.sources.engines.snapshots import Snapshots

MAX_NAMES = 256  # names of one image that are tried
# What an error says travels there, and repeats the name asked for. Between grpcio's own
# 8 and 16 KiB it is chance whether a call fails.
MAX_METADATA_BYTES = 64 * 1024
TASKS = "io.containerd.runtime.v2.task"
CRI_NAMESPACE = "k8s.io"
PINNED = 'labels."io.cri-containerd.pinned"==pinned'
ORIGIN_LABEL = "containerd.io/distribution.source."
CRI_CONTAINER = "io.cri-containerd.container.metadata"


@dataclass(frozen=True, slots=True)
class Runnable:
    """An image as it would run: its configuration, and what names that."""

    config_digest: Digest
    config: bytes
    contents: tuple[Content, ...]


class Containerd:
    """One containerd. Safe to share between threads."""

    def __init__(
        self, *, socket: Path, root: Path, state: Path, platform: Platform
    ) -> None:
        self.socket = socket
        self.root = root
        self._blobs = root / "io.containerd.content.v1.content" / "blobs"
        self.tasks = state / TASKS
        self._platform = platform
        channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=[
                ("grpc.default_authority", "localhost"),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 250),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ],
        )
        self._containers = containers_pb2_grpc.ContainersStub(channel)
        self._images = images_pb2_grpc.ImagesStub(channel)
        self.snapshots = Snapshots(channel)
        self._content = content_pb2_grpc.ContentStub(channel)
        self._tasks = tasks_pb2_grpc.TasksStub(channel)
        self._namespaces = namespaces_pb2_grpc.NamespacesStub(channel)

    def claim(self, namespace: str, start: Start) -> Claim:
        """Say what a container of a namespace would run, from its record.

        Raises:
            EngineError: No record, no image, or another root file system is mounted.
        """
        record = self.record(namespace, start.container.id)
        if not record.image:
            raise EngineError(
                f"container {clip(start.container.id, limit=64)} is made from a bare "
                "root file system, which nobody can have signed",
                remedy="Build an image and sign it.",
                code=Code.NO_IMAGE,
            )
        rootfs = self.mounted_rootfs(
            namespace, record.snapshotter, record.snapshot_key, start
        )
        reference = _cri_image(record) or record.image
        target = self.target(namespace, reference)
        found = self.runnable(target, rootfs=rootfs, shown=clip(record.image))
        return Claim(
            clip(record.image),
            self.names_for(namespace, reference, target.digest),
            found.config_digest,
            found.config,
            rootfs,
            found.contents,
        )

    def mounted_rootfs(
        self, namespace: str, snapshotter: str, key: str, start: Start
    ) -> Digest:
        """Return the chain id below a container's snapshot, if that is what is mounted.

        Raises:
            EngineError: Something else is mounted where runc will look.
        """
        path = start.bundle.root
        actual = start.table.overlay_at(path)
        if not self.snapshots.is_mount_of(namespace, snapshotter, key, actual):
            raise EngineError(
                f"what is mounted at {clip(path)} is not the snapshot of container "
                f"{clip(start.container.id, limit=64)}",
                remedy="Create the container again.",
                code=Code.ROOTFS_MISMATCH,
            )
        return self.snapshots.chain_id(namespace, snapshotter, key)

    def target(self, namespace: str, name: str) -> Descriptor:
        """Return what an image name stands for now, or raise EngineError."""
        request = images_pb2.GetImageRequest(name=name)
        what = f"image {clip(name)}"
        found = call(self._images.Get, request, within(namespace), what)
        return _descriptor(found.image.target)

    def names_for(
        self, namespace: str, reference: str, digest: Digest
    ) -> tuple[ImageName, ...]:
        """Return the name to judge under; for CRI's ids, every name of the digest."""
        if not reference.startswith("sha256:"):
            return (parse_name(reference),)
        listed = self.raw_names_of(namespace, digest)
        return tuple(parse_name(n) for n in listed if not n.startswith("sha256:"))

    def raw_names_of(self, namespace: str, digest: Digest) -> tuple[str, ...]:
        """Return every name a namespace has for a manifest or index, as stored."""
        listed = self.images(namespace, f"target.digest=={digest}")
        return tuple(sorted(name for name, _ in listed)[:MAX_NAMES])

    def images(self, namespace: str, *wanted: str) -> list[tuple[str, Descriptor]]:
        """Return name and target of the images one of containerd's filters lets pass.

        Without a filter, of all images.
        """
        request = images_pb2.ListImagesRequest(filters=wanted)
        found = call(self._images.List, request, within(namespace), "its images")
        return [(image.name, _descriptor(image.target)) for image in found.images]

    def namespaces(self) -> tuple[str, ...]:
        """Return the names of all namespaces, or raise EngineError."""
        request = namespaces_pb2.ListNamespacesRequest()
        found = call(self._namespaces.List, request, (), "its namespaces")
        return tuple(sorted(namespace.name for namespace in found.namespaces))

    def pinned_images(self) -> list[tuple[str, Digest]]:
        """Return what CRI pinned: images it needs itself, by their first name."""
        request = images_pb2.ListImagesRequest(filters=[PINNED])
        here = within(CRI_NAMESPACE)
        found = call(self._images.List, request, here, "its images")
        pinned: dict[Digest, str] = {}
        for image in sorted(found.images, key=lambda i: i.name)[:MAX_NAMES]:
            if not image.name.startswith("sha256:"):
                pinned.setdefault(Digest.parse(image.target.digest), image.name)
        return [(name, digest) for digest, name in pinned.items()]

    def has_origin(self, namespace: str, found: Runnable) -> bool:
        """Whether a registry is recorded as where an image came from."""
        return any(
            self.origins(namespace, content.descriptor.digest)
            for content in found.contents
        )

    def origins(self, namespace: str, digest: Digest) -> tuple[str, ...]:
        """Return the repositories, with their registries, that content came from."""
        request = content_pb2.InfoRequest(digest=str(digest))
        what = f"content {digest.short}"
        try:
            found = call(self._content.Info, request, within(namespace), what)
        except EngineError as error:
            if error.code is Code.NO_RECORD:  # an image whose content is not here
                return ()
            raise
        labels = found.info.labels.items()
        return tuple(
            f"{name.removeprefix(ORIGIN_LABEL)}/{repository}"
            for name, repositories in sorted(labels)
            if name.startswith(ORIGIN_LABEL)
            for repository in repositories.split(",")
        )

    def runnable(
        self, target: Descriptor, *, rootfs: Digest | None, shown: str
    ) -> Runnable:
        """Follow an image to the configuration that runs, hashing every step.

        Of an index, the manifest for this host that has the root file system
        `rootfs`; without one, the only one for this host.

        Raises:
            EngineError: None fits, or more than one, or bytes are missing or changed.
        """
        top = self.content(target)
        parsed = parse_manifest_or_index(top.raw)
        if isinstance(parsed, Manifest):
            return self._runnable(parsed, (top,))
        found: Runnable | None = None
        for other in self._variants(parsed, top):
            if rootfs is not None:
                if parse_config(other.config).chain_id == rootfs:
                    return other
            elif found and other.config_digest != found.config_digest:
                raise ambiguous(shown, "its index has several variants for this host")
            else:
                found = found or other
        if found is None:
            raise EngineError(
                f"{shown} is no longer the image this container was made from, or has "
                "nothing for this host",
                remedy="Create the container again.",
                code=Code.ROOTFS_MISMATCH,
            )
        return found

    def _variants(self, index: Index, top: Content) -> Iterator[Runnable]:
        """Walk what is here of an index's images for this host, in its order."""
        for descriptor in select_manifest(index, self._platform):
            try:
                content = self.content(descriptor)
            except EngineError as error:
                if error.code is Code.CONTENT_MISSING:
                    continue  # another variant, never pulled
                raise
            manifest = parse_manifest_or_index(content.raw)
            if isinstance(manifest, Manifest):  # depth one
                yield self._runnable(manifest, (content, top))

    def content(self, wanted: Descriptor) -> Content:
        """Return a manifest or index, hashed."""
        return Content(wanted.media_type, self.blob(wanted.digest, MAX_MANIFEST_BYTES))

    def blob(self, digest: Digest, max_bytes: int) -> bytes:
        """Return a blob's bytes from disk. containerd does not hash them again; we do.

        Raises:
            EngineError: Missing, too large, or other content than its name says.
        """
        path = self._blobs / digest.algorithm / digest.hex
        try:
            raw = read_file(path, max_bytes=max_bytes, follow=False)
        except EnforcerError as error:
            missing = isinstance(error, FileMissingError)
            raise EngineError(
                f"{digest.short} is not in containerd's content store: {error.what}",
                remedy="Pull or load the image again.",
                code=Code.CONTENT_MISSING if missing else error.code,
            ) from error
        if not digest.matches(raw):
            raise EngineError(
                f"{path} holds other content than its name says",
                remedy="Remove the image and load it again; suspect the disk, or "
                "somebody.",
                code=Code.CONTENT_TAMPERED,
            )
        return raw

    def stream(self, wanted: Descriptor) -> Iterator[bytes]:
        """Yield a blob from disk in parts, not hashed: who writes them down does.

        Raises:
            FileError: It is missing, or cannot be read.
        """
        path = self._blobs / wanted.digest.algorithm / wanted.digest.hex
        return read_parts(path, follow=False)

    def _runnable(self, manifest: Manifest, contents: tuple[Content, ...]) -> Runnable:
        digest = manifest.config.digest
        return Runnable(digest, self.blob(digest, MAX_CONFIG_BYTES), contents)

    def record(self, namespace: str, container: str) -> containers_pb2.Container:
        """Return containerd's record of a container, or raise EngineError."""
        request = containers_pb2.GetContainerRequest(id=container)
        what = f"container {clip(container, limit=64)}"
        found: containers_pb2.GetContainerResponse = call(
            self._containers.Get, request, within(namespace), what
        )
        return found.container

    def send_signal(self, namespace: str, container: str, number: int) -> bool:
        """Send a signal to a container; SIGKILL goes to all its processes.

        Return whether there was something to send it to.

        Raises:
            EngineError: containerd did not answer, or could not.
        """
        request = tasks_pb2.KillRequest(
            container_id=container, signal=number, all=number == signal.SIGKILL
        )
        what = f"task {clip(container, limit=64)}"
        try:
            call(self._tasks.Kill, request, within(namespace), what)
        except EngineError as error:
            if error.code is Code.NO_RECORD:
                return False
            raise
        return True


def ambiguous(shown: str, why: str) -> EngineError:
    """Make the refusal of a name that could mean two images: never a guess."""
    return EngineError(
        f"{shown} stands for more than one image: {why}",
        remedy="Ask by name@digest, or by the whole id.",
        code=Code.REFERENCE_INVALID,
    )


def parse_name(name: str) -> ImageName:
    """Read a containerd image name; without a registry it is a local one."""
    return ImageName(clip(name), parse_reference(name).repository(local=True))


def _descriptor(found: images_pb2.Descriptor) -> Descriptor:
    return Descriptor(found.media_type, Digest.parse(found.digest), found.size)


def _cri_image(record: containers_pb2.Container) -> str:
    """Return the image id CRI resolved for a container, or "" outside CRI."""
    extension = record.extensions.get(CRI_CONTAINER)
    if extension is None:
        return ""
    what = "CRI's container metadata"
    document = parse_json(extension.value, what=what, max_bytes=MAX_CONFIG_BYTES)
    members = require_object(document, what=what, known=("Metadata",))
    inner = require_object(members.get("Metadata"), what=what, known=("ImageRef",))
    return require_text(inner, "ImageRef", what=what)
