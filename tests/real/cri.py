"""As much of a kubelet as starts pods: CRI calls written field by field.

Field numbers are those of cri-api's runtime/v1/api.proto; the handful of messages
used here is not worth a generated copy of it.
"""

from pathlib import Path

import grpc

from enforcer.ttrpc import decode_fields, encode_fields, text

CALL_SECONDS = 30
_NODE = 2  # NamespaceMode: the host's network, so that no CNI is needed


class CriError(Exception):
    """The runtime said no; the text is what kubelet would put into an event."""


class Cri:
    """A client of one containerd's CRI socket."""

    def __init__(self, socket: Path, logs: Path) -> None:
        self._channel = grpc.insecure_channel(
            f"unix:{socket}", options=[("grpc.default_authority", "localhost")]
        )
        self._logs = logs

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def has_image(self, name: str) -> bool:
        """Whether CRI knows an image; it hears of imported ones a little later."""
        asked = encode_fields((1, encode_fields((1, name))))  # ImageSpec
        answer = self._call("ImageService/ImageStatus", asked)
        return 1 in decode_fields(answer)

    def pull(self, name: str) -> None:
        """Fetch an image, or raise CriError, which shows the name it would have."""
        self._call(
            "ImageService/PullImage", encode_fields((1, encode_fields((1, name))))
        )

    def run_pod(self, name: str) -> str:
        """Start a pod's pause container; return the pod's id."""
        answer = self._call(
            "RuntimeService/RunPodSandbox", encode_fields((1, self._pod(name)))
        )
        return text(decode_fields(answer), 1)

    def create(self, pod: str, name: str, image: str, *, called: str = "") -> str:
        """Create a container in a pod; `called` is what the user typed."""
        names = encode_fields((1, name))
        spec = encode_fields((1, image), (18, called))
        options = encode_fields((2, encode_fields((3, encode_fields((1, _NODE))))))
        config = encode_fields(
            (1, names), (2, spec), (11, f"{name}.log"), (15, options)
        )
        request = encode_fields((1, pod), (2, config), (3, self._pod(pod)))
        answer = self._call("RuntimeService/CreateContainer", request)
        return text(decode_fields(answer), 1)

    def start(self, container: str) -> None:
        """Start a created container, or raise CriError."""
        self._call("RuntimeService/StartContainer", encode_fields((1, container)))

    def output(self, name: str) -> str:
        """Everything a container of this name logged."""
        path = self._logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def remove_pod(self, pod: str) -> None:
        """Stop a pod and all its containers, and forget them."""
        for verb in ("Stop", "Remove"):
            self._call(f"RuntimeService/{verb}PodSandbox", encode_fields((1, pod)))

    def _pod(self, name: str) -> bytes:
        named = encode_fields((1, name), (2, f"{name}-uid"), (3, "default"))
        security = encode_fields((2, encode_fields((1, encode_fields((1, _NODE))))))
        return encode_fields((1, named), (3, str(self._logs)), (8, security))

    def _call(self, method: str, request: bytes) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/runtime.v1.{method}"
        )
        try:
            return call(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise CriError(str(error)) from error
