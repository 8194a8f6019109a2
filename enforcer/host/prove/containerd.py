"""containerd's doors: a task in a namespace of ours, in CRI's, and by each handler."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Manifest,
    parse_manifest_or_index,
)
from enforcer.host.prove.cri import CriApi, CriDoors, Handler
from enforcer.host.prove.door import Door, Leftovers
from enforcer.host.prove.outcome import NotLiveError, SaidNoError
from enforcer.host.prove.pull import PullDoors
from enforcer.host.prove.remains import (
    Remains,
    Traces,
    clean_namespace,
    remove_empty,
    traces_of,
)
from enforcer.host.prove.room import RUNC, Room
from enforcer.host.prove.specimen import Specimen, is_mark, layers_of_marked, mark_in
from enforcer.host.prove.store import Store, listens
from enforcer.settings import EngineSettings, Settings
from enforcer.sources.engines.containerd import CRI_NAMESPACE

# How Go's exec says that there is no such program in any folder of PATH.
NO_RUNC = 'exec: "runc": executable file not found in $PATH'


class ContainerdEngine:
    """One containerd that answers, and its doors."""

    def __init__(
        self, settings: Settings, engine: EngineSettings, label: str, until: float
    ) -> None:
        """Ask it what it has; raises as a door's attempt."""
        self.label = label
        if not listens(engine.socket):
            raise NotLiveError(f"no containerd answers on {engine.socket}")
        self._settings = settings
        self._store = Store(engine)
        self._cri = CriApi(engine.socket)
        namespaces = self._store.namespaces_by_mark(until)
        self._handlers = self._cri.handlers(until)
        self._has_k8s = bool(self._handlers) or CRI_NAMESPACE in namespaces

    def doors(self) -> Iterator[Door]:
        """Return every door, live or not."""
        yield self._own("containerd-task", self._task)
        yield Door(self.label, "containerd-k8s", self._k8s, self._clean_k8s)
        for handler in self._handlers:
            name = f"containerd-handler:{handler.name}"
            yield self._own(name, self._by_handler(handler))
        parts = (self.label, self._store, self._cri, self._handlers)
        yield from PullDoors(*parts).doors()
        yield from CriDoors(self._settings, *parts).doors()

    def leftovers(self, until: float) -> Iterator[Leftovers]:
        """Return what earlier runs left here."""
        return leftovers(self._store, self._cri, until)

    def probe(self, until: float) -> None:
        """Return if it answers at all."""
        self._store.namespaces_by_mark(until)

    def close(self) -> None:
        """Hang up."""
        self._store.close()
        self._cri.close()

    def _own(self, name: str, attempt: Callable[[Room, Specimen, float], str]) -> Door:
        """Make a door that is tried in a namespace of its own."""

        def tried(specimen: Specimen, until: float) -> str:
            self._store.make_namespace(specimen.mark, until)
            room = Room(self._store, specimen.mark)
            return attempt(room, specimen, until)

        def cleaned(specimen: Specimen, until: float) -> None:
            clean_namespace(self._store, specimen.mark, until)

        return Door(self.label, name, tried, cleaned)

    def _task(self, room: Room, specimen: Specimen, until: float) -> str:
        room.put(specimen, until)
        try:
            return room.start(specimen, until)
        except SaidNoError as error:
            if NO_RUNC in str(error) and any(h.binary for h in self._handlers):
                raise NotLiveError("no runc in its PATH; CRI names its own") from error
            raise

    def _k8s(self, specimen: Specimen, until: float) -> str:
        if not self._has_k8s:
            raise NotLiveError(f"it has no namespace {CRI_NAMESPACE}")
        return self._task(Room(self._store, CRI_NAMESPACE), specimen, until)

    def _clean_k8s(self, specimen: Specimen, until: float) -> None:
        if self._has_k8s:
            Remains(self._store, CRI_NAMESPACE).clean(traces_of(specimen), until)

    def _by_handler(self, handler: Handler) -> Callable[[Room, Specimen, float], str]:
        def attempt(room: Room, specimen: Specimen, until: float) -> str:
            room.put(specimen, until)
            binary = handler.binary if handler.runtime == RUNC else ""
            return room.start(specimen, until, runtime=handler.runtime, binary=binary)

        return attempt


def leftovers(store: Store, cri: CriApi, until: float) -> Iterator[Leftovers]:
    """Return what earlier runs left in a containerd."""
    namespaces = store.namespaces_by_mark(until)
    for name, mark in namespaces.items():
        if is_mark(name) and mark == name:
            yield Leftovers(mark, partial(clean_namespace, store, mark, until))
    for folder in store.empty_folders(namespaces):
        yield Leftovers(folder.name, partial(remove_empty, folder))
    for pod, mark in cri.marked_pods(until):
        yield Leftovers(mark, partial(cri.remove_pod, pod, until))
    if CRI_NAMESPACE not in namespaces:
        return
    remains = Remains(store, CRI_NAMESPACE)
    for traces in _marked(store, remains, until):
        yield Leftovers(traces.mark, partial(remains.clean, traces, until))


def _marked(store: Store, remains: Remains, until: float) -> Iterable[Traces]:
    """Return the images of ours in a namespace; a lease is left where none is yet."""
    found = {mark: Traces(mark) for mark in remains.leased(until) if is_mark(mark)}
    for name, digest in remains.images(until):
        traces = _read(store, mark_in(name), digest)
        if traces:
            found[traces.mark] = traces
    return found.values()


def _read(store: Store, mark: str, digest: str) -> Traces | None:
    """Return the traces of an image that is named by a mark, if it also bears it."""
    if not mark:
        return None
    with suppress(EnforcerError):
        raw = store.blob(Digest.parse(digest), MAX_MANIFEST_BYTES)
        manifest = parse_manifest_or_index(raw)
        if isinstance(manifest, Manifest):
            config = str(manifest.config.digest)
            made = store.blob(manifest.config.digest, MAX_CONFIG_BYTES)
            layers = layers_of_marked(mark, raw, made)
            return Traces(mark, (digest, config, *layers)) if layers else None
    return None
