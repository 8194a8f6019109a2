"""What prove made in a containerd, found again and removed."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from enforcer.host.prove.outcome import SaidNoError
from enforcer.host.prove.room import SNAPSHOTTER
from enforcer.host.prove.specimen import LABEL, Specimen
from enforcer.host.prove.store import Store, ask, ask_all
from enforcer.sources.engines.calls import within
from enforcer.sources.engines.pb import (
    containers_pb2,
    content_pb2,
    images_pb2,
    leases_pb2,
    snapshots_pb2,
    tasks_pb2,
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class Traces:
    """What to look for when removing: a mark, and the digests of an image.

    `digests`: its manifest's, its configuration's, its layers'. None of an image that
    is not known any more.
    """

    mark: str
    digests: tuple[str, ...] = ()


def traces_of(specimen: Specimen) -> Traces:
    """Return what a specimen may have left."""
    listed = (specimen.manifest, specimen.config, specimen.layer)
    return Traces(specimen.mark, tuple(blob.digest for blob in listed))


class Remains:
    """What is ours in a namespace. In our `own`, everything is."""

    def __init__(self, store: Store, namespace: str, *, own: bool = False) -> None:
        self._store = store
        self.namespace = namespace
        self.own = own

    def images(self, until: float) -> Iterator[tuple[str, str]]:
        """Return name and target digest of every image."""
        request = images_pb2.ListImagesRequest()
        for image in self._ask(self._store.images.List, request, until).images:
            yield image.name, image.target.digest

    def leased(self, until: float) -> set[str]:
        """Return the marks that leases here bear, as name and as label."""
        request = leases_pb2.ListRequest()
        listed = self._ask(self._store.leases.List, request, until).leases
        return {one.id for one in listed if one.labels.get(LABEL) == one.id}

    def clean(self, traces: Traces, until: float) -> None:
        """Remove all that bears a mark, and this content; in our own, everything.

        Raises:
            SaidNoError: Something stays.
        """
        store = self._store
        for id_ in self._containers(traces, until):
            self._end(id_, until)
            one = containers_pb2.DeleteContainerRequest(id=id_)
            self._drop(store.containers.Delete, one, until)
        for name in self._names(traces, until):
            image = images_pb2.DeleteImageRequest(name=name)
            self._drop(store.images.Delete, image, until)
        for key in self._snapshots(traces, until):
            snapshot = snapshots_pb2.RemoveSnapshotRequest(
                snapshotter=SNAPSHOTTER, key=key
            )
            self._drop(store.snapshots.Remove, snapshot, until)
        for digest in self._contents(traces, until):
            content = content_pb2.DeleteContentRequest(digest=digest)
            self._drop(store.content.Delete, content, until)
        # In step with containerd's own cleaning: then the files are gone, too.
        lease = leases_pb2.DeleteRequest(id=traces.mark, sync=True)
        self._drop(store.leases.Delete, lease, until)
        self._check(traces, until)

    def _check(self, traces: Traces, until: float) -> None:
        stays = [
            *self._containers(traces, until),
            *self._names(traces, until),
            *self._snapshots(traces, until),
            *self._contents(traces, until),
            *(self.leased(until) & {traces.mark}),
        ]
        if stays:
            raise SaidNoError(f"containerd keeps {', '.join(stays)}")

    def _end(self, id_: str, until: float) -> None:
        """End a container's process, if it has one."""
        tasks = self._store.tasks
        kill = tasks_pb2.KillRequest(container_id=id_, signal=signal.SIGKILL, all=True)
        self._drop(tasks.Kill, kill, until)
        self._drop(tasks.Wait, tasks_pb2.WaitRequest(container_id=id_), until)
        self._drop(tasks.Delete, tasks_pb2.DeleteTaskRequest(container_id=id_), until)

    def _containers(self, traces: Traces, until: float) -> list[str]:
        request = containers_pb2.ListContainersRequest(filters=self._filters(traces))
        listed = self._ask(self._store.containers.List, request, until)
        return [one.id for one in listed.containers]

    def _names(self, traces: Traces, until: float) -> list[str]:
        """Return the images of the traces' content, whoever gave it a name."""
        named = traces.digests[:1]
        return [n for n, digest in self.images(until) if self.own or digest in named]

    def _snapshots(self, traces: Traces, until: float) -> list[str]:
        """Return ours; what stands on another comes first. A pull labels nothing."""
        request = snapshots_pb2.ListSnapshotsRequest(
            snapshotter=SNAPSHOTTER, filters=self._filters(traces)
        )
        names = [f"name=={digest}" for digest in traces.digests[2:]]
        request.filters.extend(names if request.filters else ())
        listed = ask_all(self._store.snapshots.List, request, until, self.namespace)
        return [one.name for one in sorted(listed, key=lambda one: not one.parent)]

    def _contents(self, traces: Traces, until: float) -> list[str]:
        request = content_pb2.ListContentRequest(filters=self._filters(traces))
        digests = [f"digest=={digest}" for digest in traces.digests]
        request.filters.extend(digests if request.filters else ())
        listed = ask_all(self._store.content.List, request, until, self.namespace)
        return [one.digest for one in listed]

    def _filters(self, traces: Traces) -> Sequence[str]:
        return () if self.own else (f'labels."{LABEL}"=={traces.mark}',)

    def _drop(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        until: float,
    ) -> None:
        """Remove what may be gone already; what stays is seen at the end."""
        with suppress(SaidNoError):
            self._ask(method, request, until)

    def _ask(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        until: float,
    ) -> _Response:
        return ask(method, request, until, within(self.namespace))


def clean_namespace(store: Store, mark: str, until: float) -> None:
    """Remove a namespace of ours with all that is in it, and the folders it had."""
    namespaces = store.namespaces_by_mark(until)
    if mark in namespaces:
        Remains(store, mark, own=True).clean(Traces(mark), until)
        store.remove_namespace(mark, until)
    for folder in store.empty_folders(namespaces.keys() - {mark}):
        remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder, if nothing is in it."""
    with suppress(OSError):
        folder.rmdir()
