"""What Docker keeps of a load that was broken off: content or a snapshot, on a lease.

dockerd forgets that lease, for a day, in its containerd. One of ours is known by what
is in the content, or by the chain id of an image of ours, and goes.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.host.prove.specimen import mark_inside
from enforcer.host.prove.store import Store, ask
from enforcer.sources.engines.calls import within
from enforcer.sources.engines.docker import NAMESPACE
from enforcer.sources.engines.pb import leases_pb2

MAX_BLOB_BYTES = 64 * 1024  # ours are smaller
MAX_BLOBS = 8  # and fewer: a layer, a configuration, a manifest, an index
CONTENT, SNAPSHOTS = "content", "snapshots/"


def interrupted_loads(
    store: Store, chains: Collection[str], until: float
) -> Iterator[tuple[str, str]]:
    """Return a name and the lease of each load of ours that dockerd did not end.

    `chains` are the chain ids of the images of ours that are still there.
    """
    here = within(NAMESPACE)
    listed = ask(store.leases.List, leases_pb2.ListRequest(), until, here)
    for lease in listed.leases:
        request = leases_pb2.ListResourcesRequest(id=lease.id)
        held = ask(store.leases.ListResources, request, until, here).resources
        digests = [one.id for one in held if one.type == CONTENT]
        # A snapshot is named by its chain id, alone or behind a key of its unpacking.
        snapshots = {
            one.id.rpartition(" ")[2] for one in held if one.type.startswith(SNAPSHOTS)
        }
        marks = {_mark(store, digest) for digest in digests[: MAX_BLOBS + 1]} - {""}
        loaded = len(marks) == 1 and len(digests) <= MAX_BLOBS
        if loaded or (not digests and snapshots and snapshots <= set(chains)):
            yield marks.pop() if marks else lease.id, lease.id


def forget_load(store: Store, lease: str, until: float) -> None:
    """Remove a lease of Docker's, and what only that kept."""
    request = leases_pb2.DeleteRequest(id=lease, sync=True)
    ask(store.leases.Delete, request, until, within(NAMESPACE))


def _mark(store: Store, digest: str) -> str:
    with suppress(EnforcerError):
        return mark_inside(store.blob(Digest.parse(digest), MAX_BLOB_BYTES))
    return ""
