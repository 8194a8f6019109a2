"""Strangers at the daemon's sockets: it lives on, and judges as before."""

import contextlib
import errno
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from enforcer import ttrpc
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from tests.engines.enforced import SYSTEM_PYTHON
from tests.engines.process import wait_until
from tests.real.http2 import flooded
from tests.real.stage import Stage, said

SOCKETS = ("ask.sock", "enforcer.sock", "admin.sock")
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4: must come next
GARBAGE = {
    "random bytes": random.Random(7).randbytes(300_000),  # noqa: S311 - not a secret
    "a frame of 4 GiB": struct.pack(">IIBB", 2**32 - 1, 1, 1, 0) + b"x" * 70_000,
    "half a frame": struct.pack(">IIBB", 1000, 1, 1, 0) + b"x" * 500,
    "an empty request": ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, b"")),
    "an answer": ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.RESPONSE, b"yes")),
    "a thousand requests": ttrpc.encode_frame(ttrpc.Frame(1, 1, b"\x0a\x01x")) * 1000,
    "half a greeting": HTTP2[:10],
    "a greeting and noise": HTTP2 + random.Random(8).randbytes(100_000),  # noqa: S311
}
NOBODY = 65534
IDLE = 400  # more than one socket takes
SLOW, STARTS = 20, 10
CLIENTS, QUESTIONS = 8, 100  # together more than the daemon judges at once
PROMISED_SECONDS = 5.0
MAX_RESIDENT_KIB = 512 * 1024  # seen: 64 MiB before, and 250 after a minute of floods


@pytest.fixture
def stage(gated_containerd: Stage) -> Stage:
    """The one engine suffices: its gate asks as every other."""
    return gated_containerd


def _connect(stage: Stage, name: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        # Not while a timeout is set: a full queue would then be an error at once.
        client.connect(str(stage.host.run / name))
    except BaseException:
        client.close()
        raise
    client.settimeout(5)
    return client


@contextlib.contextmanager
def _judges_as_before(stage: Stage) -> Iterator[None]:
    """Afterwards a signed image starts, an unsigned one does not, in one daemon."""
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    pid = stage.host.pid
    yield
    allowed, refused = stage.run(good), stage.run(bad)
    status = stage.host.enforcer("status", check=False)
    assert (allowed.returncode, allowed.stdout) == (0, f"{good.text}\n")
    assert refused.returncode == 1
    assert bad.text not in said(refused)
    assert "[ENF-1001]" in refused.stderr
    assert status.returncode == 0
    assert stage.host.pid == pid


@pytest.mark.parametrize("name", SOCKETS)
def test_garbage_at_a_socket_harms_nobody(name: str, stage: Stage) -> None:
    """Each kind is left open while the others come, then all hang up at once."""
    with _judges_as_before(stage), contextlib.ExitStack() as open_ones:
        for garbage in GARBAGE.values():
            client = open_ones.enter_context(_connect(stage, name))
            with contextlib.suppress(OSError):  # it may have hung up half-way
                client.sendall(garbage)

        for number in range(50):  # and some that do not stay for an answer
            with _connect(stage, name) as client, contextlib.suppress(OSError):
                client.sendall(list(GARBAGE.values())[number % len(GARBAGE)])


@pytest.mark.parametrize("name", ["enforcer.sock", "admin.sock"])
@pytest.mark.alone
def test_idle_clients_of_another_socket_do_not_delay_a_start(
    name: str, stage: Stage
) -> None:
    """Whoever may ask about images must not be able to stop containers."""
    good = stage.image("good")
    stage.sign(good)

    with contextlib.ExitStack() as open_ones:
        for _ in range(IDLE):
            client = open_ones.enter_context(_connect(stage, name))
            with contextlib.suppress(OSError):  # beyond the bound: hung up already
                client.sendall(HTTP2 + NO_SETTINGS)  # and never a word again
        done = stage.run(good)

    assert (done.returncode, done.stdout) == (0, f"{good.text}\n")
    wait_until(
        lambda: stage.host.enforcer("status", check=False).returncode == 0,
        "the idle clients are gone",
    )


@contextlib.contextmanager
def _asking_all_the_time(stage: Stage) -> Iterator[list[grpc.StatusCode]]:
    """Have some hundred questions open on enforcer.sock at any moment."""
    over, told = threading.Event(), list[grpc.StatusCode]()
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
    question = pb.VerifyRequest(reference="app:1", digest="sha256:" + "a" * 64)

    def ask() -> None:
        target = f"unix:{stage.host.run / 'enforcer.sock'}"
        with grpc.insecure_channel(target, options) as channel:
            verify = pb_grpc.VerifierStub(channel).Verify
            while not over.is_set():
                calls = [verify.future(question, timeout=20) for _ in range(QUESTIONS)]
                told.extend(call.code() for call in calls)

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(ask) for _ in range(CLIENTS)]
        try:
            yield told
        finally:
            over.set()
    for client in clients:
        client.result()


@pytest.mark.alone
def test_questions_of_others_take_no_place_from_the_gates(stage: Stage) -> None:
    """T-SK-6: who may ask about images must not be able to keep containers down."""
    good = stage.image("good")
    stage.sign(good)

    with _judges_as_before(stage), _asking_all_the_time(stage) as told:
        wait_until(lambda: bool(told), "they are answered")
        done = [stage.run(good) for _ in range(STARTS)]

    for one in done:  # what it prints, ctr may lose on a machine this busy
        assert one.returncode == 0, said(one)
    assert grpc.StatusCode.OK in told
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in told  # or it was not enough to matter


@pytest.mark.parametrize("name", ["enforcer.sock", "admin.sock"])
@pytest.mark.alone
def test_floods_of_http2_delay_no_start(name: str, stage: Stage) -> None:
    """T-SK-7: rapid reset, endless headers, pings, and clients that drip."""
    method = {"enforcer.sock": "Verifier/Verify", "admin.sock": "Admin/Status"}[name]
    good, bad = stage.image("good"), stage.image("bad")
    stage.sign(good)
    handles = _descriptors(stage)

    with _judges_as_before(stage):
        with flooded(stage.host.run / name, f"/enforcer.api.v1.{method}", slow=SLOW):
            waits = []
            for _ in range(STARTS):
                began = time.monotonic()
                allowed, refused = stage.run(good), stage.run(bad)
                waits.append((time.monotonic() - began) / 2)
                # ctr on a busy machine may end before it has copied the output.
                assert allowed.returncode == 0, said(allowed)
                assert allowed.stdout in (f"{good.text}\n", "")
                assert refused.returncode == 1
                assert "[ENF-1001]" in refused.stderr
        wait_until(lambda: _descriptors(stage) <= handles + 4, "all have hung up")
    assert min(waits) < PROMISED_SECONDS
    assert _resident_kib(stage) < MAX_RESIDENT_KIB


def _descriptors(stage: Stage) -> int:
    return len(list(Path(f"/proc/{stage.host.pid}/fd").iterdir()))


def _resident_kib(stage: Stage) -> int:
    status = Path(f"/proc/{stage.host.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


# Prints what a client without rights gets: an errno, or how many bytes of answer.
_STRANGER = """
import os, socket, sys
os.stat(sys.argv[1])
client = socket.socket(socket.AF_UNIX)
client.settimeout(30)
code = client.connect_ex(sys.argv[1])
if code:
    print("errno", code)
else:
    try:
        client.sendall(bytes.fromhex(sys.argv[2]))
        print("bytes", len(client.recv(65536)))
    except OSError as error:
        print("errno", error.errno)
"""


def _answer(stage: Stage, name: str, *, uid: int) -> str:
    """Ask something harmless as somebody, and tell what comes back."""
    call = ttrpc.Request("enforcer.api.v1.Verifier", "Verify", b"")
    message = ttrpc.encode_request(call, timeout_ns=10**9)
    asked = ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, message))
    if name != "ask.sock":
        asked = HTTP2 + NO_SETTINGS
    path = str(stage.host.run / name)
    command = [str(SYSTEM_PYTHON), "-ISc", _STRANGER, path, asked.hex()]
    done = subprocess.run(
        command, user=uid, group=uid, extra_groups=[], capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("name", SOCKETS)
def test_a_user_without_rights_cannot_connect(name: str, stage: Stage) -> None:
    """Nobody but root, or for enforcer.sock its group, gets past the file's mode."""
    stranger = _answer(stage, name, uid=NOBODY)
    root = _answer(stage, name, uid=0)

    assert stranger == f"errno {errno.EACCES}"
    assert root.startswith("bytes ")
    assert root != "bytes 0"


@pytest.mark.parametrize("name", ["ask.sock", "admin.sock"])
def test_a_socket_opened_to_all_by_mistake_still_answers_only_root(
    name: str, stage: Stage
) -> None:
    """The kernel says who called, so the mode is not all there is."""
    path = stage.host.run / name
    path.chmod(0o666)
    try:
        answer = _answer(stage, name, uid=NOBODY)
    finally:
        path.chmod(0o600)

    gone = (f"errno {errno.ECONNRESET}", f"errno {errno.EPIPE}")
    assert answer in ("bytes 0", *gone)
    with _judges_as_before(stage):
        pass
