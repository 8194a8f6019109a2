"""enforcer-fetcher as systemd, its clients and hostile ones see it. A real process."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enforcer import ttrpc
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.fetching import FetchError, Request
from enforcer.core.registry_access import Access
from enforcer.fetcher import NOBODY, SOCKET
from enforcer.sources.fetcher import FetcherClient, wire
from enforcer.sources.fetcher.client import GRACE_SECONDS
from tests.limits import SOMEBODY, open_to_all
from tests.revoker import Reply, Revoker
from tests.systemd import WAIT_SECONDS, Systemd, managing, wait_for_listener

MARKED = "marked-6f1c-secret"


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with managing("enforcer.fetcher") as manager:
        manager.home.chmod(0o755)
        yield manager


@pytest.fixture
def path(systemd: Systemd) -> Path:
    systemd.start()
    systemd.hears(b"READY=1")
    return systemd.home / "run" / SOCKET


@pytest.fixture
def revoker() -> Iterator[Revoker]:
    with Revoker() as revoker:
        yield revoker


def request(
    url: str, *, seconds: float = WAIT_SECONDS, body: bytes | None = None
) -> Request:
    return Request(url, "*/*", 1000, seconds, body)


def fetch(path: Path, url: str) -> bytes:
    with FetcherClient(path) as client:
        return client.fetch(request(url))


def send(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_SECONDS)
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
            return client.recv(65536)
    return b""


def framed(service: str, method: str, kind: int = ttrpc.REQUEST) -> bytes:
    payload = ttrpc.encode_request(ttrpc.Request(service, method, b""), timeout_ns=0)
    return ttrpc.encode_frame(ttrpc.Frame(1, kind, payload))


# -- the service -------------------------------------------------------------------


def test_answers_feeds_the_watchdog_and_stops_when_told(
    systemd: Systemd, revoker: Revoker
) -> None:
    """Ready means that a question is answered."""
    process = systemd.start()
    systemd.hears(b"READY=1")

    url = revoker.serve("/list", b"evidence")
    assert fetch(systemd.home / "run" / SOCKET, url) == b"evidence"
    systemd.hears(b"WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    systemd.hears(b"STOPPING=1")
    assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_started_by_root_it_is_nobody_before_it_answers(
    systemd: Systemd, path: Path
) -> None:
    """No user, no group, no capability, and no way back."""
    status = Path(f"/proc/{systemd.pid}/status").read_text()
    said = {k: v.split() for k, _, v in (x.partition(":") for x in status.split("\n"))}

    assert path.is_socket()
    assert said["Uid"] == said["Gid"] == [str(NOBODY)] * 4
    assert said["Groups"] == []
    assert int(said["CapPrm"][0], 16) == int(said["CapEff"][0], 16) == 0
    assert said["NoNewPrivs"] == ["1"]


def test_posts_what_it_is_given_and_tells_why_it_got_nothing(
    path: Path, revoker: Revoker
) -> None:
    """The clause that `cache sync` prints after the URL is the fetcher's own."""
    asked = revoker.serve("/ocsp", b"answer")
    gone = revoker.serve("/gone", Reply(b"", status=404))

    with FetcherClient(path) as client:
        found = client.fetch(request(asked, body=b"question"))
        with pytest.raises(FetchError) as caught:
            client.fetch(request(gone))
        with pytest.raises(FetchError) as secure:
            client.fetch(request("https://127.0.0.1/"))

    assert found == b"answer"
    assert revoker.asked[0] == ("POST", "/ocsp", b"question")
    assert caught.value.because == "answered 404, not 200"
    assert secure.value.because == "is not a plain http URL"


def test_a_registry_that_is_not_there_is_an_error_with_its_code(path: Path) -> None:
    """The error that the registry's client raised arrives whole."""
    asked = wire.Wanted(Access("127.0.0.1:1"), "app", "1", WAIT_SECONDS)

    with FetcherClient(path) as client, pytest.raises(EnforcerError) as caught:
        client.fetch_signatures(asked)

    assert caught.value.code is Code.REGISTRY_UNREACHABLE


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="no systemd here"
)
def test_takes_the_socket_systemd_hands_over(
    systemd: Systemd, revoker: Revoker
) -> None:
    """A question that comes before the fetcher does is queued, then answered."""
    path = _activated(systemd)
    inode = path.stat().st_ino

    assert fetch(path, revoker.serve("/list", b"x")) == b"x"
    assert path.stat().st_ino == inode


def _activated(systemd: Systemd) -> Path:
    path = systemd.home / "run" / SOCKET
    path.parent.mkdir(mode=0o755)
    words = (f"--fdname={SOCKET}", f"--listen={path}")
    systemd.start(before=("systemd-socket-activate", *words))
    wait_for_listener(path)
    return path


def test_a_second_one_for_the_same_folder_does_not_serve(
    path: Path, systemd: Systemd, revoker: Revoker
) -> None:
    """It would take the socket from the first."""
    assert systemd.start().wait(WAIT_SECONDS) == 4
    assert b"another enforcer-fetcher" in (systemd.home / "log").read_bytes()
    assert fetch(path, revoker.serve("/list", b"x")) == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
@pytest.mark.parametrize("owner", [0, SOMEBODY])
def test_whom_the_socket_was_given_to_may_ask_and_nobody_else(
    owner: int, systemd: Systemd
) -> None:
    """Who may have it fetch could have it ask anything that this host reaches."""
    open_to_all(systemd.home)
    systemd.home.chmod(0o755)
    path = _activated(systemd)
    os.chown(path, owner, -1)
    path.chmod(0o666)
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall(bytes.fromhex(sys.argv[2])); "
        "sys.stdout.buffer.write(s.recv(99))"
    )
    question = framed(wire.SERVICE, "FetchUrl").hex()

    heard = {
        uid: subprocess.run(
            ["/usr/bin/python3", "-Ic", script, path, question],
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


def test_what_is_no_question_ends_the_connection_and_nothing_else(
    path: Path, revoker: Revoker
) -> None:
    """A client that was taken over gets no further than its own connection."""
    too_long = (1 << 24).to_bytes(4, "big") + bytes(6)

    assert send(path, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert send(path, too_long + bytes(1 << 20)) == b""
    assert send(path, framed(wire.SERVICE, "FetchUrl", ttrpc.RESPONSE)) == b""
    assert send(path, framed(wire.SERVICE, "Keep")) == b""
    assert send(path, framed("other", "FetchUrl")) == b""
    assert fetch(path, revoker.serve("/list", b"x")) == b"x"


def test_calls_at_once_are_bounded(path: Path, revoker: Revoker) -> None:
    """The ninth is told so at once, and not left to wait for its deadline."""
    slow = revoker.serve("/slow", Reply(b"x", wait_seconds=30))
    question = wire.url_message(request(slow, seconds=20)).SerializeToString()
    call = ttrpc.Request(wire.SERVICE, "FetchUrl", question)
    frame = ttrpc.encode_frame(
        ttrpc.Frame(1, ttrpc.REQUEST, ttrpc.encode_request(call, timeout_ns=0))
    )
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(path))
            client.sendall(frame)
        until = time.monotonic() + WAIT_SECONDS
        while len(revoker.asked) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        with FetcherClient(path) as ninth, pytest.raises(FetchError) as caught:
            ninth.fetch(request(revoker.serve("/list", b"x")))

    assert "fetches for 8 at once already" in caught.value.because


# -- a child of one's own ------------------------------------------------------------


def test_without_the_service_a_child_does_it_and_ends_with_us(
    tmp_path: Path, revoker: Revoker
) -> None:
    """On a developer's machine nothing need be installed; one child serves them all."""
    urls = [revoker.serve(f"/{number}", b"%d" % number) for number in range(3)]

    with FetcherClient(tmp_path / "none", child=True) as client:
        found = [client.fetch(request(url)) for url in urls]
        with pytest.raises(FetchError, match="404"):
            client.fetch(request(revoker.serve("/gone", Reply(b"", status=404))))
        (child,) = _children()
        found.append(client.fetch(request(urls[0])))
        still = _children()

    assert found == [b"0", b"1", b"2", b"0"]
    assert still == [child]
    assert _children() == []


def test_the_time_a_child_takes_to_load_is_not_the_questions(
    tmp_path: Path, revoker: Revoker
) -> None:
    """A responder is given two seconds, in which a small board has loaded nothing."""
    asked = request(revoker.serve("/x", b"x"), seconds=2)

    with (
        FetcherClient(tmp_path / "none", child=True) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        found = threads.submit(client.fetch, asked)
        while not (children := _children()):
            assert not found.done()
        os.kill(children[0], signal.SIGSTOP)
        time.sleep(asked.seconds + GRACE_SECONDS + 0.2)
        os.kill(children[0], signal.SIGCONT)

        assert found.result() == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_a_child_of_root_is_nobody_and_is_told_no_secret(
    tmp_path: Path, revoker: Revoker
) -> None:
    """What its arguments and environment say, everybody on the host may read."""
    os.environ["ENFORCER_TEST_LOGIN"] = MARKED
    try:
        with FetcherClient(tmp_path / "none", child=True) as client:
            client.fetch(request(revoker.serve("/x", b"x")))
            (child,) = _children()
            status = Path(f"/proc/{child}/status").read_text()
            seen = Path(f"/proc/{child}/environ").read_bytes()
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    finally:
        del os.environ["ENFORCER_TEST_LOGIN"]

    assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n" in status
    assert MARKED.encode() not in seen
    assert words[1:] == [b"-I", b"-m", b"enforcer.fetcher", b"--stdio", b""]


def test_a_child_that_died_is_an_error_and_the_next_call_has_another(
    tmp_path: Path, revoker: Revoker
) -> None:
    """One hostile answer that kills it does not end a whole sync."""
    url = revoker.serve("/x", b"x")

    with FetcherClient(tmp_path / "none", child=True) as client:
        client.fetch(request(url))
        (child,) = _children()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(FetchError) as caught:
            client.fetch(request(url))
        again = client.fetch(request(url))

    assert caught.value.because.startswith("was not asked: enforcer-fetcher cannot be")
    assert again == b"x"


def test_it_does_not_even_load_what_reads_certificates() -> None:
    """What lists and answers are worth is for who asked; and it starts faster."""
    check = (
        "import sys, enforcer.fetcher\n"
        "print({'cryptography'} & set(sys.modules) or 'nothing')"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", check], stdout=subprocess.PIPE, text=True, check=True
    )

    assert loaded.stdout == "nothing\n"


def test_a_child_is_gone_when_its_parent_is_killed(
    tmp_path: Path, revoker: Revoker
) -> None:
    """Its line is cut; nothing else would end it."""
    url = revoker.serve("/x", b"x")
    script = (
        "import sys, pathlib; "
        "from enforcer.sources.fetcher import FetcherClient; "
        "from enforcer.core.fetching import Request; "
        "c = FetcherClient(pathlib.Path(sys.argv[1]), child=True); "
        "c.fetch(Request(sys.argv[2], '*/*', 99, 20.0)); "
        "print(c._line._child[0].pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "none", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()

    until = time.monotonic() + WAIT_SECONDS
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _children() -> list[int]:
    """Return our children that are fetchers."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        # A server's thread ends whenever it likes, and then its folder is gone.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                if b"enforcer.fetcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found
