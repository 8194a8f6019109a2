"""Offline is proven: a daemon without a network decides, and never reaches for one.

Everything a decision needs was gathered before. The daemon then runs in a network
namespace of its own with no address and no route, is asked over its unix sockets, and
must hold no internet socket at any time, and make none, not even one that fails.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from tests.asn1 import generalized
from tests.engines.enforced import EnforcedHost
from tests.engines.images import write_layout
from tests.engines.notation import statement
from tests.engines.process import wait_until
from tests.pki import Party, Template, ca_template, issue, leaf_template, pems
from tests.revoker import (
    Listed,
    Revoker,
    Single,
    make_crl,
    make_ocsp,
    points,
    responders,
    revoking_ca,
)
from tests.tsa import Authority, tsa_chain, tsa_template
from tests.tsa_server import Reply, serve

ROUNDS = 40  # of one question about each image: 200 decisions
CALL_SECONDS = 10
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
PROTOCOLS = ("tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "icmp", "packet")
COUNTERS = (
    "IpOutRequests", "IpOutNoRoutes", "TcpActiveOpens", "TcpAttemptFails",
    "TcpOutSegs", "UdpOutDatagrams", "Ip6OutRequests", "Ip6OutNoRoutes",
    "Udp6OutDatagrams",
)  # fmt: skip
# In what strace writes. All but unix sockets: netlink is how resolvers begin.
_MADE = re.compile(r"\bsocket\((?!AF_UNIX\b).*")
_ADDRESSED = re.compile(r".*\bsa_family=(?!AF_UNIX\b|AF_UNSPEC\b).*")
_ACCEPTED = re.compile(r"\baccept4?\(.*\) = \d+|\baccept4? resumed>.*\) = \d+")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path.cwd())}

# What each image's signature needs, and what becomes of it.
EXPECTED = {
    "list": "ENF-1000",
    "responder": "ENF-1000",
    "timestamp": "ENF-1000",
    "revoked": "ENF-1014",
    "unknown": "ENF-1007",  # the tempting one: its list was never fetched
}


@dataclass(frozen=True, slots=True)
class Question:
    """An image by name and digest, and the answer that is due."""

    reference: str
    digest: str
    code: str


@dataclass(frozen=True, slots=True)
class Isolated:
    """A running daemon without a network, and what to ask it."""

    host: EnforcedHost
    questions: tuple[Question, ...]
    calls: Path | None  # what strace writes
    started: int  # how much it had written when the daemon was ready

    @property
    def pid(self) -> int:
        """The process id of enforcerd: `strace -D` and the launcher give way."""
        return self.host.pid

    def ask(self, question: Question) -> pb.VerifyResponse:
        """Ask as any local program may, over the unix socket."""
        with grpc.insecure_channel(
            f"unix:{self.host.run / 'enforcer.sock'}"
        ) as channel:
            request = pb.VerifyRequest(
                asked_by="test", reference=question.reference, digest=question.digest
            )
            stub = pb_grpc.VerifierStub(channel)
            answer: pb.VerifyResponse = stub.Verify(request, timeout=CALL_SECONDS)
            return answer


# -- a host that has gathered everything ------------------------------------------


def _now(template: Template) -> Template:
    return replace(template, starts=NOW - 30 * DAY, ends=NOW + 300 * DAY)


class _Preparation:
    """Signs images with chains of every kind, while there is a network."""

    def __init__(self, host: EnforcedHost, revoker: Revoker) -> None:
        self._host = host
        self._revoker = revoker
        self.questions: list[Question] = []
        root = _now(ca_template("C=US,ST=WA,O=tsa,CN=tsa root"))
        self._tsa = Authority(tsa_chain(_now(tsa_template()), root=root))
        store = host.notation.config / "truststore" / "x509" / "tsa" / "clock"
        store.mkdir(parents=True)
        self._tsa_root = store / "clock.crt"
        self._tsa_root.write_bytes(self._tsa.chain[-1].pem)

    def image(self, name: str) -> None:
        """Make an image signed by a chain of its own, trusted in `ca:NAME`."""
        ca = issue(_now(revoking_ca(f"C=US,ST=WA,O={name},CN=root")))
        pointer = (
            responders(self._revoker.url(f"/{name}"))
            if name == "responder"
            else points([self._revoker.url(f"/{name}")])
        )
        template = replace(leaf_template(), extra=((pointer, False),))
        leaf = issue(_now(template), ca)
        self._serve(name, leaf, ca)
        self._trust(name, ca)
        digest = self._sign(name, leaf, ca)
        reference = f"registry.example/{name}:1"
        self.questions.append(Question(reference, digest, EXPECTED[name]))

    def _serve(self, name: str, leaf: Party, ca: Party) -> None:
        made, until = NOW - DAY, NOW + 2 * DAY
        if name == "unknown":
            return
        if name == "responder":
            single = Single(
                leaf.certificate, ca.certificate, this_update=made, next_update=until
            )
            body = make_ocsp(single, signer=ca, produced=made)
        else:
            listed = [Listed(leaf.certificate.serial_number, at=NOW - 10 * DAY)]
            body = make_crl(
                ca,
                *(listed if name == "revoked" else []),
                this_update=made,
                next_update=until,
            )
        self._revoker.serve(f"/{name}", body)

    def _trust(self, name: str, ca: Party) -> None:
        store = self._host.notation.config / "truststore" / "x509" / "ca" / name
        store.mkdir(parents=True)
        (store / "root.crt").write_bytes(ca.pem)

    def _sign(self, name: str, leaf: Party, ca: Party) -> str:
        home = self._host.home / name
        home.mkdir()
        (home / "key").write_bytes(leaf.key_pem)
        (home / "chain").write_bytes(pems((leaf, ca)))
        digest = write_layout(home / "layout", text=f"this is {name}", tag="app:1")
        target = f"oci-layout:{home / 'layout'}"
        words: list[str | Path] = [
            "sign",
            target,
            "--key",
            home / "key",
            "--cert",
            home / "chain",
        ]
        with contextlib.ExitStack() as stack:
            if name == "timestamp":
                tsa = stack.enter_context(serve(self._countersign))
                words += ["--tsa", tsa.url, "--tsa-root", self._tsa_root]
            self._host.enforcer(*words)
        return digest

    def _countersign(self, request: bytes) -> Reply:
        time = generalized(datetime.now(UTC))
        return Reply(self._tsa.answer(request, gen_time=time))


def _policy(name: str) -> dict[str, object]:
    stores = [f"ca:{name}"]
    if name == "timestamp":
        stores.append("tsa:clock")
    scopes = [f"registry.example/{name}"]
    return statement(name, scopes=scopes, stores=stores)


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    """Gather with a network, then run the daemon without one, under strace if any."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(EnforcedHost())
        with Revoker() as revoker:
            ready = _Preparation(host, revoker)
            for name in EXPECTED:
                ready.image(name)
            host.notation.write_policy(*map(_policy, EXPECTED))
            synced = host.enforcer("cache", "sync", "-o", "json", check=False)
        assert json.loads(synced.stdout)["kept"] == 4, synced.stderr
        host.start(before=_watching(host))
        wait_until(lambda: _answers(host), "it answers")
        calls = host.home / "calls"
        watched = calls if calls.exists() else None
        started = len(calls.read_text()) if watched else 0
        yield Isolated(host, tuple(ready.questions), watched, started)


def _watching(host: EnforcedHost) -> list[str]:
    """Write down each call about the network; nothing where there is no strace."""
    strace = shutil.which("strace")
    if strace is None:
        return []
    # -D: strace is the child, so that the daemon is the process that was started.
    watching = ["-D", "-f", "-qq", "-e", "trace=network", "-o", f"{host.home}/calls"]
    return [strace, *watching, "--"]


def _answers(host: EnforcedHost) -> bool:
    try:
        return host.enforcer("status", check=False).returncode == 0
    except OSError:
        return False


# -- what the kernel knows ---------------------------------------------------------


def _internet_sockets(pid: int) -> list[str]:
    """Every internet or packet socket in a process's network namespace, whoever's."""
    found = []
    for protocol in PROTOCOLS:
        path = Path(f"/proc/{pid}/net/{protocol}")
        if path.exists():
            _head, *lines = path.read_text().splitlines()
            found += [f"{protocol}: {line}" for line in lines]
    return found


def _alien_sockets(pid: int) -> list[str]:
    """The protocols of the sockets a process has open that are not unix sockets.

    One that is neither bound nor connected is in no list of its protocol, but it is a
    descriptor all the same. The kernel names its protocol, as for lsof.
    """
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            raw = os.getxattr(descriptor, "system.sockprotoname")
        except OSError:  # no socket, or closed in the meantime
            continue
        protocol = raw.rstrip(b"\0").decode()
        if not protocol.startswith("UNIX"):
            found.append(protocol)
    return found


def _attempts(pid: int) -> dict[str, int]:
    """What the kernel counted of a process's namespace, where it is not zero.

    It counts for ever, so what failed between two looks shows: a connection that found
    no route is an OutNoRoutes (RFC 4293). Not so TCP over IPv6: only strace sees that.
    """
    found = {}
    lines = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol, *words = names.split()
        for word, value in zip(words, values.split()[1:], strict=True):
            found[protocol.rstrip(":") + word] = int(value)
    for line in Path(f"/proc/{pid}/net/snmp6").read_text().splitlines():
        word, value = line.split()
        found[word] = int(value)
    return {name: found[name] for name in COUNTERS if found.get(name)}


def _sockets(pid: int) -> list[str]:
    return _internet_sockets(pid) + _alien_sockets(pid)


# -- tests ---------------------------------------------------------------------------


def test_the_daemon_is_where_there_is_no_network(isolated: Isolated) -> None:
    """Else the other tests would prove nothing."""
    own = Path("/proc/self/ns/net").readlink()
    theirs = Path(f"/proc/{isolated.pid}/ns/net").readlink()
    routes = Path(f"/proc/{isolated.pid}/net/route").read_text().splitlines()[1:]
    devices = Path(f"/proc/{isolated.pid}/net/dev").read_text().splitlines()[2:]
    cmdline = Path(f"/proc/{isolated.pid}/cmdline").read_bytes()

    assert own != theirs
    assert routes == []
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert b"enforcer.daemon" in cmdline
    assert b"unshare" not in cmdline


def test_two_hundred_decisions_need_no_network(isolated: Isolated) -> None:
    """Lists, answers and countersignatures count from disk; what is unknown denies.

    The image whose list was never fetched is what would tempt a daemon to call out.
    """
    before = _sockets(isolated.pid)
    during: list[str] = []
    answers: list[tuple[str, str]] = []
    for _ in range(ROUNDS):
        for question in isolated.questions:
            answers.append((question.code, isolated.ask(question).code))
            during += _sockets(isolated.pid)
    after = _sockets(isolated.pid)

    assert len(answers) == 200
    assert [due for due, _ in answers] == [given for _, given in answers]
    assert (before, during, after) == ([], [], [])
    assert _attempts(isolated.pid) == {}
    recorded = [record["code"] for record in isolated.host.decisions()]
    assert recorded == [code for _, code in answers]


def test_no_internet_socket_is_made_even_for_a_moment(isolated: Isolated) -> None:
    """Not one between two looks, either: every system call about sockets was watched.

    When its servers start, gRPC would try out SO_REUSEPORT; the unit does not let it.
    """
    if isolated.calls is None:
        pytest.skip("this needs strace")
    for question in isolated.questions:
        isolated.ask(question)

    calls = isolated.calls.read_text()

    assert len(_ACCEPTED.findall(calls[isolated.started :])) >= len(EXPECTED)
    assert _MADE.findall(calls[isolated.started :]) == []
    assert all(
        made.endswith("EPERM (Operation not permitted)")
        for made in _MADE.findall(calls)
    )
    assert _ADDRESSED.findall(calls) == []


def test_these_looks_do_see_an_internet_socket() -> None:
    """The control: one bound, one only open, and one that failed and is gone."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    script = (
        "import socket, sys\n"
        "bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "bound.bind(('0.0.0.0', 0))\n"
        "loose = socket.socket(socket.AF_INET6)\n"
        "with socket.socket(socket.AF_INET) as brief:\n"
        "    brief.connect_ex(('127.0.0.1', 80))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = ["unshare", "--net", "--", sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"

        listed = _internet_sockets(process.pid)
        open_ones = _alien_sockets(process.pid)
        counted = _attempts(process.pid)
        process.stdin.close()

    assert [line.split(":")[0] for line in listed] == ["udp"]
    assert sorted(open_ones) == ["TCPv6", "UDP"]
    assert counted == {"IpOutNoRoutes": 1}
