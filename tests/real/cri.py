"""As much of a kubelet as starts pods: CRI calls written field by field.

Field numbers are those of cri-api's runtime/v1/api.proto; the handful of messages
used here is not worth a generated copy of it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from enforcer.ttrpc import decode_fields, encode_fields, octets, text
from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.enforced import EnforcedHost
from tests.engines.images import describe
from tests.engines.path import Release
from tests.engines.process import wait_until
from tests.engines.service import Service
from tests.real.stage import Image, Stage, containerd_stage

CALL_SECONDS = 30
STREAM_SECONDS = 180
NAMESPACE = "k8s.io"
_NODE = 2  # NamespaceMode: the host's network, so that no CNI is needed


class CriError(Exception):
    """The runtime said no; the text is what kubelet would put into an event."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__(str(error))
        self.code: str = error.code().name
        self.text: str = error.details() or ""


class Cri:
    """A client of one containerd's CRI socket."""

    def __init__(self, socket: Path, logs: Path) -> None:
        options = [
            ("grpc.default_authority", "localhost"),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
            ("grpc.max_reconnect_backoff_ms", 250),
        ]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)
        self.logs = logs

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def has_image(self, name: str) -> bool:
        """Whether CRI knows an image; it hears of imported ones a little later."""
        return bool(self.image_id(name))

    def image_id(self, name: str) -> str:
        """What CRI takes a name for; "" where it knows none."""
        asked = encode_fields((1, encode_fields((1, name))))  # ImageSpec
        answer = self.call("ImageService/ImageStatus", asked)
        return text(decode_fields(octets(decode_fields(answer), 1)), 1)

    def pull(self, name: str) -> str:
        """Pull an image; return its id."""
        asked = encode_fields((1, encode_fields((1, name))))
        return text(decode_fields(self.call("ImageService/PullImage", asked)), 1)

    def run_pod(self, name: str) -> str:
        """Start a pod's pause container; return the pod's id."""
        answer = self.call(
            "RuntimeService/RunPodSandbox", encode_fields((1, self.pod(name)))
        )
        return text(decode_fields(answer), 1)

    def create(
        self,
        pod: str,
        name: str,
        image: str,
        *,
        called: str = "",
        command: Sequence[str] = (),
        mounts: Sequence[str] = (),
    ) -> str:
        """Create a container in a pod; `called` is what the user typed.

        Of `mounts` each is an image, mounted at /mnt/0, /mnt/1 and so on.
        """
        spec = encode_fields((1, image), (18, called))
        request = self.creation(pod, name, spec, command=command, mounts=mounts)
        answer = self.call("RuntimeService/CreateContainer", request)
        return text(decode_fields(answer), 1)

    def creation(
        self,
        pod: str,
        name: str,
        spec: bytes,
        *,
        command: Sequence[str] = (),
        mounts: Sequence[str] = (),
    ) -> bytes:
        """Write a CreateContainerRequest around any ImageSpec."""
        options = encode_fields((2, encode_fields((3, encode_fields((1, _NODE))))))
        volumes = (
            encode_fields((1, f"/mnt/{n}"), (3, 1), (9, encode_fields((1, image))))
            for n, image in enumerate(mounts)
        )
        config = encode_fields(
            (1, encode_fields((1, name))),
            (2, spec),
            *((3, word) for word in command),
            *((7, volume) for volume in volumes),
            (11, f"{name}.log"),
            (15, options),
        )
        return encode_fields((1, pod), (2, config), (3, self.pod(pod)))

    def start(self, container: str) -> None:
        """Start a created container, or raise CriError."""
        self.call("RuntimeService/StartContainer", encode_fields((1, container)))

    def remove(self, container: str) -> None:
        """Remove a container that does not run."""
        self.call("RuntimeService/RemoveContainer", encode_fields((1, container)))

    def output(self, name: str) -> str:
        """Everything a container of this name logged."""
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def remove_pod(self, pod: str) -> None:
        """Stop a pod and all its containers, and forget them."""
        asked = encode_fields((1, pod))
        try:
            self.call("RuntimeService/StopPodSandbox", asked)
        except CriError:  # containerd 1.6, where a container ends by itself just then
            self.call("RuntimeService/StopPodSandbox", asked)
        self.call("RuntimeService/RemovePodSandbox", asked)

    def pod(self, name: str) -> bytes:
        """Write a PodSandboxConfig on the host's network."""
        named = encode_fields((1, name), (2, f"{name}-uid"), (3, "default"))
        security = encode_fields((2, encode_fields((1, encode_fields((1, _NODE))))))
        return encode_fields((1, named), (3, str(self.logs)), (8, security))

    def call(
        self, method: str, request: bytes, *, seconds: float = CALL_SECONDS
    ) -> bytes:
        """Make a call of `RuntimeService/...` or `ImageService/...`, in bytes."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/runtime.v1.{method}"
        )
        try:
            return call(request, timeout=seconds)
        except grpc.RpcError as error:
            raise CriError(error) from error

    def stream(self, method: str, request: bytes) -> Iterator[bytes]:
        """Make a call whose answers come one after the other, until it is closed."""
        start: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(
            f"/runtime.v1.{method}"
        )
        call = start(request, timeout=STREAM_SECONDS)
        try:
            yield from call
        finally:
            call.cancel()


class CriProxy(Service):
    """A host's enforcer-cri; `socket` is what kubelet would be pointed at."""

    def __init__(self, host: EnforcedHost) -> None:
        super().__init__(
            "enforcer-cri.service",
            "enforcer.hooks.cri",
            host.folders,
            host.home / "enforcer-cri.log",
            writable=(host.run, host.state / "log"),
        )
        self.socket = host.run / "cri.sock"

    def open(self) -> None:
        """Start it and wait until it serves."""
        self.serve({self.socket: (0o600, 0)})


class Node:
    """A containerd with enforcer and its proxy, and a kubelet on either way to it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.proxy = CriProxy(stage.host)
        logs = stage.host.home / "pods"
        logs.mkdir()
        self.direct = Cri(stage.containerd.socket, logs)
        self.proxied = Cri(self.proxy.socket, logs)

    def image(
        self, word: str, *, name: str | None = None, cmd: Sequence[str] | None = None
    ) -> Image:
        """Make an image that CRI knows of."""
        image = self.stage.image(word, name=name, cmd=cmd, namespace=NAMESPACE)
        config = describe(image.layout).config
        wait_until(lambda: self.direct.image_id(image.full) == config, "CRI has it")
        return image

    @contextlib.contextmanager
    def pod(self) -> Iterator[str]:
        """Run a pod, and remove it with all that is in it."""
        pod = self.proxied.run_pod(self.stage.name("pod"))
        try:
            yield pod
        finally:
            self.direct.remove_pod(pod)


@contextlib.contextmanager
def running_node(release: Release) -> Iterator[Node]:
    """Run a node whose pause image is signed."""
    with containerd_stage(release, cri=True) as stage:
        node = Node(stage)
        node.proxy.open()
        try:
            sleep = ("/bin/sleep", "36000")  # pods wait while other tests are alone
            stage.sign(node.image("pause", name=SANDBOX_IMAGE, cmd=sleep))
            yield node
        finally:
            for client in (node.direct, node.proxied):
                client.close()
            node.proxy.stop()
