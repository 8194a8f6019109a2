"""Who may call what: every user at every socket with every method there is (T-SK-1).

The methods come from the protos, so one that is added is refused everywhere until it
is entered here.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from enforcer.api.v1 import enforcer_pb2
from tests.caller import NO_ANSWER, NO_CONNECTION, OK
from tests.reach import REACHING
from tests.systemd import Systemd, managing

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="being somebody else needs root"
)
STRANGER, UNMAPPED = 1000, 65534  # the latter: from a user namespace (T-SK-4)
GROUP = 31_337  # has none of the machine's users in it
CALLERS = {  # uid and groups
    "root": (0, ""),
    "member": (STRANGER, str(GROUP)),
    "unmapped member": (UNMAPPED, str(GROUP)),
    "stranger": (STRANGER, ""),
    "unmapped": (UNMAPPED, ""),
    "root's group": (STRANGER, "0"),
}
MEMBERS = frozenset({"member", "unmapped member"})
NOT_THERE = {"UNIMPLEMENTED", "call failed with status 12"}
VERIFY = "enforcer.api.v1.Verifier/Verify"
# All that is served. Health and reflection stream, too: not a call of one answer, but
# then another status than that the method is not there.
SERVED = {
    "enforcer.sock": {
        VERIFY,
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    },
    "admin.sock": {
        "enforcer.api.v1.Admin/Status",
        "enforcer.api.v1.Admin/Reload",
    },
    "ask.sock": {VERIFY},
}


def _methods(*messages: type[Message]) -> list[str]:
    """Return every method of the protos that these messages are of."""
    return [
        f"{service.full_name}/{method.name}"
        for message in messages
        for service in message.DESCRIPTOR.file.services_by_name.values()
        for method in service.methods
    ]


METHODS = [
    *_methods(
        enforcer_pb2.VerifyRequest,
        health_pb2.HealthCheckRequest,
        reflection_pb2.ServerReflectionRequest,
    ),
    "enforcer.api.v1.Verifier/verify",
    "enforcer.api.v1.Verifier/",
    "enforcer.api.v2.Verifier/Verify",
    "enforcer.api.v1.Debug/Dump",
    "grpc.channelz.v1.Channelz/GetServers",
]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Systemd]:
    with managing("enforcer.daemon") as systemd:
        systemd.home.chmod(0o755)  # as /run is
        systemd.start()
        systemd.hears(b"READY=1")
        os.chown(systemd.home / "run" / "enforcer.sock", -1, GROUP)  # as `enforcer`
        yield systemd


def _call(path: Path, who: str) -> dict[str, str]:
    uid, groups = CALLERS[who]
    done = subprocess.run(
        [*REACHING, sys.executable, "-m", "tests.caller", str(uid), groups, path],
        input="\n".join(METHODS), capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    words = done.stdout.splitlines()
    if words == [NO_CONNECTION]:
        return {}
    return dict(zip(METHODS, words, strict=True))


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("name", SERVED)
def test_each_socket_serves_its_own_methods_to_its_own_people(
    name: str, who: str, daemon: Systemd
) -> None:
    """Everybody else does not get as far as a question."""
    answers = _call(daemon.home / "run" / name, who)

    if who == "root" or (who in MEMBERS and name == "enforcer.sock"):
        assert answers.keys() == set(METHODS)
        there = {m for m, word in answers.items() if word not in NOT_THERE}
        assert there == SERVED[name]
        assert OK in answers.values()
    else:
        assert answers == {}


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("name", ["admin.sock", "ask.sock"])
def test_a_mode_too_wide_serves_nobody_more(
    name: str, who: str, daemon: Systemd
) -> None:
    """The kernel says who called; a socket's mode is the first lock, not the only."""
    path = daemon.home / "run" / name
    path.chmod(0o666)
    try:
        answers = _call(path, who)
    finally:
        path.chmod(0o600)

    if who != "root":
        assert set(answers.values()) <= {"UNAVAILABLE", NO_ANSWER}
        assert answers
    else:
        assert OK in answers.values()


def test_nothing_is_served_beside_the_sockets(daemon: Systemd) -> None:
    """No abstract names, which containers of the host's network reach; no ports.

    CVE-2020-15257. What grpcio listens on is in a folder nobody else can enter.
    """
    handles = Path(f"/proc/{daemon.pid}/fd").iterdir()
    inodes = {_opened(handle).strip("socket:[]") for handle in handles}
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    bound = {line[7] for line in unix[1:] if line[6] in inodes and len(line) > 7}
    internet = [
        line.split()[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]

    run = daemon.home / "run"
    inner = {str(run / "inner" / word) for word in ("verify", "admin")}
    assert bound == {str(run / name) for name in SERVED} | inner
    assert (run / "inner").stat().st_mode & 0o777 == 0o700
    assert not inodes & set(internet)


def _opened(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except FileNotFoundError:  # closed in the meantime
        return ""


# Greets on as many connections as it is told to, keeps them, and never asks.
_GREEDY = """
import os, socket, sys
path, uid, group, count, greeting = sys.argv[1:]
os.setgroups([int(group)])
os.setresuid(int(uid), int(uid), int(uid))
kept = []
for _ in range(int(count)):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    try:
        client.send(bytes.fromhex(greeting))
    except OSError:
        pass
    kept.append(client)
print(flush=True)
sys.stdin.read()
"""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def test_a_greedy_member_takes_no_other_members_place(daemon: Systemd) -> None:
    """T-SK-6: one user gets a quarter of the connections, however many are opened."""
    path = daemon.home / "run" / "enforcer.sock"
    with contextlib.ExitStack() as greedy:
        for uid in range(2000, 2003):
            words = [str(uid), str(GROUP), "200", GREETING.hex()]
            one = greedy.enter_context(
                subprocess.Popen(
                    ["/usr/bin/python3", "-ISc", _GREEDY, path, *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert one.stdout
            assert one.stdout.readline() == b"\n"

        member, root = (_call(path, who) for who in ("member", "root"))

    assert member[VERIFY] == root[VERIFY] == OK
