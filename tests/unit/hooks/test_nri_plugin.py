"""The plug-in's process on the bytes of real runtimes, and on hostile ones.

The runtime here plays back what containerd 2.1.9 and a build of 2.4 sent
(tests/vectors/nri); with those themselves it is tests/real/test_nri*.py.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from enforcer import ttrpc
from enforcer.hooks.nri import wire
from enforcer.hooks.nri.state import FILE
from tests.enforcerd import NO, YES, answering, asked, framed
from tests.engines.process import Daemon, wait_until
from tests.unit.hooks.test_nri_wire import recorded

ROOT = "/var/lib/containerd"
NRI_LIMIT_SECONDS = 2.0  # what the recorded runtimes give
CALL_SECONDS = 60  # a hung test fails instead


class Host:
    """A folder with enforcer.yaml, our plug-in, and a runtime's listening socket."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ask = home / "ask.sock"
        engine = {
            "kind": "containerd",
            "socket": "/run/c.sock",
            "root": ROOT,
            "state": "/run/containerd",
        }
        settings = {"apiVersion": "enforcer/v1", "engines": [engine]}
        (home / "enforcer.yaml").write_text(yaml.safe_dump(settings))
        self.nri = home / "nri"
        self.nri.mkdir()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(CALL_SECONDS)
        self.listener.bind(str(self.nri / "sock"))
        self.listener.listen()
        folders = [f"--{name}-dir={home}" for name in ("config", "state", "run")]
        self.plugin = Daemon(
            [
                sys.executable,
                "-m",
                "enforcer.hooks.nri",
                *folders,
                f"--socket={self.nri}/sock",
            ],
            {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
            home / "log",
        )

    @property
    def state(self) -> dict[str, object]:
        """What it left for status."""
        found: dict[str, object] = json.loads((self.home / FILE).read_text())
        return found


class Runtime:
    """One connection of the plug-in, at the runtime's end."""

    def __init__(self, host: Host) -> None:
        self.socket, _ = host.listener.accept()
        self.socket.settimeout(CALL_SECONDS)
        self._trunk = wire.Trunk()
        self._stream = 100
        (number, frame) = self.read(1)[0]
        self.registration = ttrpc.decode_request(frame.payload)
        assert number == wire.RUNTIME

    def read(self, count: int) -> list[tuple[int, ttrpc.Frame]]:
        """Read so many frames."""
        found: list[tuple[int, ttrpc.Frame]] = []
        while len(found) < count:
            received = self.socket.recv(65536)
            assert received, "the plug-in hung up"
            found += self._trunk.feed(received)
        return found

    def play(self, stream: bytes) -> list[bytes]:
        """Send all at once; return the answers."""
        sent = wire.Trunk().feed(stream)
        self.socket.sendall(stream)
        count = sum(number == wire.PLUGIN for number, _ in sent)
        return [ttrpc.decode_response(f.payload) for _, f in self.read(count)]

    def call(
        self, method: str, payload: bytes, service: str = wire.PLUGIN_SERVICE
    ) -> bytes:
        """Make one call; return the whole answer of ttrpc."""
        self._stream += 2
        request = ttrpc.encode_request(
            ttrpc.Request(service, method, payload), timeout_ns=2 * 10**9
        )
        frame = ttrpc.Frame(self._stream, ttrpc.REQUEST, request)
        self.socket.sendall(wire.encode(wire.PLUGIN, frame))
        ((_, answer),) = self.read(1)
        assert answer.stream == self._stream
        return answer.payload

    def hung_up(self) -> bool:
        """Whether the plug-in let go; waits for it."""
        with contextlib.suppress(ConnectionResetError):
            return self.socket.recv(1) == b""
        return True


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The plug-in runs."""
    host = Host(tmp_path)
    host.plugin.start(lambda: host.plugin.is_running)
    yield host
    host.plugin.stop()
    host.listener.close()


@pytest.fixture
def runtime(host: Host) -> Iterator[Runtime]:
    """A runtime that it is connected to, and that said nothing yet."""
    runtime = Runtime(host)
    yield runtime
    runtime.socket.close()


def _rejection(answer: bytes) -> str:
    """Why a ValidateContainerAdjustmentResponse rejects; "" where it does not."""
    fields = ttrpc.decode_fields(answer)
    assert ttrpc.number(fields, 1) == (1 if fields else 0)
    return ttrpc.text(fields, 2)


def test_it_only_listens_to_a_runtime_that_cannot_ask(
    host: Host, runtime: Runtime
) -> None:
    """containerd 2.1.9: created and started, by name; never a part in the decision."""
    with answering(host.ask, framed(NO)) as heard:
        configured, synchronized, *events = runtime.play(recorded("containerd-2.1"))
        wait_until(lambda: bool(heard), "it has asked")

    asks = 1 << wire.POST_CREATE - 1 | 1 << wire.START - 1
    assert runtime.registration.method == "RegisterPlugin"
    fields = ttrpc.decode_fields(runtime.registration.payload)
    assert (fields[1], fields[2]) == (b"enforcer", b"90")
    assert ttrpc.decode_fields(configured) == {2: asks}
    assert ttrpc.decode_fields(synchronized) == {2: 0}
    assert events == [b"", b""]
    image = ttrpc.decode_fields(ttrpc.octets(asked(heard[0]), 5))
    assert image == {1: ROOT.encode(), 2: b"k8s.io", 3: b"docker.io/library/app-4:1"}
    assert (host.state["connected"], host.state["validates"]) == (True, False)
    wait_until(lambda: '"would refuse"' in host.plugin.log.read_text(), "it says so")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            NO,
            "enforcer: app:1 is not signed [ENF-1001]; next: enforcer explain 06H0",
        ),
        (YES, ""),
    ],
)
@pytest.mark.alone  # half of the runtime's two seconds are all that it has
def test_it_decides_where_the_runtime_asks(
    answer: bytes, reason: str, host: Host, runtime: Runtime
) -> None:
    """containerd 2.4: about the configuration that runs, not about a name."""
    with answering(host.ask, framed(answer)) as heard:
        configured, _, validated = runtime.play(recorded("containerd-2.4"))

    assert ttrpc.decode_fields(configured) == {2: 1 << wire.VALIDATE - 1}
    assert _rejection(validated) == reason
    image = ttrpc.decode_fields(ttrpc.octets(asked(heard[0]), 5))
    assert image[2] == b"k8s.io"
    assert ttrpc.text(image, 3).startswith("sha256:")
    assert (host.state["connected"], host.state["validates"]) == (True, True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "ENF-1602"),
        (b"", "ENF-1601"),
        (b"\xff" * 64, "ENF-1604"),
        (framed(b""), "[]"),
    ],
)
@pytest.mark.alone
def test_no_plain_yes_is_a_rejection_in_half_the_time(
    answer: bytes | None, code: str, host: Host, runtime: Runtime
) -> None:
    """A plug-in that is too slow is dropped, and its container made (facts, 0.4)."""
    with answering(host.ask, answer):
        began = time.monotonic()
        *_, validated = runtime.play(recorded("containerd-2.4"))

        assert time.monotonic() - began < 0.75 * NRI_LIMIT_SECONDS
    assert code in _rejection(validated)


def test_without_enforcerd_it_rejects(runtime: Runtime) -> None:
    """Nobody listens on ask.sock."""
    *_, validated = runtime.play(recorded("containerd-2.4"))

    assert "[ENF-1601]" in _rejection(validated)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xff\xff",
        ttrpc.encode_fields((2, b"")),
        ttrpc.encode_fields((2, 7)),
        ttrpc.encode_fields((2, ttrpc.encode_fields((1, "c1"), (22, b"\x08")))),
        ttrpc.encode_fields((2, ttrpc.encode_fields((1, b"\xff")))),
        ttrpc.encode_fields(
            (2, ttrpc.encode_fields((22, ttrpc.encode_fields((1, "app:1")))))
        ),
    ],
)
def test_a_question_that_tells_no_image_is_rejected(
    payload: bytes, host: Host, runtime: Runtime
) -> None:
    """A name alone is a claim; and it goes on answering the next question."""
    with answering(host.ask, framed(YES)) as heard:
        runtime.play(recorded("containerd-2.4"))
        before = len(heard)
        answer = runtime.call("ValidateContainerAdjustment", payload)
        again = runtime.call("ValidateContainerAdjustment", payload)

    assert "[ENF-1541]" in _rejection(ttrpc.decode_response(answer))
    assert again == answer
    assert len(heard) == before


@pytest.mark.parametrize("mode", ["monitor", "enforce"])
@pytest.mark.alone
def test_monitor_mode_takes_both_words(mode: str, host: Host, runtime: Runtime) -> None:
    """gate.conf and the daemon's own mode have to agree, here as at the gate."""
    (host.home / "gate.conf").write_text("mode=monitor\n")

    with answering(host.ask, framed(NO + ttrpc.encode_fields((10, mode)))):
        *_, validated = runtime.play(recorded("containerd-2.4"))

    assert (_rejection(validated) == "") is (mode == "monitor")


@pytest.mark.parametrize("payload", [b"\xff", ttrpc.encode_fields((3, b"\xff"))])
def test_an_event_that_makes_no_sense_is_said_and_survived(
    payload: bytes, host: Host, runtime: Runtime
) -> None:
    """Whoever makes the odd container must not blind the plug-in for the others."""
    runtime.play(recorded("containerd-2.1"))

    answers = [runtime.call("StateChange", payload) for _ in range(2)]

    assert answers == [ttrpc.encode_response(b"")] * 2
    assert host.plugin.log.read_text().count('"event made no sense"') == 2


def test_it_echoes_that_more_is_to_come(runtime: Runtime) -> None:
    """A node with many pods is told in parts; NRI drops who does not echo."""
    answers = [
        ttrpc.decode_response(runtime.call("Synchronize", ttrpc.encode_fields(*fields)))
        for fields in (((2, b"\x0a\x01c"),) * 5000 + ((3, 1),), ((2, b""),))
    ]

    assert [ttrpc.decode_fields(answer) for answer in answers] == [{2: 1}, {2: 0}]


def test_a_method_it_does_not_have_is_unimplemented(runtime: Runtime) -> None:
    """NRI then falls back to StateChange, as for any older plug-in."""
    status = ttrpc.decode_fields(runtime.call("StartContainer", b""))

    assert ttrpc.number(ttrpc.decode_fields(ttrpc.octets(status, 1)), 1) == 12


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\1\xff\xff\xff\xff",
        wire.encode(wire.PLUGIN, ttrpc.Frame(1, ttrpc.REQUEST, b"\xff")),
        wire.encode(wire.PLUGIN, ttrpc.Frame(1, ttrpc.RESPONSE, b"")),
        wire.encode(wire.PLUGIN, ttrpc.Frame(1, ttrpc.REQUEST, b"")),
        wire.encode(
            wire.RUNTIME,
            ttrpc.Frame(1, ttrpc.RESPONSE, ttrpc.encode_failure(13, "no such index")),
        ),
    ],
    ids=["HTTP", "4 GiB", "garbage", "an answer", "no service", "not registered"],
)
def test_a_peer_that_talks_nonsense_is_left_and_tried_again(
    stream: bytes, host: Host
) -> None:
    """It neither ends nor believes anything; and the wait between grows."""
    for _ in range(2):
        runtime = Runtime(host)
        runtime.socket.sendall(stream)

        assert runtime.hung_up()
        runtime.socket.close()
    wait_until(lambda: host.state["connected"] is False, "status is told")

    assert host.plugin.is_running


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_a_runtime_that_is_not_roots_is_told_nothing(tmp_path: Path) -> None:
    """Whoever could listen there would hear of every container."""
    host = Host(tmp_path)
    host.listener.close()
    path = host.nri / "sock"
    path.unlink()
    host.nri.chmod(0o777)
    for above in list(host.nri.parents)[:4]:
        above.chmod(above.stat().st_mode | 0o111)
    server = (
        "import os,socket,sys\n"
        "os.setuid(1000)\n"
        "s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "c,_=s.accept(); print('heard', c.recv(9999), flush=True)\n"
    )
    fake = Daemon(
        ["/usr/bin/python3", "-I", "-c", server, path],
        {},
        tmp_path / "fake.log",
    )
    fake.start(path.exists)
    host.plugin.start(lambda: host.plugin.is_running)
    try:
        wait_until(lambda: "heard" in fake.log.read_text(), "it was there")
        told = "is not root's but uid 1000's"
        wait_until(lambda: told in host.plugin.log.read_text(), "it said so")
    finally:
        host.plugin.stop()
        fake.stop()

    assert fake.log.read_text() == "heard b''\n"


def test_told_to_stop_it_leaves_no_state_behind(host: Host, runtime: Runtime) -> None:
    """Else status would warn for ever of a door that was taken off."""
    runtime.play(recorded("containerd-2.1"))
    assert (host.home / FILE).exists()

    os.kill(host.plugin.pid, signal.SIGTERM)
    wait_until(lambda: not host.plugin.is_running, "it ends")

    assert not (host.home / FILE).exists()
