"""containerd's own API, for writing: one connection, every call bounded.

Not `ctr`: that is not beside every containerd, is no stable interface, and a child
would go on when we are killed.
"""

import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import grpc

from enforcer.core.digest import Digest
from enforcer.host.prove.outcome import HungError, NotLiveError, SaidNoError, left
from enforcer.host.prove.specimen import LABEL, is_mark
from enforcer.settings import EngineSettings
from enforcer.sources.engines.calls import Metadata, within
from enforcer.sources.engines.containerd import (
    MAX_METADATA_BYTES,
    TASKS,
    Containerd,
)
from enforcer.sources.engines.host import host_platform
from enforcer.sources.engines.pb import (
    containers_pb2_grpc,
    content_pb2_grpc,
    diff_pb2_grpc,
    images_pb2_grpc,
    leases_pb2_grpc,
    namespaces_pb2,
    namespaces_pb2_grpc,
    snapshots_pb2_grpc,
    tasks_pb2_grpc,
    transfer_pb2_grpc,
)

CONNECT_SECONDS = 2.0
RUNC_ROOT = Path("/run/containerd/runc")  # its state, whatever the engine
CGROUPS = Path("/sys/fs/cgroup")

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Listed = TypeVar("_Listed", covariant=True)


class _Page(Protocol[_Listed]):
    """One answer of a listing that comes in several."""

    @property
    def info(self) -> Iterable[_Listed]: ...


class Store:
    """The services of one containerd."""

    def __init__(self, engine: EngineSettings) -> None:
        self.engine = engine
        self.channel = grpc.insecure_channel(
            f"unix:{engine.socket}",
            options=[
                ("grpc.default_authority", "localhost"),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ],
        )
        self.namespaces = namespaces_pb2_grpc.NamespacesStub(self.channel)
        self.leases = leases_pb2_grpc.LeasesStub(self.channel)
        self.content = content_pb2_grpc.ContentStub(self.channel)
        self.images = images_pb2_grpc.ImagesStub(self.channel)
        self.snapshots = snapshots_pb2_grpc.SnapshotsStub(self.channel)
        self.diff = diff_pb2_grpc.DiffStub(self.channel)
        self.containers = containers_pb2_grpc.ContainersStub(self.channel)
        self.tasks = tasks_pb2_grpc.TasksStub(self.channel)
        self.transfer = transfer_pb2_grpc.TransferStub(self.channel)

    def blob(self, digest: Digest, max_bytes: int) -> bytes:
        """Return content of whatever namespace, hashed; raises EnforcerError."""
        engine = self.engine
        return Containerd(
            socket=engine.socket,
            root=engine.root,
            state=engine.state,
            platform=host_platform(),
        ).blob(digest, max_bytes)

    def namespaces_by_mark(self, until: float) -> dict[str, str]:
        """Return each namespace with the mark it bears, or ""."""
        listed = ask(
            self.namespaces.List, namespaces_pb2.ListNamespacesRequest(), until
        )
        return {one.name: one.labels.get(LABEL, "") for one in listed.namespaces}

    def make_namespace(self, mark: str, until: float) -> None:
        """Make a namespace of our own, named by the mark."""
        made = namespaces_pb2.Namespace(name=mark, labels={LABEL: mark})
        request = namespaces_pb2.CreateNamespaceRequest(namespace=made)
        ask(self.namespaces.Create, request, until, within(mark))  # 1.6 wants it twice

    def remove_namespace(self, mark: str, until: float) -> None:
        """Remove our own namespace; `empty_folders` stay.

        Raises:
            SaidNoError: It stays.
        """
        request = namespaces_pb2.DeleteNamespaceRequest(name=mark)
        with suppress(SaidNoError):
            ask(self.namespaces.Delete, request, until, within(mark))
        if mark in self.namespaces_by_mark(until):
            raise SaidNoError(f"containerd keeps the namespace {mark}")

    def empty_folders(self, but: Collection[str]) -> Iterator[Path]:
        """Return the folders that stay of namespaces of ours, `but` for those there.

        And the control groups of ours, in each hierarchy or the one.
        """
        root, state = self.engine.root, self.engine.state
        places = (state / TASKS, root / TASKS, RUNC_ROOT, CGROUPS, *CGROUPS.glob("*"))
        for place in places:
            for folder in place.glob("*"):
                if is_mark(folder.name) and folder.name not in but:
                    yield folder

    def close(self) -> None:
        """Hang up."""
        self.channel.close()


def listens(path: Path) -> bool:
    """Whether somebody listens at this path; somebody who hangs does, too."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect(str(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def ask(
    method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
    request: _Request,
    until: float,
    metadata: Metadata = (),
) -> _Response:
    """Make a call, until a time.monotonic().

    Raises:
        NotLiveError: There is no such service.
        SaidNoError: containerd's own words for why not.
        HungError: No answer in time.
    """
    try:
        return method(request, metadata=metadata, timeout=left(until))
    except grpc.RpcError as error:
        raise failure(error) from error


def ask_all(
    method: "grpc.UnaryStreamMultiCallable[_Request, _Page[_Listed]]",
    request: _Request,
    until: float,
    namespace: str,
) -> Iterator[_Listed]:
    """Return every entry of a listing; raises as `ask`."""
    try:
        pages = method(request, metadata=within(namespace), timeout=left(until))
        for page in pages:  # bounded by its timeout
            yield from page.info
    except grpc.RpcError as error:
        raise failure(error) from error


def failure(error: grpc.RpcError) -> Exception:
    """Say of gRPC's failures what ours say."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return HungError("containerd had no answer in time")
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return NotLiveError("this containerd has no such service")
    return SaidNoError(error.details() or error.code().name)
