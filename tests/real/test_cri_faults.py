"""The CRI proxy when things break: what needs judging is refused, all else goes on."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enforcer.api.sockets import FIRST_BYTE_SECONDS, MAX_CONNECTIONS
from enforcer.ttrpc import encode_fields
from tests.engines.images import describe
from tests.engines.process import run, wait_until
from tests.real.cri import Cri, CriError, Node, running_node
from tests.real.http2 import flooded
from tests.real.stage import Image

pytestmark = pytest.mark.alone  # it measures deadlines

PROMISED_SECONDS = 5.0  # to a refusal
AT_ONCE_SECONDS = 2.0  # for everything else; it takes milliseconds on an idle machine
FREE_SECONDS = 3 * FIRST_BYTE_SECONDS
PATH = {"PATH": "/usr/bin:/bin"}
CALLS, PARALLEL = 1000, 16
MAX_GROWTH_KIB = 8 * 1024  # of what a second thousand calls may add; a leak adds more
MAX_RESIDENT_KIB = 512 * 1024  # as enforcerd's, which has the same library in it
OTHERS = (
    ("RuntimeService/Version", b""),
    ("RuntimeService/ListPodSandbox", b""),
    ("ImageService/ListImages", b""),
)


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def node(engines: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """containerd 2.1 and 1.6 behind a proxy."""
    with running_node(request.param) as node:
        yield node


@pytest.fixture
def pod(node: Node) -> Iterator[str]:
    """A running pod."""
    with node.pod() as pod:
        yield pod


@pytest.fixture
def signed(node: Node) -> Image:
    """An image that may run."""
    image = node.image("signed")
    node.stage.sign(image)
    return image


def _refused(node: Node, pod: str, image: Image) -> str:
    """Be refused in time; return the text."""
    began = time.monotonic()
    with pytest.raises(CriError) as caught:
        node.proxied.create(pod, node.stage.name("app"), image.full)
    assert time.monotonic() - began < PROMISED_SECONDS
    assert caught.value.code == "PERMISSION_DENIED"
    return caught.value.text


def _runs(node: Node, pod: str, image: Image) -> None:
    name = node.stage.name("app")
    node.proxied.start(node.proxied.create(pod, name, image.full))
    wait_until(lambda: image.text in node.proxied.output(name), "it has run")


def _others_go_on(node: Node) -> None:
    for method, request in OTHERS:
        began = time.monotonic()
        node.proxied.call(method, request)
        assert time.monotonic() - began < AT_ONCE_SECONDS, method


@contextlib.contextmanager
def _stopped(node: Node) -> Iterator[None]:
    node.stage.host.stop()
    try:
        yield
    finally:
        node.stage.host.start()


@contextlib.contextmanager
def _hung(node: Node) -> Iterator[None]:
    pid = node.stage.host.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _corrupt(node: Node) -> Iterator[None]:
    """Every cached signature and manifest is something else."""
    blobs = node.stage.host.state / "cache/blobs"
    kept = {path: path.read_bytes() for path in blobs.rglob("*") if path.is_file()}
    for path, raw in kept.items():
        path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    try:
        yield
    finally:
        for path, raw in kept.items():
            path.write_bytes(raw)


@contextlib.contextmanager
def _unrecordable(node: Node) -> Iterator[None]:
    """The disk of the audit log is full."""
    host = node.stage.host
    log = host.state / "log"
    host.stop()
    run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", log], env=PATH)
    (log / "everything").write_bytes(bytes(4096))
    try:
        host.start()
        yield
    finally:
        host.stop()
        run(["umount", log], env=PATH)
        host.start()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (_stopped, "ENF-1601"),
        (_hung, "ENF-1602"),
        (_corrupt, "ENF-1401"),
        (_unrecordable, "ENF-1403"),
    ],
)
def test_without_a_verdict_nothing_is_created_and_all_else_goes_on(
    fault: Callable[[Node], contextlib.AbstractContextManager[None]],
    code: str,
    node: Node,
    pod: str,
    signed: Image,
) -> None:
    """Refused in time; meanwhile others are answered; afterwards all is as before."""
    with fault(node), ThreadPoolExecutor(1) as threads:
        refused = threads.submit(_refused, node, pod, signed)
        time.sleep(0.2)
        _others_go_on(node)
        text = refused.result()
    _runs(node, pod, signed)

    assert f"[{code}]" in text
    assert text.startswith("enforcer: ")


def test_in_monitor_mode_nothing_is_refused(node: Node, pod: str) -> None:
    """What would have been refused is noted, by the daemon or, in its absence, here."""
    image = node.image("unsigned")
    host = node.stage.host
    conf = host.config / "gate.conf"
    conf.write_text("mode=monitor\n")
    host.configure(mode="monitor")
    host.stop()
    name = node.stage.name("app")
    try:
        node.proxied.create(pod, name, image.full)
        host.start()
        made = node.proxied.create(pod, f"{name}-2", image.full)
        node.proxied.start(made)
        wait_until(lambda: image.text in node.proxied.output(f"{name}-2"), "it has run")
    finally:
        conf.unlink()
        host.configure(mode="enforce")
        host.stop()
        host.start()

    noted = (host.state / "log/gate.log").read_text()
    assert "cri would refuse: enforcerd cannot be reached" in noted
    last = [(r["asked_by"], r["code"], r["mode"]) for r in host.decisions()[-2:]]
    assert last == [(door, "ENF-1001", "monitor") for door in ("cri", "gate")]
    assert "is not signed" in _refused(node, pod, image)


def test_a_daemon_killed_while_it_is_asked_is_no_yes(
    node: Node, pod: str, signed: Image
) -> None:
    """Nor does it take the proxy with it."""
    host = node.stage.host
    with ThreadPoolExecutor(1) as threads, _hung(node):
        refused = threads.submit(_refused, node, pod, signed)
        time.sleep(0.5)  # it asks within a millisecond
        host.kill()
        assert "nothing starts" in refused.result()
    host.start()
    _runs(node, pod, signed)


def test_a_proxy_that_is_killed_refuses_and_comes_back(
    node: Node, pod: str, signed: Image
) -> None:
    """kubelet's connection is made anew; what was under way is not created."""
    name = node.stage.name("app")
    with _hung(node), ThreadPoolExecutor(1) as threads:
        lost = threads.submit(node.proxied.create, pod, name, signed.full)
        time.sleep(0.5)
        node.proxy.kill()
        with pytest.raises(CriError) as caught:
            lost.result()
    listed = node.direct.call("RuntimeService/ListContainers", b"")
    with pytest.raises(CriError) as absent:
        node.proxied.call("RuntimeService/Version", b"")
    node.proxy.open()

    wait_until(lambda: _answers(node.proxied), "the proxy answers again")
    _runs(node, pod, signed)
    assert caught.value.code == absent.value.code == "UNAVAILABLE"
    assert name.encode() not in listed


def _answers(cri: Cri) -> bool:
    try:
        return bool(cri.call("RuntimeService/Version", b"", seconds=5))
    except CriError:
        return False


def test_a_containerd_that_restarts_is_found_again(
    node: Node, pod: str, signed: Image
) -> None:
    """The proxy neither ends with it nor has to be restarted."""
    node.stage.containerd.kill()
    with pytest.raises(CriError) as caught:
        node.proxied.call("RuntimeService/Version", b"", seconds=5)
    node.stage.containerd.start()

    wait_until(lambda: _answers(node.proxied), "containerd is found again")
    wait_until(lambda: node.direct.has_image(signed.full), "CRI has its images again")
    _runs(node, pod, signed)
    assert caught.value.code == "UNAVAILABLE"


def test_idle_clients_do_not_keep_others_out(
    node: Node, pod: str, signed: Image
) -> None:
    """All places taken by those who never speak: for five seconds, no longer."""
    before = _descriptors(node)
    with contextlib.ExitStack() as idle:
        for _ in range(MAX_CONNECTIONS + 50):
            client = idle.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(node.proxy.socket))
        stranger = Cri(node.proxy.socket, node.proxied.logs)
        wait_until(lambda: _answers(stranger), "a place is free", FREE_SECONDS)
        stranger.close()
        _runs(node, pod, signed)

    wait_until(lambda: _descriptors(node) <= before + 4, "their places are free")


@pytest.mark.parametrize("method", ["Version", "CreateContainer"])
def test_floods_of_http2_keep_nobody_out(
    method: str, node: Node, pod: str, signed: Image
) -> None:
    """T-SK-7: rapid reset, endless headers, pings, and clients that drip."""
    unsigned = node.image("unsigned")
    before = _descriptors(node)
    path = f"/runtime.v1.RuntimeService/{method}"

    with flooded(node.proxy.socket, path, slow=PARALLEL):
        _runs(node, pod, signed)
        text = _refused(node, pod, unsigned)

    assert "[ENF-1001]" in text
    wait_until(lambda: _descriptors(node) <= before + 4, "all have hung up")
    assert _resident_kib(node) < MAX_RESIDENT_KIB
    _runs(node, pod, signed)
    _others_go_on(node)


def test_a_client_that_hangs_up_leaves_no_call_behind(node: Node) -> None:
    """However many of them wait for a verdict that does not come."""
    image = node.image("unsigned")
    creation = ("RuntimeService/CreateContainer", _creation(image))
    before = _descriptors(node)
    with _hung(node):
        for _ in range(PARALLEL):
            client = Cri(node.proxy.socket, node.proxied.logs)
            with pytest.raises(CriError) as caught:
                client.call(*creation, seconds=0.2)
            assert caught.value.code == "DEADLINE_EXCEEDED"
            client.close()
    wait_until(lambda: _descriptors(node) <= before + 4, "all is closed")
    _others_go_on(node)


def _creation(image: Image) -> bytes:
    config = encode_fields((2, encode_fields((1, describe(image.layout).config))))
    return encode_fields((1, "no pod"), (2, config))


def test_a_thousand_calls_leak_nothing(node: Node, signed: Image) -> None:
    """Sixteen at a time; a second thousand needs no more than the first."""
    unsigned = node.image("unsigned")
    questions = [
        *OTHERS,
        ("RuntimeService/ContainerStatus", encode_fields((1, "nobody"))),
        ("RuntimeService/CreateContainer", _creation(signed)),
        ("RuntimeService/CreateContainer", _creation(unsigned)),
    ]

    def ask(number: int) -> str:
        try:
            node.proxied.call(*questions[number % len(questions)])
        except CriError as error:
            return error.code
        return "OK"

    def thousand() -> tuple[list[str], int, int]:
        with ThreadPoolExecutor(PARALLEL) as threads:
            codes = list(threads.map(ask, range(CALLS)))
        return codes, _descriptors(node), _resident_kib(node)

    thousand()
    first, second = thousand(), thousand()

    expected = ["OK", "OK", "OK", "NOT_FOUND", "NOT_FOUND", "PERMISSION_DENIED"]
    for codes, *_ in (first, second):
        assert codes == [expected[n % len(expected)] for n in range(CALLS)]
    wait_until(lambda: _descriptors(node) <= first[1] + 2, "all is closed")
    assert second[2] <= first[2] + MAX_GROWTH_KIB
    print(f"descriptors {first[1]} -> {second[1]}, KiB {first[2]} -> {second[2]}")


def _descriptors(node: Node) -> int:
    return len(list(Path(f"/proc/{node.proxy.pid}/fd").iterdir()))


def _resident_kib(node: Node) -> int:
    status = Path(f"/proc/{node.proxy.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])
