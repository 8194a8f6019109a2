"""One namespace of a containerd, and what is made in it: an image, a container.

What we make is on a lease that ends by itself, so that what a killed run left falls to
containerd's own cleaning, too.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any

from enforcer.host.prove.outcome import SaidNoError, left
from enforcer.host.prove.specimen import LABEL, PROGRAM, Blob, Specimen
from enforcer.host.prove.store import Store, ask, failure
from enforcer.sources.engines.calls import within
from enforcer.sources.engines.pb import (
    containers_pb2,
    content_pb2,
    diff_pb2,
    images_pb2,
    leases_pb2,
    snapshots_pb2,
    tasks_pb2,
)
from enforcer.ttrpc import encode_fields

SNAPSHOTTER = "overlayfs"
RUNC = "io.containerd.runc.v2"
LEASE = timedelta(minutes=15)  # a run takes a minute
EXPIRES = "containerd.io/gc.expire"
MANAGED = {"io.cri-containerd.image": "managed"}  # else CRI makes a record of its own
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_OPTIONS, _BINARY_NAME = "containerd.runc.v1.Options", 6

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Room:
    """A namespace to start things in."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self.namespace = namespace

    def put(self, specimen: Specimen, until: float, *names: str) -> None:
        """Bring the image in under these names, unpacked, as a pull would."""
        labels = {EXPIRES: _soon(), LABEL: specimen.mark}
        lease = leases_pb2.CreateRequest(id=specimen.mark, labels=labels)
        self._ask(self._store.leases.Create, lease, until)
        for blob in specimen.blobs:
            self._write(specimen, blob, until)
        for name in names or (specimen.full_name,):
            image = images_pb2.Image(
                name=name,
                labels={LABEL: specimen.mark, **MANAGED},
                target=_descriptor(specimen.manifest),
            )
            made = images_pb2.CreateImageRequest(image=image)
            self._ask(self._store.images.Create, made, until, specimen)
        self._unpack(specimen, until)

    def start(
        self, specimen: Specimen, until: float, *, runtime: str = RUNC, binary: str = ""
    ) -> str:
        """Make a container of the image and start it; say what happened.

        `binary` is what the runtime is told to call instead of the `runc` in its PATH.
        """
        id_ = specimen.mark
        self._container(specimen, runtime, binary, until)
        key = snapshots_pb2.MountsRequest(snapshotter=SNAPSHOTTER, key=id_)
        rootfs = self._ask(self._store.snapshots.Mounts, key, until).mounts
        task = tasks_pb2.CreateTaskRequest(container_id=id_, rootfs=rootfs)
        self._ask(self._store.tasks.Create, task, until)
        try:
            start = tasks_pb2.StartRequest(container_id=id_)
            self._ask(self._store.tasks.Start, start, until)
            wait = tasks_pb2.WaitRequest(container_id=id_)
            ended = self._ask(self._store.tasks.Wait, wait, until)
        except SaidNoError as error:
            return f"its process was created (and not started: {error})"
        return f"its process ran (exit status {ended.exit_status})"

    def _container(
        self, specimen: Specimen, runtime: str, binary: str, until: float
    ) -> None:
        labels = {LABEL: specimen.mark}
        snapshot = snapshots_pb2.PrepareSnapshotRequest(
            snapshotter=SNAPSHOTTER,
            key=specimen.mark,
            parent=specimen.chain_id,
            labels=labels,
        )
        self._ask(self._store.snapshots.Prepare, snapshot, until, specimen)
        raw = encode_fields((_BINARY_NAME, binary))
        options = Any(type_url=_OPTIONS, value=raw) if binary else None
        made = containers_pb2.Container(
            id=specimen.mark,
            labels=labels,
            image=specimen.full_name,
            runtime=containers_pb2.Container.Runtime(name=runtime, options=options),
            spec=Any(type_url=_SPEC, value=_spec(specimen)),
            snapshotter=SNAPSHOTTER,
            snapshot_key=specimen.mark,
        )
        request = containers_pb2.CreateContainerRequest(container=made)
        self._ask(self._store.containers.Create, request, until)

    def _write(self, specimen: Specimen, blob: Blob, until: float) -> None:
        """Write a blob in one message: it is there whole, or not at all."""
        request = content_pb2.WriteContentRequest(
            action=content_pb2.COMMIT,
            ref=f"{specimen.mark}-{blob.digest}",
            total=len(blob.raw),
            expected=blob.digest,
            data=blob.raw,
            labels={LABEL: specimen.mark},
        )
        try:
            answers = self._store.content.Write(
                iter([request]),
                metadata=_leased(self.namespace, specimen),
                timeout=left(until),
            )
            for _ in answers:
                pass
        except grpc.RpcError as error:
            raise failure(error) from error

    def _unpack(self, specimen: Specimen, until: float) -> None:
        key, labels = f"{specimen.mark}-unpack", {LABEL: specimen.mark}
        store = self._store
        prepare = snapshots_pb2.PrepareSnapshotRequest(
            snapshotter=SNAPSHOTTER, key=key, labels=labels
        )
        mounts = self._ask(store.snapshots.Prepare, prepare, until, specimen).mounts
        apply = diff_pb2.ApplyRequest(diff=_descriptor(specimen.layer), mounts=mounts)
        self._ask(store.diff.Apply, apply, until, specimen)
        commit = snapshots_pb2.CommitSnapshotRequest(
            snapshotter=SNAPSHOTTER, name=specimen.chain_id, key=key, labels=labels
        )
        self._ask(store.snapshots.Commit, commit, until, specimen)

    def _ask(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        until: float,
        specimen: Specimen | None = None,
    ) -> _Response:
        here = within(self.namespace)
        return ask(
            method,
            request,
            until,
            _leased(self.namespace, specimen) if specimen else here,
        )


def _leased(namespace: str, specimen: Specimen) -> tuple[tuple[str, str], ...]:
    return (*within(namespace), ("containerd-lease", specimen.mark))


def _descriptor(blob: Blob) -> images_pb2.Descriptor:
    return images_pb2.Descriptor(
        media_type=blob.media_type, digest=blob.digest, size=len(blob.raw)
    )


def _soon() -> str:
    return (datetime.now(UTC) + LEASE).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spec(specimen: Specimen) -> bytes:
    """Write the least that runc takes (runtime-spec, config.md)."""
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [PROGRAM],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": f"/{specimen.mark}",
            "namespaces": [
                {"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")
            ],
        },
    }
    return json.dumps(spec).encode()
