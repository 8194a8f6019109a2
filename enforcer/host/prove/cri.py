"""CRI's doors: a container in a pod on containerd's own socket, and enforcer-cri's.

Calls are written field by field (cri-api, pkg/apis/runtime/v1/api.proto), as the proxy
reads them.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from enforcer.core.errors import EnforcerError
from enforcer.hooks.cri.message import Step, values
from enforcer.host.prove.door import Door
from enforcer.host.prove.outcome import NotLiveError, SaidNoError, left
from enforcer.host.prove.remains import Remains, traces_of
from enforcer.host.prove.room import Room
from enforcer.host.prove.specimen import LABEL, Specimen, is_mark
from enforcer.host.prove.store import Store, failure, listens
from enforcer.settings import Settings
from enforcer.sources.engines.containerd import CRI_NAMESPACE
from enforcer.ttrpc import decode_fields, number
from enforcer.ttrpc import encode_fields as _fields

POLL_SECONDS = 0.1  # CRI hears of an image a little after it is there
NO_PAUSE = "failed to get sandbox image"  # containerd's words, where it is not there
NODE = 2  # NamespaceMode: the host's network, so that no CNI plug-in is needed
SLICE = "system.slice"  # a parent that a runtime with systemd's control groups takes
EXITED = 2  # ContainerState
_STATE, _EXIT_CODE = 3, 7  # of ContainerStatus

_POD = Step(1, repeated=True)  # ListPodSandboxResponse.items
_POD_ID, _POD_META, _POD_LABELS = Step(1), Step(2), Step(5, repeated=True)


@dataclass(frozen=True, slots=True)
class Handler:
    """A runtime handler that pods may ask for."""

    name: str
    runtime: str
    binary: str
    systemd: bool
    default: bool


class CriApi:
    """One CRI socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        options = [
            ("grpc.default_authority", "localhost"),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)

    def call(self, method: str, request: bytes, until: float) -> bytes:
        """Make a call of `RuntimeService/...`, `ImageService/...`; raises as `ask`."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/runtime.v1.{method}"
        )
        try:
            return call(request, timeout=left(until))
        except grpc.RpcError as error:
            raise failure(error) from error

    def handlers(self, until: float) -> tuple[Handler, ...]:
        """Return the handlers that containerd itself says CRI has; () without CRI."""
        try:
            answer = self.call("RuntimeService/Status", _fields((1, 1)), until)
        except NotLiveError:
            return ()
        try:
            info = [_entry(raw) for raw in values(answer, (Step(2, repeated=True),))]
            config = json.loads(dict(info)["config"])["containerd"]
            default = config.get("defaultRuntimeName", "")
            return tuple(
                _handler(name, found, default)
                for name, found in sorted(config["runtimes"].items())
            )
        except (EnforcerError, ValueError, LookupError, AttributeError) as error:
            raise SaidNoError(f"CRI's status cannot be read: {error}") from error

    def has_image(self, name: str, until: float) -> bool:
        """Whether CRI knows an image."""
        asked = _fields((1, _fields((1, name))))
        return bool(
            values(self.call("ImageService/ImageStatus", asked, until), (Step(1),))
        )

    def run_pod(self, pod: bytes, until: float) -> str:
        """Start a pod; return its id."""
        answer = self.call("RuntimeService/RunPodSandbox", _fields((1, pod)), until)
        return _id(answer)

    def create(
        self, pod_id: str, pod: bytes, mark: str, image: str, until: float
    ) -> str:
        """Create a container in a pod; return its id."""
        options = _fields((2, _fields((3, _fields((1, NODE))))))
        config = _fields(
            (1, _fields((1, mark))),
            (2, _fields((1, image))),
            (9, _fields((1, LABEL), (2, mark))),
            (15, options),
        )
        request = _fields((1, pod_id), (2, config), (3, pod))
        return _id(self.call("RuntimeService/CreateContainer", request, until))

    def start(self, container: str, until: float) -> str:
        """Start a container; say what happened."""
        one = _fields((1, container))
        self.call("RuntimeService/StartContainer", one, until)
        while True:  # bounded by `until`
            status = self.call("RuntimeService/ContainerStatus", one, until)
            (found,) = values(status, (Step(1),))
            read = decode_fields(found)
            if number(read, _STATE) == EXITED:
                return f"its process ran (exit status {number(read, _EXIT_CODE)})"
            time.sleep(min(POLL_SECONDS, left(until)))

    def marked_pods(self, until: float) -> Iterator[tuple[str, str]]:
        """Return id and mark of the pods that bear one, as name and as label."""
        try:
            listed = self.call("RuntimeService/ListPodSandbox", b"", until)
        except NotLiveError:
            return
        for pod in values(listed, (_POD,)):
            (id_,) = values(pod, (_POD_ID,))
            names = values(pod, (_POD_META, Step(1)))
            labels = dict(_entry(raw) for raw in values(pod, (_POD_LABELS,)))
            mark = labels.get(LABEL, "")
            if is_mark(mark) and names == (mark.encode(),):
                yield id_.decode(), mark

    def remove_pod(self, pod: str, until: float) -> None:
        """Stop a pod and all in it, and forget them."""
        one = _fields((1, pod))
        try:
            self.call("RuntimeService/StopPodSandbox", one, until)
        except (
            SaidNoError
        ):  # containerd 1.6, where a container ends by itself just then
            self.call("RuntimeService/StopPodSandbox", one, until)
        self.call("RuntimeService/RemovePodSandbox", one, until)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class CriDoors:
    """The doors of one containerd that speaks CRI, and of the proxy before it."""

    def __init__(
        self,
        settings: Settings,
        label: str,
        store: Store,
        cri: CriApi,
        handlers: Sequence[Handler],
    ) -> None:
        self._store = store
        self._cri = cri
        self._handlers = handlers
        self._proxy = settings.run_dir / "cri.sock"
        self._label = label
        self._room = Room(store, CRI_NAMESPACE)

    def doors(self) -> Iterator[Door]:
        """Return both, live or not."""
        yield Door(self._label, "cri-pod", self._pod, self._clean)
        yield Door(self._label, "cri-proxy", self._proxied, self._clean)

    def _pod(self, specimen: Specimen, until: float) -> str:
        self._require_cri()
        image = self._put(specimen, until)
        parent = SLICE if any(h.default and h.systemd for h in self._handlers) else ""
        pod = _pod_config(specimen.mark, parent)
        try:
            pod_id = self._cri.run_pod(pod, until)
        except SaidNoError as error:
            words = str(error)
            if NO_PAUSE in words and "enforcer:" not in words:
                raise NotLiveError(f"no pod can start here: {words}") from error
            raise SaidNoError(words, of_image=False) from error
        container = self._cri.create(pod_id, pod, specimen.mark, image, until)
        return self._cri.start(container, until)

    def _proxied(self, specimen: Specimen, until: float) -> str:
        """Ask for a container in a pod that is not there: the proxy looks first."""
        self._require_cri()
        if not listens(self._proxy):
            raise NotLiveError(f"nobody listens on {self._proxy}")
        image = self._put(specimen, until)
        proxy = CriApi(self._proxy)
        try:
            pod = _pod_config(specimen.mark, "")
            proxy.create(specimen.mark, pod, specimen.mark, image, until)
        except SaidNoError as error:
            if "enforcer: " in str(error):
                raise
            return f"passed on to containerd, which says: {error}"
        finally:
            proxy.close()
        return "its container was created"

    def _require_cri(self) -> None:
        if not self._handlers:
            raise NotLiveError("this containerd does not serve CRI")

    def _put(self, specimen: Specimen, until: float) -> str:
        """Bring the image in as CRI has its own; return its id."""
        image = specimen.config.digest
        self._room.put(specimen, until, specimen.full_name, image)
        while not self._cri.has_image(image, until):  # bounded by `until`
            time.sleep(min(POLL_SECONDS, left(until)))
        return image

    def _clean(self, specimen: Specimen, until: float) -> None:
        if not self._handlers:
            return
        for pod, mark in self._cri.marked_pods(until):
            if mark == specimen.mark:
                self._cri.remove_pod(pod, until)
        Remains(self._store, CRI_NAMESPACE).clean(traces_of(specimen), until)


def _pod_config(mark: str, parent: str) -> bytes:
    """Write a PodSandboxConfig on the host's network, without logs."""
    named = _fields((1, mark), (2, mark), (3, "default"))
    security = _fields((1, _fields((1, NODE))))
    linux = _fields(*([(1, parent)] if parent else []), (2, security))
    return _fields((1, named), (6, _fields((1, LABEL), (2, mark))), (8, linux))


def _handler(name: str, found: dict[str, object], default: str) -> Handler:
    options = found.get("options")
    known = options if isinstance(options, dict) else {}
    return Handler(
        name,
        str(found.get("runtimeType") or ""),
        str(known.get("BinaryName") or ""),
        systemd=bool(known.get("SystemdCgroup")),
        default=name == default,
    )


def _entry(raw: bytes) -> tuple[str, str]:
    """Read an entry of a map of texts."""
    key, value = (values(raw, (Step(n),)) or (b"",) for n in (1, 2))
    return key[0].decode(), value[0].decode()


def _id(answer: bytes) -> str:
    (raw,) = values(answer, (Step(1),)) or (b"",)
    return raw.decode()
