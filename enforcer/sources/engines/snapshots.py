"""containerd's snapshots: which one a mounted overlay is, and what it stands on."""

from itertools import islice
from pathlib import Path

import grpc

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.ports import EngineError
from enforcer.sources.engines.calls import CALL_SECONDS, call, failure, within
from enforcer.sources.engines.mount_table import OverlayMount, overlay_of
from enforcer.sources.engines.pb import snapshots_pb2, snapshots_pb2_grpc

MAX_SNAPSHOTS = 4096  # looked at for one mount; each takes a fraction of a millisecond


class Snapshots:
    """The snapshots of one containerd."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = snapshots_pb2_grpc.SnapshotsStub(channel)

    def mounted_chain(
        self, namespace: str, snapshotter: str, point: str, overlay: OverlayMount
    ) -> Digest | None:
        """Return the chain id below the snapshot that is mounted as this overlay.

        No call finds a snapshot by its folder, so all are asked for their mounts.
        Docker and CRI call one after its mount point: those come first.
        """
        keys = self._keys(namespace, snapshotter)
        for key in sorted(keys, key=lambda key: not point.endswith(key)):
            try:
                found = self.is_mount_of(namespace, snapshotter, key, overlay)
            except EngineError as error:
                if error.code is Code.NO_RECORD:
                    continue  # its container ended meanwhile
                raise
            if found:
                return self.chain_id(namespace, snapshotter, key)
        return None

    def _keys(self, namespace: str, snapshotter: str) -> list[str]:
        request = snapshots_pb2.ListSnapshotsRequest(
            snapshotter=snapshotter, filters=["kind==active", "kind==view"]
        )
        try:
            pages = self._stub.List(
                request, metadata=within(namespace), timeout=CALL_SECONDS
            )
            infos = (info for page in pages for info in page.info)
            return [info.name for info in islice(infos, MAX_SNAPSHOTS)]
        except grpc.RpcError as error:
            raise failure(error, "its snapshots") from error

    def is_mount_of(
        self, namespace: str, snapshotter: str, key: str, actual: OverlayMount
    ) -> bool:
        """Whether a snapshot is what is mounted as this overlay."""
        request = snapshots_pb2.MountsRequest(snapshotter=snapshotter, key=key)
        what = f"snapshot of {clip(key)}"
        found = call(self._stub.Mounts, request, within(namespace), what)
        expected = [
            overlay_of(list(mount.options))
            for mount in found.mounts
            if mount.type == "overlay"
        ]
        return len(expected) == 1 and _same(expected[0], actual)

    def chain_id(self, namespace: str, snapshotter: str, key: str) -> Digest:
        """Return the committed parent; Docker puts one `-init` snapshot between."""
        parent = key
        for expected in (key, f"{key}-init"):
            if parent != expected:
                break
            request = snapshots_pb2.StatSnapshotRequest(
                snapshotter=snapshotter, key=parent
            )
            what = f"snapshot {clip(parent)}"
            parent = call(self._stub.Stat, request, within(namespace), what).info.parent
        return Digest.parse(parent)


def _same(expected: OverlayMount, actual: OverlayMount) -> bool:
    """Same layers and same place for changes; short names stand under one folder."""
    base = Path(expected.upper).parent.parent  # <root>/snapshots/N/fs
    resolved = expected.resolved_under(base)
    return bool(expected.upper) and resolved == actual.resolved_under(base)
