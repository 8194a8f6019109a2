"""The verifier of pulls: the program containerd starts, with every way to fail.

It is the real shell file with the real interpreter; who answers it is a small server
here. What containerd makes of it is in tests/real/test_bindir.py.
"""

import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import ttrpc
from enforcer.gate import ask, pull
from enforcer.gate.render import render_verifier
from tests.enforcerd import NO, YES, answering, asked, framed, somebody_answering
from tests.limits import MIB, closed, limited, open_to_all, without_processes

NAME = "127.0.0.1:5000/app:1"
DIGEST = "sha256:" + "a" * 64
CALL = ["-name", NAME, "-digest", DIGEST, "-stdin-media-type", pull.DESCRIPTOR]
INPUT = json.dumps(
    {"mediaType": "a/b", "digest": DIGEST, "size": 7}, separators=(",", ":")
).encode()
SYSTEM_PYTHON = Path("/usr/bin/python3")
CONTAINERDS_LIMIT_SECONDS = 10  # per_verifier_timeout, where nobody changes it
PROMISED_SECONDS = 5
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
Done = subprocess.CompletedProcess[bytes]


class Verifier:
    """A rendered verifier in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "00-enforcer"
        self.socket = folder / "ask.sock"
        self.write()

    def write(self, python: Path = SYSTEM_PYTHON) -> None:
        """Put it in place, with some interpreter or other."""
        text = render_verifier(
            python=python,
            run_dir=self.folder,
            config_dir=self.folder,
            log_dir=self.folder,
        )
        self.file.write_text(text)
        self.file.chmod(0o755)

    def __call__(
        self,
        *words: str | bytes,
        given: bytes | int = INPUT,
        environment: dict[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Start it as containerd does; `given` is its input, or where that is from."""
        return subprocess.run(
            [self.file, *(words or CALL)],
            input=given if isinstance(given, bytes) else None,
            stdin=given if isinstance(given, int) else None,
            capture_output=True,
            check=False,
            env=environment or {},
            cwd=cwd or "/",
            preexec_fn=prepare,
            timeout=CONTAINERDS_LIMIT_SECONDS,
        )


@pytest.fixture
def verifier(tmp_path: Path) -> Verifier:
    return Verifier(tmp_path)


def _reason(done: Done) -> str:
    """The one line people are shown."""
    text = done.stdout.decode("ascii")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[:-1]


def test_a_plain_yes_pulls(verifier: Verifier) -> None:
    """It asks for one name and one digest, and says which door it is."""
    with answering(verifier.socket, framed(YES)) as heard:
        done = verifier()

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    told = {1: b"bindir", 2: NAME.encode(), 3: DIGEST.encode(), 7: b""}
    assert asked(heard[0]) == told


def test_a_no_is_one_line_with_the_reason(verifier: Verifier) -> None:
    """containerd puts it, as it is, into what the user reads."""
    with answering(verifier.socket, framed(NO)):
        done = verifier()

    assert done.returncode == ask.REFUSED
    assert _reason(done) == (
        "enforcer: app:1 is not signed [ENF-1001]; next: enforcer explain 06H0"
    )


def test_a_reason_reaches_no_terminal_raw(verifier: Verifier) -> None:
    """containerd passes on whatever it is given, and cuts at 32 KiB."""
    hostile = "\x1b[2Jallowed\r\n\u202e\x00" + "x" * 40_000
    answer = framed(ttrpc.encode_fields((2, "ENF-1001"), (3, hostile)))

    with answering(verifier.socket, answer):
        done = verifier()

    assert done.returncode == ask.REFUSED
    assert _reason(done).isprintable()
    assert len(done.stdout) < 32 * 1024


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "ENF-1601"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "ENF-1604"),
        (b"\xff" * 100, "ENF-1604"),
        (framed(b"\x08"), "ENF-1604"),
        (framed(b"\x0a\x011"), "ENF-1604"),
        (framed(b""), "[]"),  # not allowed, and not why
        (framed(ttrpc.encode_fields((1, 2))), "[]"),
    ],
)
def test_an_answer_that_is_no_yes_is_a_no(
    answer: bytes, code: str, verifier: Verifier
) -> None:
    """Hang-ups, another protocol, cut messages, numbers that are no truth value."""
    with answering(verifier.socket, answer):
        done = verifier()

    assert done.returncode == ask.REFUSED
    assert code in _reason(done)


@pytest.mark.alone
def test_without_a_daemon_nothing_is_pulled(verifier: Verifier) -> None:
    """In time, with what to do."""
    began = time.monotonic()
    done = verifier()

    assert time.monotonic() - began < PROMISED_SECONDS
    assert done.returncode == ask.REFUSED
    assert _reason(done) == (
        f"enforcer: enforcerd cannot be reached on {verifier.socket} (No such file or "
        "directory), so nothing is pulled [ENF-1601]; next: systemctl status enforcer"
    )


@pytest.mark.alone
def test_a_hung_daemon_is_not_waited_for(verifier: Verifier) -> None:
    """containerd itself would wait ten seconds."""
    began = time.monotonic()
    with answering(verifier.socket, None):
        done = verifier()

        assert time.monotonic() - began < PROMISED_SECONDS
    assert done.returncode == ask.REFUSED
    assert (
        "so nothing is pulled [ENF-1602]; next: systemctl restart enforcer"
        in _reason(done)
    )


@ROOT
def test_a_socket_that_is_not_roots_says_nothing_of_worth(verifier: Verifier) -> None:
    """Whoever could put one there would say yes."""
    with somebody_answering(verifier.socket, framed(YES)):
        done = verifier()

    assert done.returncode == ask.REFUSED
    assert "is not root's but uid 1000's" in _reason(done)
    assert "[ENF-1603]" in _reason(done)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-h"],
        CALL[:4],
        [*CALL, "-name", "other:1"],
        [*CALL, "more"],
        ["--name", *CALL[1:]],
        ["-na", *CALL[1:]],
        [f"-name={NAME}", *CALL[2:]],
        ["-name", "a", "-name", *CALL[1:4]],
        ["-name", "", *CALL[2:]],
        ["-name", "app\n:1", *CALL[2:]],
        ["-name", " app:1", *CALL[2:]],
        ["-name", "app\u202e:1", *CALL[2:]],
        ["-name", "a" * 2000, *CALL[2:]],
        [*CALL[:5], "application/json"],
        [*CALL[:5], ""],
        ["-name", b"app\xff:1", *CALL[2:]],
    ],
)
def test_arguments_that_are_not_containerds_are_refused(
    words: list[str | bytes], verifier: Verifier
) -> None:
    """Twice the same flag, a part of one, a value glued on: two readers, two images."""
    with answering(verifier.socket, framed(YES)) as heard:
        done = verifier(*words) if words else _without_arguments(verifier)

    assert done.returncode == ask.REFUSED
    assert "[ENF-1551]" in _reason(done)
    assert heard == []


def _without_arguments(verifier: Verifier) -> Done:
    return subprocess.run(
        [verifier.file], input=INPUT, capture_output=True, check=False, env={}
    )


@given(st.lists(st.text(max_size=20) | st.sampled_from(CALL), max_size=8))
def test_any_other_arguments_are_a_refusal(argv: list[str]) -> None:
    """And nothing else: no exception, no guess."""
    with contextlib.suppress(ask.RefusalError):
        found = pull.parse_call(argv)

        named = dict(zip(argv[::2], argv[1::2], strict=True))
        assert found == (named["-name"], named["-digest"])


@pytest.mark.parametrize(
    "given_",
    [
        b"",
        b"{}",
        INPUT.replace(b"a" * 64, b"b" * 64),
        INPUT[:40],
        json.dumps({"note": f'"digest":"{DIGEST}"'}).encode(),
        b" " * (1024 * 1024) + INPUT,
    ],
    ids=["nothing", "empty", "another", "cut", "quoted", "a mebibyte"],
)
def test_input_about_something_else_is_refused(
    given_: bytes, verifier: Verifier
) -> None:
    """What containerd says twice has to be the same."""
    with answering(verifier.socket, framed(YES)) as heard:
        done = verifier(given=given_)

    assert done.returncode == ask.REFUSED
    assert "[ENF-1551]" in _reason(done)
    assert heard == []


@pytest.mark.alone
def test_an_input_that_does_not_end_is_not_waited_for(verifier: Verifier) -> None:
    """Whoever holds the other end of the pipe must not hold up the pull."""
    reads, writes = os.pipe()
    try:
        os.write(writes, INPUT)
        began = time.monotonic()
        done = verifier(given=reads)
    finally:
        os.close(reads)
        os.close(writes)

    assert time.monotonic() - began < PROMISED_SECONDS
    assert done.returncode == ask.REFUSED
    assert "input that does not end" in _reason(done)


@pytest.mark.parametrize(
    "prepare",
    [
        closed(0),
        limited(resource.RLIMIT_NOFILE, 3),
        limited(resource.RLIMIT_AS, 4 * MIB),
        limited(resource.RLIMIT_CPU, 0),
    ],
    ids=["no input", "no descriptors", "no memory", "no time"],
)
def test_a_verifier_that_cannot_work_is_a_no(
    prepare: Callable[[], None], verifier: Verifier
) -> None:
    """With a daemon that would say yes, so that only its own fault refuses."""
    with answering(verifier.socket, framed(YES)):
        done = verifier(prepare=prepare)

    assert done.returncode != 0


@ROOT
def test_where_no_process_can_be_made_nothing_is_pulled(verifier: Verifier) -> None:
    """The shell cannot even begin to ask."""
    open_to_all(verifier.folder)

    done = verifier(prepare=without_processes)

    assert done.returncode != 0
    assert b"fork" in done.stderr


@pytest.mark.parametrize("handles", [(1,), (2,), (1, 2)])
def test_a_reader_that_is_gone_changes_no_answer(
    handles: tuple[int, ...], verifier: Verifier
) -> None:
    """No reason can be given then; the pull is refused, or allowed, as before."""
    with answering(verifier.socket, framed(NO)):
        refused = verifier(prepare=closed(*handles))
    with answering(verifier.socket, framed(YES)):
        allowed = verifier(prepare=closed(*handles))

    assert (refused.returncode, allowed.returncode) == (ask.REFUSED, 0)


def test_an_environment_full_of_traps_changes_nothing(
    verifier: Verifier, tmp_path: Path
) -> None:
    """The verifier has all of containerd's environment, and its working folder."""
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("os", "time", "select", "sitecustomize", "usercustomize", "enforcer"):
        (trap / f"{name}.py").write_text("import posix\nposix._exit(20)\n")
    poisoned = {
        "PYTHONPATH": str(trap),
        "PYTHONHOME": str(trap),
        "PYTHONSTARTUP": str(trap / "os.py"),
        "PYTHONUSERBASE": str(trap),
        "PYTHONINSPECT": "1",
        "LD_LIBRARY_PATH": str(trap),
        "LC_ALL": "tr_TR.UTF-8",
        "TMPDIR": str(trap),
        "PATH": str(trap),
        "IFS": "-/",
        "ENV": str(trap / "os.py"),
        "BASH_ENV": str(trap / "os.py"),
    }

    with answering(verifier.socket, framed(NO)):
        done = verifier(environment=poisoned, cwd=trap)

    assert done.returncode == ask.REFUSED
    assert "app:1 is not signed [ENF-1001]" in _reason(done)


@pytest.mark.parametrize(
    "body",
    ["exit 0", "", "exit 1", "exit 127", "kill -9 $$", "kill -SEGV $$", "echo yes"],
)
def test_an_interpreter_that_fails_in_any_way_is_a_no(
    body: str, verifier: Verifier, tmp_path: Path
) -> None:
    """Even one that ends well: a program that was cut off does that, too."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    verifier.write(python)

    done = verifier()

    assert done.returncode == 1
    assert b"so nothing is pulled; install enforcer again [ENF-1605]\n" in done.stdout


def test_a_missing_interpreter_is_a_no_unless_root_only_watches(
    verifier: Verifier, tmp_path: Path
) -> None:
    """As at the gate: monitor mode is root's word alone."""
    verifier.write(tmp_path / "no-python")

    refused = verifier()
    (tmp_path / "gate.conf").write_text("mode=monitor\n")
    watched = verifier()
    (tmp_path / "gate.conf").chmod(0o666)
    anybodys = verifier()

    assert [d.returncode for d in (refused, watched, anybodys)] == [1, 0, 1]


@pytest.mark.parametrize(("mode", "status"), [("monitor", 0), ("enforce", 10)])
def test_monitor_mode_takes_both_words(
    mode: str, status: int, verifier: Verifier, tmp_path: Path
) -> None:
    """gate.conf and the daemon's own mode have to agree."""
    (tmp_path / "gate.conf").write_text("mode=monitor\n")

    with answering(verifier.socket, framed(NO + ttrpc.encode_fields((10, mode)))):
        done = verifier()

    assert done.returncode == status


def test_in_monitor_mode_what_the_daemon_cannot_record_is_kept(
    verifier: Verifier, tmp_path: Path
) -> None:
    """Else nobody would know what a switch to enforce would refuse."""
    (tmp_path / "gate.conf").write_text("mode=monitor\n")

    done = verifier()

    assert done.returncode == 0
    assert (
        "would refuse: enforcer: enforcerd cannot be reached"
        in (tmp_path / "gate.log").read_text()
    )
