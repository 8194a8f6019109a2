"""A door that asks enforcerd about an image at rest, over ask.sock."""

import socket
from pathlib import Path

from enforcer import ttrpc
from enforcer.api.v1 import enforcer_pb2
from tests.real.stage import Stage

SERVICE = "enforcer.api.v1.Verifier"
CALL_SECONDS = 30  # the daemon takes three at most; the machine may be busy


def ask_image(
    stage: Stage, name: str, *, namespace: str | None = None, root: str | None = None
) -> enforcer_pb2.VerifyResponse:
    """Ask about an image of the stage's engine, by whatever name or id."""
    docker = stage.is_docker
    if namespace is None:
        namespace = "" if docker else "default"
    own = stage.docker.data_root if docker else stage.containerd.root
    image = enforcer_pb2.Image(
        engine_root=str(own) if root is None else root, namespace=namespace, name=name
    )
    return ask(stage, enforcer_pb2.VerifyRequest(asked_by="door", image=image))


def ask(
    stage: Stage, question: enforcer_pb2.VerifyRequest
) -> enforcer_pb2.VerifyResponse:
    """Ask one question as root's own programs do."""
    call = ttrpc.Request(SERVICE, "Verify", question.SerializeToString())
    payload = ttrpc.encode_request(call, timeout_ns=CALL_SECONDS * 10**9)
    answer = _exchange(
        stage.host.run / "ask.sock",
        ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, payload)),
    )
    return enforcer_pb2.VerifyResponse.FromString(ttrpc.decode_response(answer.payload))


def _exchange(path: Path, frame: bytes) -> ttrpc.Frame:
    reader = ttrpc.FrameReader()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CALL_SECONDS)
        client.connect(str(path))
        client.sendall(frame)
        while received := client.recv(65536):
            for answer in reader.feed(received):
                return answer
    raise ConnectionResetError("the daemon hung up")
