"""The gate with its real question, started as an engine would on a host in trouble.

T-HK-4 to 7 of the research notes: whatever it lacks, is given or finds in place of
enforcerd, the real runc (here: a program that needs nothing and ends with 0) runs after
a plain yes of root's daemon alone. What engines show of it is in tests/real.
"""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from enforcer.gate.render import render_gate
from tests.enforcerd import NO, YES, answering, asked, framed, somebody_answering
from tests.limits import (
    MIB,
    Lack,
    closed,
    limited,
    open_to_all,
    without_processes,
    without_readers,
)

pytestmark = pytest.mark.alone  # it measures deadlines

PROMISED_SECONDS = 5
RAN, REFUSED = 0, 1
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
Done = subprocess.CompletedProcess[bytes]


class Gate:
    """A rendered gate in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "runc"
        self.socket = folder / "ask.sock"
        self.log = folder / "log.json"
        runc = folder / "true"
        runc.symlink_to("/bin/busybox")  # static: needs no library, no descriptor
        text = render_gate(
            runc=runc,
            python=Path("/usr/bin/python3"),
            run_dir=folder,
            config_dir=folder,
            log_dir=folder,
        )
        self.file.write_text(text)
        self.file.chmod(0o755)

    def __call__(
        self,
        *words: str | bytes,
        lack: Lack | None = None,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
    ) -> Done:
        """Start it as containerd's shim does."""
        before = ["--root", "/r", "--log", str(log or self.log)]
        return subprocess.run(
            [self.file, *before, *(words or ("create", "--bundle", "/b", "id"))],
            capture_output=True,
            check=False,
            env=environment or {},
            cwd=cwd or "/",
            preexec_fn=lack,
            timeout=PROMISED_SECONDS,
        )


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def test_a_plain_yes_starts_and_a_plain_no_does_not(gate: Gate) -> None:
    """Else the tests below would show nothing."""
    with answering(gate.socket, framed(YES)):
        allowed = gate()
    with answering(gate.socket, framed(NO)):
        refused = gate()

    assert (allowed.returncode, allowed.stderr) == (RAN, b"")
    assert refused.returncode == REFUSED
    assert b"app:1 is not signed [ENF-1001]" in refused.stderr
    assert "app:1 is not signed [ENF-1001]" in gate.log.read_text()


LACKS = {
    "no input": closed(0),
    "no output": closed(1),
    "no error output": closed(2),
    "no streams": closed(0, 1, 2),
    "nobody reads": without_readers(1, 2),
    "no file may grow": limited(resource.RLIMIT_FSIZE, 0),
    "no time": limited(resource.RLIMIT_CPU, 0),
    **{f"{n} descriptors": limited(resource.RLIMIT_NOFILE, n) for n in range(1, 8)},
    **{
        f"{n} MiB of memory": limited(resource.RLIMIT_AS, n * MIB)
        for n in (1, 2, 4, 8, 12, 16, 24)
    },
    "no stack": limited(resource.RLIMIT_STACK, 64 * 1024),
}


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS)
def test_whatever_the_gate_lacks_a_no_starts_nothing(lack: Lack, gate: Gate) -> None:
    """A shell or Python that breaks half-way must never end as a yes does."""
    with answering(gate.socket, framed(NO)):
        done = gate(lack=lack)

    assert done.returncode != RAN


@ROOT
def test_where_no_process_can_be_made_nothing_starts(gate: Gate) -> None:
    """The shell cannot even begin to ask."""
    open_to_all(gate.folder)

    done = gate(lack=without_processes)

    assert done.returncode != RAN
    assert b"fork" in done.stderr


@pytest.mark.parametrize("log", ["/dev/full", "/nowhere/log.json", "/proc/version"])
def test_a_refusal_that_cannot_be_written_is_still_one(log: str, gate: Gate) -> None:
    """The disk of the bundle is full, or it is gone."""
    with answering(gate.socket, framed(NO)):
        done = gate(log=Path(log))

    assert done.returncode == REFUSED
    assert b"app:1 is not signed [ENF-1001]" in done.stderr


@pytest.mark.parametrize(("answer", "status"), [(NO, REFUSED), (YES, RAN)])
def test_an_environment_full_of_traps_changes_no_answer(
    answer: bytes, status: int, gate: Gate, tmp_path: Path
) -> None:
    """The gate has all of the engine's environment, and the bundle as its folder."""
    trap = tmp_path / "trap"
    trap.mkdir()
    modules = ("os", "time", "_socket", "sitecustomize", "usercustomize", "enforcer")
    for name in modules:
        exits = 20 if status == REFUSED else 10
        (trap / f"{name}.py").write_text(f"import posix\nposix._exit({exits})\n")
    for name in ("runc", "python3", "printf", "echo", "ls", "head"):
        (trap / name).write_text("#!/bin/sh\nexit 20\n")
        (trap / name).chmod(0o755)
    poisoned = {
        "PYTHONPATH": str(trap),
        "PYTHONHOME": str(trap),
        "PYTHONSTARTUP": str(trap / "os.py"),
        "PYTHONUSERBASE": str(trap),
        "PYTHONINSPECT": "1",
        "PYTHONPYCACHEPREFIX": str(trap),
        "LD_PRELOAD": str(trap / "missing.so"),
        "LD_LIBRARY_PATH": str(trap),
        "LC_ALL": "tr_TR.UTF-8",
        "TMPDIR": str(trap),
        "HOME": str(trap),
        "PATH": str(trap),
        "IFS": "-/",
        "ENV": str(trap / "runc"),
        "BASH_ENV": str(trap / "runc"),
        "command": "state",  # the shell's own variables
        "status": "20",
        "python": "/bin/true",
    }

    with answering(gate.socket, framed(answer)) as heard:
        done = gate(environment=poisoned, cwd=trap)

    assert done.returncode == status
    assert len(heard) == 1


def test_a_library_that_is_none_starts_nothing(gate: Gate, tmp_path: Path) -> None:
    """LD_LIBRARY_PATH is root's to set; a broken one breaks the gate, not the law."""
    (tmp_path / "libc.so.6").write_bytes(b"no library\n" * 100)

    with answering(gate.socket, framed(NO)) as heard:
        done = gate(environment={"LD_LIBRARY_PATH": str(tmp_path)})

    assert done.returncode not in (RAN, REFUSED)
    assert heard == []


@ROOT
def test_a_socket_that_is_not_roots_starts_nothing(gate: Gate) -> None:
    """Whoever could put one there would say yes."""
    with somebody_answering(gate.socket, framed(YES)):
        done = gate()

    assert done.returncode == REFUSED
    assert b"is not root's but uid 1000's" in done.stderr
    assert b"[ENF-1603]" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff" * 100,
        framed(b""),
        framed(b"\x08"),
        framed(b"\x0a\x011"),
        framed(YES)[:-1],
        framed(YES).replace(b"\0\0\0\x01\x02", b"\0\0\0\x03\x02"),
    ],
    ids=["nothing", "HTTP", "noise", "empty", "cut", "text", "short", "another's"],
)
def test_an_answer_that_is_no_yes_starts_nothing(answer: bytes, gate: Gate) -> None:
    """Hang-ups, other protocols, cut messages, the answer to another question."""
    assert answer != framed(YES)
    with answering(gate.socket, answer):
        done = gate()

    assert done.returncode == REFUSED
    assert b"[ENF-16" in done.stderr or b" []" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("create",),
        ("create", "id", "more"),
        ("create", "--bundle", "/b", "id", "--bundle=/other"),
        ("create", "--pidfd-socket", "/s", "id"),
        ("CREATE", "id"),
        ("crea", "id"),
        ("--", "--", "id"),
        ("\ncreate", "id"),
        (b"cr\xffeate", "id"),
    ],
)
def test_a_call_that_is_not_plain_is_refused_unasked(
    words: tuple[str | bytes, ...], gate: Gate
) -> None:
    """Two readers of one command line must never see two containers."""
    with answering(gate.socket, framed(YES)) as heard:
        done = gate(*words)

    assert done.returncode == REFUSED
    assert b"[ENF-1605]" in done.stderr
    assert heard == []


def test_of_two_bundles_the_one_that_runc_takes_is_asked_about(gate: Gate) -> None:
    """The last, as Go's reader has it (tests/real asks runc itself)."""
    with answering(gate.socket, framed(NO)) as heard:
        gate("create", "--bundle", "/a", "--bundle=/b/../c", "id", cwd=Path("/usr"))
        gate("create", "id", cwd=Path("/usr"))
        gate("create", "--bundle", "lib", "id", cwd=Path("/usr"))

    bundles = [b"/b/../c", b"/usr/", b"/usr/lib"]
    for question, bundle in zip(heard, bundles, strict=True):
        assert bundle in asked(question)[4]  # type: ignore[operator]
