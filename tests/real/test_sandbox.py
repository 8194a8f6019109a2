"""enforcerd under its unit's sandbox, as every test on a real engine runs it.

What it judges is hostile. So it is shown here what is left to whoever takes it over:
neither an engine nor the network, nor a way to become somebody.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.engines.enforced import USER
from tests.engines.service import UNITS
from tests.real.door import ask_image
from tests.real.stage import Stage, containerd_stage, docker_stage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox needs root")

# Each call as a program would make it. What it says is the errno's name, or "done".
PROBES = {
    "become root": "os.setuid(0)",
    "give a file away": "os.chown(file, 0, 0)",
    "make a setuid file": "os.chmod(file, 0o4755)",
    "mount": "call('mount', b'none', b'/mnt', b'tmpfs', 0, 0)",
    "a user namespace": "call('unshare', 0x10000000)",
    "a namespace of somebody": "call('setns', os.open('/proc/self/ns/net', 0), 0)",
    "a child with namespaces": "call('syscall', 56, 0x10000011, 0, 0, 0, 0)",
    "the internet": "socket.socket(socket.AF_INET)",
    "a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "the kernel's": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "trace": "call('ptrace', 16, os.getppid(), 0, 0)",
    "load a module": "call('syscall', 175, 0, 0, b'')",
    "a bpf program": "call('syscall', 321, 0, 0, 0)",
    "a key ring": "call('syscall', 250, 0, 0, 0, 0, 0)",
    "another personality": "call('personality', 0x0400000)",
    "set the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "a priority": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "memory to write and run": "mmap.mmap(-1, 4096, prot=7)",
    "write where it keeps nothing": "open('/tmp/enforcer-probe', 'w')",
    "write where only root may": "open(sys.argv[2] + '/ask.sock.new', 'w')",
    "run what it wrote": "os.execv(script, [script])",
    "a process of somebody else's": "os.listdir('/proc/1')",
}
PERMITTED = {
    "a unix socket": "socket.socket(socket.AF_UNIX)",
    "a file of its own": "open(file, 'w')",
    "a thread": "threading.Thread(target=int).start()",
    "a child": "subprocess.run(['/bin/true'], check=True)",
}
_PROBE = """
import ctypes, errno, json, mmap, os, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *words):
    if getattr(libc, name)(*words) < 0:
        raise OSError(ctypes.get_errno(), "")
file, script = sys.argv[1] + "/probe", sys.argv[1] + "/script"
open(file, "w").close()
open(script, "w").write("#!/bin/sh\\n")
os.chmod(script, 0o755)
said = {}
for name, code in json.loads(sys.argv[3]).items():
    try:
        exec(code)
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def stage(engines: Path) -> Iterator[Stage]:
    with containerd_stage() as stage:
        yield stage


def inside(stage: Stage, probes: dict[str, str]) -> dict[str, str]:
    """Run probes as enforcerd runs: the same launcher, unit, user and folders."""
    state = stage.host.state
    unit = UNITS / "enforcer.service"
    options = (f"--unit={unit}", f"--user={USER}", f"--writable={state}")
    launcher = (sys.executable, "-m", "tests.service", *options, "--")
    done = subprocess.run(
        [*launcher, *_words(state, stage.host.run, probes)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said: dict[str, str] = json.loads(done.stdout)
    return said


def test_what_the_unit_forbids_fails_inside(stage: Stage) -> None:
    """The filter is on: the very calls, not the number of a line in /proc."""
    said = inside(stage, PROBES)

    others = {
        "write where it keeps nothing": "EROFS",
        "write where only root may": "EROFS",
        "run what it wrote": "EACCES",
        "a process of somebody else's": "ENOENT",
        "memory to write and run": "EACCES",
    }
    assert said == dict.fromkeys(PROBES, "EPERM") | others


def test_what_enforcerd_needs_works_inside(stage: Stage) -> None:
    """Or the test above would pass where nothing works."""
    assert inside(stage, PERMITTED) == dict.fromkeys(PERMITTED, "done")


def test_the_same_probes_succeed_outside(tmp_path: Path) -> None:
    """What fails inside does so because of the sandbox, not of this machine."""
    names = ("become root", "give a file away", "the internet", "a user namespace")
    words = _words(tmp_path, tmp_path, {name: PROBES[name] for name in names})

    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(done.stdout) == dict.fromkeys(names, "done")


def _words(folder: Path, run: Path, probes: dict[str, str]) -> list[str]:
    return [sys.executable, "-c", _PROBE, str(folder), str(run), json.dumps(probes)]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (x.partition(":") for x in lines)}


def test_the_processes_are_who_their_units_say(stage: Stage) -> None:
    """No right of root's in one, two in the other, and a filter on both."""
    judge, resolver = _status(stage.host.pid), _status(stage.host.resolver.pid)

    assert set(judge["Uid"].split() + judge["Gid"].split()) == {str(USER)}
    assert judge["Groups"] == ""
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(judge[name], 16) == 0
    assert resolver["Uid"].split() == ["0"] * 4
    assert int(resolver["CapBnd"], 16) == 1 << 2 | 1 << 19  # DAC_READ_SEARCH, PTRACE
    for status in (judge, resolver):
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for name in ("net", "mnt", "ipc", "uts"):
        ours = Path(f"/proc/self/ns/{name}").readlink()
        for pid in (stage.host.pid, stage.host.resolver.pid):
            assert Path(f"/proc/{pid}/ns/{name}").readlink() != ours


# -- no engine -------------------------------------------------------------------------


def _connects(stage: Stage, paths: Sequence[Path]) -> dict[str, str]:
    code = "socket.socket(socket.AF_UNIX).connect({!r})"
    return inside(stage, {str(path): code.format(str(path)) for path in paths})


def test_no_engines_socket_can_be_opened_by_it(stage: Stage, engines: Path) -> None:
    """Who may open one is root in effect: containerd starts what it is told to."""
    with docker_stage("containerd") as docker:
        sockets = [stage.containerd.socket, docker.docker.socket]
        sockets.append(docker.docker.containerd.socket)
        for socket in sockets:
            assert socket.is_socket()
        found = _connects(stage, sockets)
        own = _connects(stage, [stage.host.run / "resolver.sock"])

    assert set(found.values()) == {"EACCES"}
    assert set(own.values()) == {"done"}


@pytest.mark.parametrize("name", ["admin.sock", "ask.sock"])
def test_what_is_roots_alone_is_not_its(name: str, stage: Stage) -> None:
    """It serves there, and could not ask there as if it were root."""
    assert set(_connects(stage, [stage.host.run / name]).values()) == {"EACCES"}


def test_it_judges_without_an_engines_socket_among_its_files(stage: Stage) -> None:
    """Not opened, not inherited: containerd has no connection but the resolver's."""
    image = stage.image("hello")
    stage.sign(image)
    assert stage.run(image).returncode == 0

    judge, resolver = _seen_by(stage.host.pid), _seen_by(stage.host.resolver.pid)

    assert str(stage.containerd.socket) in resolver
    assert str(stage.host.run / "resolver.sock") in judge
    assert str(stage.containerd.socket) not in judge


def test_without_the_resolver_it_knows_nothing_and_refuses(stage: Stage) -> None:
    """There is no other way to an engine, and none is an answer of its own (law 1)."""
    image = stage.image("hello")
    stage.sign(image)

    stage.host.resolver.kill()
    try:
        refused, asked = stage.run(image), ask_image(stage, image.full)
    finally:
        stage.host.start_resolver()
    allowed = stage.run(image)

    assert refused.returncode != 0
    assert "[ENF-1113]" in refused.stderr
    assert "systemctl status enforcer-resolver" in refused.stderr
    assert asked.code == "ENF-1113"
    assert allowed.returncode == 0


def _seen_by(pid: int) -> str:
    """Return the unix sockets of a process's network, and whom they are connected to.

    The end at the server is of the network it was called from (unix(7)).
    """
    return Path(f"/proc/{pid}/net/unix").read_text()
