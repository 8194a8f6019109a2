"""Ask the real engines what they make of every text in references.json.

    python -m tests.vectors.observe            # writes the answers into the table
    python -m tests.vectors.observe --print    # prints them as JSON instead

Docker: `POST /containers/create` is the call by which `docker run NAME` starts, and it
takes any text in its JSON. The text passes the very function that finds the image of a
container; as nothing is stored, the 404 shows the name that was looked for, in Docker's
short spelling. That one is ambiguous: `docker.io/foo.bar/x` is shown as `foo.bar/x`. So
the same text is then pulled (`docker run`'s next step), which fails naming the registry
that was dialled. `docker tag` would not do: it refuses digests, and ids are no names.

CRI: `PullImage` names the reference it would store. `ImageStatus` does not: it says
nothing about an image that is missing.

containerd: its Transfer service, by which `ctr images pull` pulls, parses the text with
containerd's own `reference` package and fails with the URL it would have fetched. That
needs a tag or a digest, and is the only answer it gives; where a name is only looked
up, as by `ctr run`, containerd parses nothing.

All of this runs in a network namespace with a loopback device and no route: no registry
hears of it. An answer that is not understood is an error, never a refusal.
"""

import contextlib
import fcntl
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import grpc

from enforcer.ttrpc import encode_fields
from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd, Store
from tests.engines.path import Release, ungated
from tests.real.cri import Cri, CriError
from tests.vectors.references import (
    IMAGE_ID,
    LITERAL,
    NO_IMAGE,
    REFUSED,
    Answers,
    Row,
    load,
    save,
)

CALL_SECONDS = 30
HUB = "docker.io"
HUB_SERVER = "registry-1.docker.io"  # where every engine fetches docker.io from
_DOCKERS: dict[str, tuple[Release, Store]] = {
    "docker-28": ("forky", "containerd"),
    "docker-28-overlay2": ("forky", "graphdriver"),
    "docker-20.10": ("bookworm", "graphdriver"),
}
_CRIS: dict[str, Release] = {"cri-2.1": "forky", "cri-1.6": "bookworm"}

_MISSING = re.compile(r"No such image: (.+)")
_DIALLED = re.compile(r'(?:Get|Head) "https?:(?://([^/"]+))?/v2/')
_ID = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
_PULLED = re.compile(r'failed to pull and unpack image "([^"]+)"')
_FETCHED = re.compile(r'Head "https?://([^"]+?)/manifests/')
_DOCKER_REFUSALS = (
    "invalid reference format",
    "repository name must",  # not be more than 255 characters; be lowercase
    "invalid checksum digest",
    "unsupported digest algorithm",
)
_CRI_REFUSALS = ("failed to parse image reference",)
_OWN_REFUSALS = (
    "object required",
    "hostname required",
    "invalid reference",
    'parse "dummy://',
)

Ask = Callable[[str], str | None]


class UnknownAnswerError(Exception):
    """An engine said something this module has no reading for."""


def observe(texts: tuple[str, ...]) -> dict[str, Answers]:
    """Start every engine in turn; return each one's answer to every text."""
    answers: dict[str, dict[str, str | None]] = {text: {} for text in texts}
    with tempfile.TemporaryDirectory() as folder:
        gate = ungated(Path(folder) / "gate")
        for engine in (*(_docker(n, gate) for n in _DOCKERS), *map(_containerd, _CRIS)):
            with engine as askers:
                for text, found in answers.items():
                    found.update({name: ask(text) for name, ask in askers.items()})
    return dict(answers)


# -- Docker ------------------------------------------------------------------------


@contextlib.contextmanager
def _docker(name: str, gate: Path) -> Iterator[dict[str, Ask]]:
    release, store = _DOCKERS[name]
    with Dockerd(gate, release=release, store=store) as engine:
        yield {name: lambda text: _ask_docker(engine.socket, text)}


def _ask_docker(path: Path, text: str) -> str | None:
    body = json.dumps({"Image": text, "Cmd": ["x"]})
    status, said = _post(path, "/containers/create", body)
    missing = _MISSING.fullmatch(said)
    if status == http.HTTPStatus.CREATED and not text:
        return NO_IMAGE
    if not missing:
        _require_refusal(text, said, _DOCKER_REFUSALS)
        return REFUSED
    if _ID.fullmatch(missing[1]):
        return IMAGE_ID
    _, said = _post(path, f"/images/create?{urlencode({'fromImage': text})}")
    dialled = _DIALLED.search(said)
    if not dialled:
        raise UnknownAnswerError(f"{text!r}: {said}")
    return _in_full(_without_version(missing[1]), dialled[1] or "")


def _in_full(short: str, server: str) -> str:
    """Undo Docker's short spelling, knowing the registry that was dialled.

    There is none for `a_b.io/app`: no host name, yet Docker takes it for a full name.
    """
    if not server or short.startswith(f"{server}/"):
        return short
    if server != HUB_SERVER:
        raise UnknownAnswerError(f"{short} would come from {server}")
    return f"{HUB}/{short}" if "/" in short else f"{HUB}/library/{short}"


def _without_version(name: str) -> str:
    folder, slash, last = name.partition("@")[0].rpartition("/")
    return folder + slash + last.partition(":")[0]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_SECONDS)
        self.sock.connect(os.fspath(self._path))


def _post(path: Path, target: str, body: str = "") -> tuple[int, str]:
    with contextlib.closing(_UnixConnection(path)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
    return answer.status, str(said.get("message", said))


# -- containerd --------------------------------------------------------------------


@contextlib.contextmanager
def _containerd(name: str) -> Iterator[dict[str, Ask]]:
    with Containerd(None, release=_CRIS[name], cri=True) as engine:
        cri = Cri(engine.socket, engine.home)
        channel = grpc.insecure_channel(f"unix:{engine.socket}")
        askers: dict[str, Ask] = {name: lambda text: _ask_cri(cri, text)}
        if engine.release == "forky":  # 1.6 has no Transfer service
            askers[LITERAL] = lambda text: _ask_transfer(channel, text)
        with contextlib.closing(cri), contextlib.closing(channel):
            yield askers


def _ask_cri(cri: Cri, text: str) -> str | None:
    try:
        cri.pull(text)
    except CriError as error:
        said = str(error)
    else:
        raise UnknownAnswerError(f"{text!r} was pulled")
    pulled = _PULLED.search(said)
    if pulled:
        return _without_version(pulled[1])
    _require_refusal(text, said, _CRI_REFUSALS)
    return REFUSED


def _ask_transfer(channel: grpc.Channel, text: str) -> str | None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/containerd.services.transfer.v1.Transfer/Transfer"
    )
    ends = (("OCIRegistry", text), ("ImageStore", "x"))  # field 1 of either: a name
    packed = (
        encode_fields(
            (1, f"containerd.types.transfer.{kind}"), (2, encode_fields((1, name)))
        )
        for kind, name in ends
    )
    request = encode_fields(*enumerate(packed, start=1))
    metadata = (("containerd-namespace", "default"),)
    try:
        call(request, timeout=CALL_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        said = str(error)
    else:
        raise UnknownAnswerError(f"{text!r} was pulled")
    fetched = _FETCHED.search(said)
    if fetched:
        return fetched[1].replace("/v2/", "/", 1)
    _require_refusal(text, said, _OWN_REFUSALS)
    return REFUSED


def _require_refusal(text: str, said: str, refusals: tuple[str, ...]) -> None:
    if not any(words in said for words in refusals):
        raise UnknownAnswerError(f"{text!r}: {said}")


# -- where nobody can be reached -----------------------------------------------------


def _loopback_up() -> None:
    """What `ip link set lo up` does: CRI serves streams on 127.0.0.1."""
    set_flags, is_up = 0x8914, 1  # SIOCSIFFLAGS, IFF_UP: linux/sockios.h, linux/if.h
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH22x", b"lo", is_up))


def _require_no_network() -> None:
    devices = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    if [line.split(":")[0].strip() for line in devices] != ["lo"]:
        raise SystemExit("this network namespace has more than a loopback device")


def main(words: list[str]) -> None:
    """Observe in a network namespace of its own; save or print the answers."""
    if "--isolated" not in words:
        again = [sys.executable, "-m", "tests.vectors.observe", "--isolated", *words]
        sys.exit(subprocess.run(["unshare", "--net", "--", *again]).returncode)
    _require_no_network()
    _loopback_up()
    rows = load()
    answers = observe(tuple(row.text for row in rows))
    if "--print" in words:
        print(json.dumps(answers))
    else:
        save(Row(row.group, row.text, answers[row.text]) for row in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
