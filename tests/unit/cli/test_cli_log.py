"""`enforcer log` and `enforcer watch`: what was decided, asked in many ways."""

import contextlib
import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.audit.log import FileAuditLog
from enforcer.cli.admin_log import FILE as ADMIN_FILE
from enforcer.cli.admin_log import record
from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.findings import SignatureReport
from enforcer.core.record import DecisionRecord
from enforcer.core.subject import Subject
from enforcer.settings import Settings
from tests.unit.cli.host import Host

# A fixture is made once for all examples; how long these take depends on the machine.
_UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
WAIT_SECONDS = 60  # a loaded two-core machine; it needs one
SIX_AGO = "six minutes ago"  # the time of day when it runs, not when it was collected
MANIFEST = Digest.of(b"manifest")
SIGNED = SignatureReport(
    Digest.of(b"envelope"), "jws", "CN=release,O=acme", (), vouches_for=("release",)
)


@cache
def now() -> datetime:
    """When a test began."""
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def _anew() -> None:
    """Others use `decided`, too, and that may be long ago."""
    now.cache_clear()


def decided(
    number: int, *, allowed: bool = False, minutes: int = 0, asked_by: str = "gate"
) -> DecisionRecord:
    """A decision about `app:NUMBER`, so many minutes ago."""
    decision = Decision(
        allowed=allowed,
        code=Code.ALLOWED if allowed else Code.UNSIGNED,
        message="said so",
        statement="everything",
        signatures=(SIGNED,) if allowed else (),
    )
    return DecisionRecord(
        id=f"{number:016}",
        decision=decision,
        asked_by=asked_by,
        reference=f"app:{number}",
        container=f"c{number}",
        subject=Subject("app", (), (), manifest=MANIFEST) if allowed else None,
        mode="enforce",
        policy=None,
        at=now() - timedelta(minutes=minutes),
        duration_ms=1.5,
    )


def log_of(host: Host) -> FileAuditLog:
    return FileAuditLog(host.root / "state" / "log" / "audit")


@pytest.fixture
def logged(host: Host) -> Host:
    """Three decisions: one of an hour ago, an allow, and one of another door."""
    log = log_of(host)
    log.append(decided(1, minutes=60))
    log.append(decided(2, minutes=5, allowed=True))
    log.append(decided(3, asked_by="cri"))
    return host


def found(host: Host, *words: str) -> list[str]:
    """References of what `log` finds, in both forms."""
    text = host.run("log", *words)
    lines = host.run("log", "-o", "json", *words).out.splitlines()
    names = [str(json.loads(line)["reference"]) for line in lines]
    assert text.status == 0, text.err
    assert all(n in line for n, line in zip(names, text.out.splitlines(), strict=True))
    return names


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [1, 2, 3]),
        (["--since", "10m"], [2, 3]),
        (["--until", "10m"], [1]),
        (["--since", "2h", "--until", "30m"], [1]),
        (["--since", SIX_AGO], [2, 3]),
        (["--image", "app:2"], [2]),
        (["--image", "app"], [1, 2, 3]),
        (["--image", str(MANIFEST)], [2]),
        (["--image", str(MANIFEST)[7:20]], [2]),
        (["--image", "nothing"], []),
        (["--signer", "release"], [2]),
        (["--signer", "O=acme"], [2]),
        (["--signer", "qa"], []),
        (["--code", "enf-1001"], [1, 3]),
        (["--code", "ENF-1001", "--code", "ENF-1000"], [1, 2, 3]),
        (["--denied"], [1, 3]),
        (["--allowed"], [2]),
        (["--asked-by", "cri"], [3]),
        (["--container", "c1"], [1]),
        (["-n", "1"], [3]),
        (["-n", "1", "--denied", "--asked-by", "gate"], [1]),
    ],
)
def test_decisions_are_found(
    logged: Host, words: Sequence[str], expected: list[int]
) -> None:
    then = f"{now() - timedelta(minutes=6):%Y-%m-%dT%H:%M:%SZ}"
    told = [then if word == SIX_AGO else word for word in words]

    assert found(logged, *told) == [f"app:{number}" for number in expected]


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "yesterday"], ["--since", "10"], ["--until", "999999w"],
        ["-n", "0"], ["-n", "x"], ["--allowed", "--denied"], ["--head", "ab"],
        ["--verify", "--head", "xyz"], ["--verify", "--admin"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_words_that_say_nothing_are_refused(logged: Host, words: list[str]) -> None:
    assert logged.run("log", *words).status == 2


def test_a_decision_is_one_line_that_says_when_who_what_and_why(logged: Host) -> None:
    first, second, _ = logged.run("log").out.splitlines()

    at = now() - timedelta(minutes=60)
    assert first == (
        f"{at:%Y-%m-%dT%H:%M:%SZ}  DENY        gate       1.5  app:1  "
        "ENF-1001  unsigned  0000000000000001"
    )
    assert second.endswith("app:2  ENF-1000  by release  0000000000000002")


def test_without_a_log_there_is_nothing_to_read(host: Host) -> None:
    done = host.run("log")

    assert (done.status, "there is no audit.jsonl in" in done.err) == (3, True)


@settings(suppress_health_check=_UNCHECKED)
@given(st.lists(st.binary(max_size=60), max_size=5), st.text(max_size=40))
def test_hostile_bytes_are_counted_and_never_shown(
    host: Host, junk: list[bytes], text: str
) -> None:
    """Whoever reads a log does so on a terminal."""
    log = log_of(host)
    log.append(replace(decided(1), reference=text, asked_by=text, container=text))
    path = host.root / "state" / "log" / "audit" / "audit.jsonl"
    path.write_bytes(path.read_bytes() + b"".join(b"%b\n" % one for one in junk))

    for words in (["log"], ["log", "-o", "json"], ["log", "--verify"]):
        done = host.run(*words)
        assert set(done.out + done.err) <= {"\n", *map(chr, range(32, 127))}
    path.unlink()


_SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["time", "reference", "signatures", "vouchesFor", "subject", "signer"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=_UNCHECKED)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "prev", "time", "code", "reference", "signatures", "subject",
                "allowed", "asked_by", "container", "id", "mode", "duration_ms",
            ]
        ),
        _SHAPES,
    )
)  # fmt: skip
def test_members_of_any_shape_crash_nothing(
    host: Host, members: dict[str, object]
) -> None:
    path = host.root / "state" / "log" / "audit" / "audit.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(members) + "\n")
    code = str(members.get("code"))

    for words in (
        [],
        ["--since", "1h", "--signer", "x", "--image", "y"],
        ["--signer", "x"],
        ["--image", "abcdef"],
        ["--code", code if code.isalnum() else "x"],
        ["-o", "json"],
        ["--verify"],
    ):
        assert host.run("log", *words).status in (0, 1)


def test_a_whole_log_is_said_to_be_whole_and_a_broken_one_where(logged: Host) -> None:
    whole = logged.run("log", "--verify")
    head = logged.run("log", "--verify", "-o", "json").json["head"]
    path = logged.root / "state" / "log" / "audit" / "audit.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)
    broken = logged.run("log", "--verify", "-o", "json")
    text = logged.run("log", "--verify")
    path.write_bytes(first + second)
    cut = logged.run("log", "--verify", "--head", f"sha256:{head}")

    assert whole.status == 0
    assert whole.out.startswith("whole: 3 lines in 1 file(s)\n")
    assert whole.out.endswith(f"head: {head}\n")
    assert (broken.status, broken.json["whole"]) == (1, False)
    assert [(b["file"], b["line"]) for b in broken.json["breaks"]] == [(str(path), 2)]
    assert text.out.startswith(f"BROKEN  {path}:2: the line it was written after")
    assert cut.status == 1
    assert f"the line that was asked for ({head[:12]}) is not there" in cut.out


def test_what_root_did_is_shown_too(host: Host) -> None:
    host.run(
        "policy", "break-glass", "sha256:" + "a" * 64, "--reason", "ticket \x1b[2J"
    )

    done = host.run("log", "--admin")
    members = json.loads(host.run("log", "--admin", "-o", "json").out)

    assert (done.status, members["what"]) == (0, "break-glass")
    assert f"{members['time']}  break-glass  uid {os.getuid()}  " in done.out
    assert "\x1b" not in done.out
    assert host.run("log", "--admin", "--until", "1h").out == ""


def _interruptible() -> None:
    """Be as a shell starts what people see: a test run may have been put aside."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def watching(host: Host, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `watch` as a program, and wait until it looks."""
    with subprocess.Popen(
        [sys.executable, "-m", "enforcer", *host.folders(), "watch", "-n", "9", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        preexec_fn=_interruptible,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_line_that_a_full_disk_cut_spoils_no_other(host: Host) -> None:
    """What root did next would be on record, and not to be read."""
    state = host.root / "state"
    ours = Settings(state, state, state, state)
    record(ours, "one")
    path = state / ADMIN_FILE
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(EnforcerError, match="No space left on device"):
            record(ours, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    record(ours, "three")

    lines = [json.loads(line)["what"] for line in path.read_text().splitlines()]
    assert lines == ["one", "three"]


def test_decisions_are_shown_as_they_are_made(host: Host) -> None:
    log = log_of(host)
    log.append(decided(1))
    with watching(host, "-o", "jsonl", "--denied") as process:
        assert process.stdout
        seen = [json.loads(process.stdout.readline())["reference"]]
        log.append(decided(2, allowed=True))
        log.append(decided(3))
        seen.append(json.loads(process.stdout.readline())["reference"])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_SECONDS)

    assert seen == ["app:1", "app:3"]
    assert (process.returncode, err) == (130, "")


def test_a_reader_that_has_left_is_noticed_without_a_word(host: Host) -> None:
    """`watch | head -1` on a quiet host must not stay for ever."""
    log_of(host).append(decided(1))
    with watching(host) as process:
        assert process.stdout
        assert "app:1" in process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=WAIT_SECONDS)
        assert process.stderr
        assert process.stderr.read() == ""


def test_only_a_terminal_gets_a_header(host: Host) -> None:
    log_of(host).append(decided(1))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "enforcer", *host.folders(), "watch", "-n", "1"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=theirs, env=env, preexec_fn=_interruptible
    ) as process:
        os.close(theirs)
        read, until = b"", time.monotonic() + WAIT_SECONDS
        while b"app:1" not in read and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                read += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WAIT_SECONDS)
        process.kill()
    os.close(ours)
    with watching(host) as piped:
        assert piped.stdout
        first = piped.stdout.readline()

    assert read.startswith(b"TIME ")
    assert "app:1" in first
