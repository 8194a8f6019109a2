"""enforcer-resolver as systemd and as hostile clients see it. A real process."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer import ttrpc
from enforcer.core.codes import PAGES, Code
from enforcer.host.doctor.engines import MEND
from enforcer.ports import ContainerRef, EngineError, ImageRef
from enforcer.sources.resolver import ResolverClient, wire
from enforcer.sources.resolver.pb import resolver_pb2 as pb
from tests.limits import SOMEBODY, open_to_all
from tests.systemd import WAIT_SECONDS, Systemd, managing, wait_for_listener

CONTAINER = ContainerRef("c1", "/nowhere/c1", "/run/runc", "create", os.getpid())


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with managing("enforcer.resolver") as manager:
        text = "{apiVersion: enforcer/v1, engines: []}"
        (manager.home / "config/enforcer.yaml").write_text(text)
        yield manager


@pytest.fixture
def path(systemd: Systemd) -> Path:
    systemd.start()
    systemd.hears(b"READY=1")
    return systemd.home / "run/resolver.sock"


def code_of(path: Path, container: ContainerRef = CONTAINER) -> Code:
    client = ResolverClient(path, seconds=WAIT_SECONDS)
    with contextlib.closing(client), pytest.raises(EngineError) as caught:
        client.resolve(container)
    return caught.value.code


def call(
    path: Path, method: str, question: bytes, service: str = wire.SERVICE
) -> bytes:
    """Return the frame that answers, b"" where the resolver hangs up."""
    request = ttrpc.Request(service, method, question)
    payload = ttrpc.encode_request(request, timeout_ns=0)
    return send(path, ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, payload)))


def send(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_SECONDS)
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
            return client.recv(65536)
    return b""


def test_answers_feeds_the_watchdog_and_stops_when_told(systemd: Systemd) -> None:
    """Ready means that a question is answered."""
    process = systemd.start()
    systemd.hears(b"READY=1")

    assert code_of(systemd.home / "run/resolver.sock") is Code.ENGINE_UNKNOWN
    systemd.hears(b"WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    systemd.hears(b"STOPPING=1")
    assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize(
    "module",
    ["enforcer.resolver", "enforcer.hooks.cri.serve", "enforcer.hooks.nri.plugin"],
)
def test_what_runs_as_root_does_not_even_load_what_judges(module: str) -> None:
    """It parses no signature and knows no policy; and it starts a third faster."""
    check = (
        f"import sys, {module}\n"
        "judging = {'cryptography', 'enforcer.core.verify', 'enforcer.core.policy'}\n"
        "print(judging & set(sys.modules) or 'nothing')"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", check], stdout=subprocess.PIPE, text=True, check=True
    )

    assert loaded.stdout == "nothing\n"


def test_an_image_of_no_engine_is_an_error_with_its_code(path: Path) -> None:
    """The error that HostEngines raised arrives whole."""
    client = ResolverClient(path, seconds=WAIT_SECONDS)

    with contextlib.closing(client), pytest.raises(EngineError) as caught:
        client.resolve_image(ImageRef("/var/lib/docker", "", "app:1"))

    assert caught.value.code is Code.ENGINE_UNKNOWN
    assert caught.value.what.startswith("/var/lib/docker is not the root of one engine")
    assert "Add the engine" in caught.value.remedy


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="no systemd here"
)
def test_another_engine_is_known_after_what_the_refusal_says(systemd: Systemd) -> None:
    """Read once, at the start: enforcerd's own reload does not come as far as this."""
    socket = systemd.home / "run/resolver.sock"
    root = systemd.home / "engine"
    image = ImageRef(str(root), "default", "app:1")
    first = systemd.start()
    systemd.hears(b"READY=1")
    place = f"{{kind: containerd, socket: {root}.sock, root: {root}, state: {root}}}"
    text = f"{{apiVersion: enforcer/v1, engines: [{place}]}}"
    (systemd.home / "config/enforcer.yaml").write_text(text)

    told = []
    for again in (False, True):
        if again:
            first.terminate()
            first.wait(WAIT_SECONDS)
            systemd.start()
            systemd.hears(b"READY=1")
        client = ResolverClient(socket, seconds=WAIT_SECONDS)
        with contextlib.closing(client), pytest.raises(EngineError) as caught:
            client.resolve_image(image)
        told.append(caught.value)

    assert [error.code for error in told] == [
        Code.ENGINE_UNKNOWN,
        Code.ENGINE_UNREACHABLE,
    ]
    assert "systemctl restart enforcer-resolver" in told[0].remedy
    for code in (Code.ENGINE_UNKNOWN, Code.ENGINES_WRONG):
        assert "systemctl restart enforcer-resolver" in PAGES[code][1]
    assert "systemctl restart enforcer-resolver" in MEND


def test_takes_the_socket_systemd_hands_over(systemd: Systemd) -> None:
    """A question that comes before the resolver does is queued, then answered."""
    path = systemd.home / "run/resolver.sock"
    path.parent.mkdir()
    words = ("--fdname=resolver.sock", f"--listen={path}")
    systemd.start(before=("systemd-socket-activate", *words))
    wait_for_listener(path)
    inode = path.stat().st_ino

    assert code_of(path) is Code.ENGINE_UNKNOWN
    assert path.stat().st_ino == inode


def test_a_second_one_for_the_same_folder_does_not_serve(
    path: Path, systemd: Systemd
) -> None:
    """It would take the socket from the first."""
    assert systemd.start().wait(WAIT_SECONDS) == 3
    assert b"another enforcer-resolver" in (systemd.home / "log").read_bytes()
    assert code_of(path) is Code.ENGINE_UNKNOWN


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
@pytest.mark.parametrize("owner", [0, SOMEBODY])
def test_whom_the_socket_was_given_to_may_ask_and_nobody_else(
    owner: int, systemd: Systemd
) -> None:
    """Its mode alone would not do: its owner can change that."""
    open_to_all(systemd.home)
    systemd.home.chmod(0o755)
    path = systemd.home / "run/resolver.sock"
    path.parent.mkdir(mode=0o755)
    listen = ("systemd-socket-activate", "--fdname=resolver.sock", f"--listen={path}")
    systemd.start(before=listen)
    wait_for_listener(path)
    os.chown(path, owner, -1)
    path.chmod(0o666)
    request = ttrpc.Request(wire.SERVICE, "Nothing", b"")
    frame = ttrpc.Frame(1, ttrpc.REQUEST, ttrpc.encode_request(request, timeout_ns=0))
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall(bytes.fromhex(sys.argv[2])); "
        "sys.stdout.buffer.write(s.recv(99))"
    )

    heard = {
        uid: subprocess.run(
            ["/usr/bin/python3", "-Ic", script, path, ttrpc.encode_frame(frame).hex()],
            user=uid,
            capture_output=True,
            check=False,
            timeout=WAIT_SECONDS,
        ).stdout
        for uid in (0, SOMEBODY, SOMEBODY + 1)
    }

    assert heard[0]
    assert bool(heard[SOMEBODY]) == (owner == SOMEBODY)
    assert not heard[SOMEBODY + 1]


def test_what_is_no_question_ends_the_connection_and_nothing_else(path: Path) -> None:
    """A client that was taken over gets no further than its own connection."""
    too_long = (1 << 20).to_bytes(4, "big") + bytes(6)

    assert send(path, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert send(path, too_long + bytes(1 << 20)) == b""
    assert send(path, ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, b""))) == b""
    assert code_of(path) is Code.ENGINE_UNKNOWN


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"\xff\xff",
        pb.Container(id="x", bundle="relative/x", pid=1).SerializeToString(),
        pb.Container(id="", bundle="/x", pid=1).SerializeToString(),
        pb.Container(id="x", bundle="/x").SerializeToString(),
    ],
)
def test_a_question_about_nothing_is_refused(question: bytes, path: Path) -> None:
    """Without who asks, its own mounts would be taken for the container's."""
    (frame,) = ttrpc.FrameReader().feed(call(path, "Resolve", question))

    with pytest.raises(EngineError) as caught:
        wire.parse_reply(ttrpc.decode_response(frame.payload))
    assert caught.value.code is Code.INPUT_MALFORMED


def test_a_path_that_breaks_the_reader_is_answered_too(path: Path) -> None:
    """A NUL makes pathlib raise; an end without a word would be asked again."""
    bad = ContainerRef("x", "/x\0y", "/r", "create", 1)

    assert code_of(path, bad) is Code.INTERNAL
    assert code_of(path) is Code.ENGINE_UNKNOWN


@pytest.mark.parametrize(
    ("service", "method"), [(wire.SERVICE, "Remove"), ("other", "Resolve")]
)
def test_there_is_no_other_method(service: str, method: str, path: Path) -> None:
    """What is not named is not done."""
    (frame,) = ttrpc.FrameReader().feed(call(path, method, b"", service))

    with pytest.raises(ttrpc.ProtocolError, match="status 12"):
        ttrpc.decode_response(frame.payload)


def test_many_connections_that_say_nothing_keep_nobody_out(path: Path) -> None:
    """T-SK-8: enforcerd's own, at most, and each with an end."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(str(path))
        assert code_of(path) is Code.ENGINE_UNKNOWN
