"""doctor as a whole: whatever a check does, the report says so and comes in time."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enforcer.core.codes import PAGES, Code
from enforcer.host.doctor import Finding, Look, Severity, examine
from enforcer.host.doctor.ask import call_http, fetch_json, run_program
from enforcer.host.doctor.finding import UnseenError
from enforcer.host.doctor.look import Look as RealLook
from enforcer.host.processes import (
    Process,
    holders,
    listening,
    load_process,
    parent_of,
    server_of,
)
from enforcer.settings import EngineSettings
from tests.unit.host.looks import look_at, settings


def _well(look: Look) -> Iterator[Finding | str]:
    yield "all is well"


def _breaks(look: Look) -> Iterator[Finding | str]:
    yield Finding(Code.GATE_GONE, "engine", "seen before it broke", "mend it")
    raise KeyError("an answer nobody expected")


def _misses(look: Look) -> Iterator[Finding | str]:
    yield Path("/nowhere/at/all").read_text()


def _hangs(look: Look) -> Iterator[Finding | str]:
    time.sleep(60)
    yield "too late"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (_breaks, "could not find out: KeyError"),
        (_misses, "could not find out: No such file or directory /nowhere/at/all"),
        (_hangs, "looking took longer than 3 s"),
    ],
)
def test_a_check_that_cannot_look_is_a_finding_and_spoils_no_other(
    check: Callable[[Look], Iterator[Finding | str]], words: str, tmp_path: Path
) -> None:
    """Silence would look like health, and one broken engine would hide another."""
    report = examine(
        look_at(tmp_path),
        {"odd": check, "good": _well},
        check_seconds=3,  # the others need none of it, but the machine may
    )

    assert report.checked == (("good", "all is well"),)
    (unseen,) = [f for f in report.findings if f.code is Code.UNSEEN]
    assert (unseen.subject, unseen.severity) == ("odd", Severity.FAILURE)
    assert words in unseen.what
    assert report.only_unseen == (check is not _breaks)


def test_what_an_engine_says_cannot_write_to_the_terminal() -> None:
    """T-PA: names carry escapes, and some are megabytes."""
    finding = Finding(Code.OTHER_RUNTIME, "x\x1b[2J", "a\nb\u202e", "y" * 10_000)

    shown = finding.subject + finding.what + finding.remedy
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 2000
    assert finding.consequence == PAGES[Code.OTHER_RUNTIME][0]


def test_the_same_finding_about_the_same_thing_is_said_once(tmp_path: Path) -> None:
    def check(look: Look) -> Iterator[Finding | str]:
        yield Finding(Code.WRITABLE, "/usr/sbin/runc", "it is", "chmod")

    report = examine(look_at(tmp_path), {"one": check, "two": check})

    assert len(report.findings) == 1


# --- questions ------------------------------------------------------------------------


Answer = Callable[[socket.socket], object]
Serve = Callable[[Answer], Path]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Serve]:
    """Serve one connection with whatever the test says."""
    listeners: list[socket.socket] = []

    def serve(answer: Answer) -> Path:
        path = tmp_path / f"{len(listeners)}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        listeners.append(listener)

        def run() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                answer(client)

        threading.Thread(target=run, daemon=True).start()
        return path

    yield serve
    for listener in listeners:
        listener.close()


def _says(raw: bytes) -> Answer:
    return lambda client: client.sendall(raw)


def _trickles(client: socket.socket) -> None:
    for _ in range(1000):
        try:
            client.sendall(b"H")
        except OSError:
            return
        time.sleep(0.05)


def _without_end(client: socket.socket) -> None:
    try:
        while True:  # until the other side has enough
            client.sendall(b"HTTP/1.0 200 OK\r\n" * 4096)
    except OSError:
        return


HEAD = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        _says(b""), _says(b"SSH-2.0-x\r\n"), _says(b"HTTP/1.0 500 no\r\n\r\n{}"),
        _says(HEAD), _says(HEAD + b"[]"), _says(HEAD + b'{"a":1,"a":2}'),
        _says(HEAD + b"\xff"), _says(HEAD + b"[" * 100_000), _trickles, _without_end,
        lambda _: time.sleep(60),
    ],
    ids=["nothing", "ssh", "500", "empty", "a list", "twice", "no UTF-8", "deep",
         "a byte at a time", "without end", "silence"],
)  # fmt: skip
def test_a_strange_answer_is_an_error_of_ours_and_in_time(
    answer: Answer, answering: Serve
) -> None:
    """T-EN: what answers on an engine's socket may be anything."""
    path = answering(answer)
    began = time.monotonic()

    with pytest.raises(UnseenError):
        fetch_json(path, "/info", seconds=1)

    assert time.monotonic() - began < 15


def test_an_answer_in_one_piece_is_read(
    answering: Serve,
) -> None:
    path = answering(_says(HEAD + b'{"Driver": "overlay2"}'))

    assert fetch_json(path, "/info") == {"Driver": "overlay2"}


def test_nobody_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UnseenError, match="No such file"):
        call_http(tmp_path / "none.sock", "GET", "/")


@pytest.mark.parametrize(
    ("script", "words"),
    [("sleep 60", "cannot be run"), ("exec yes", "cannot be run|4 MiB")],
)
def test_a_program_that_does_not_end_is_ended(script: str, words: str) -> None:
    with pytest.raises(UnseenError, match=words):
        run_program(["/bin/sh", "-c", script], seconds=1)


def test_a_program_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(UnseenError, match="cannot be run"):
        run_program(["/nowhere/containerd"])


# --- processes ------------------------------------------------------------------------


def test_a_process_is_found_by_what_it_serves_and_holds(tmp_path: Path) -> None:
    """By name would be anybody's choice."""
    with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "db").open("w"):
        listener.bind(str(tmp_path / "x.sock"))
        listener.listen()
        (tmp_path / "link").hardlink_to(tmp_path / "db")

        assert server_of(tmp_path / "x.sock") == os.getpid()
        assert os.getpid() in holders(tmp_path / "link")
        assert tmp_path / "x.sock" in listening(os.getpid())
    assert os.getpid() not in holders(tmp_path / "db")
    assert parent_of(os.getpid()) == os.getppid()


def test_a_process_is_read_as_it_was_started() -> None:
    env = {"PATH": "/a::/b", "XPATH": "/c"}
    words = [sys.executable, "-c", "input()", "--config=/x", "-D", "1"]
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE) as child:
        time.sleep(0.2)  # until it is that program, and no copy of ours
        process = load_process(child.pid)
        child.communicate(b"\n")

    assert process.folders == ("/a", "/b")
    assert process.arguments == tuple(words)
    assert process.options("-c", "--config") == ["input()", "/x"]
    assert process.program == Path(sys.executable).resolve()
    assert process.uid == os.geteuid()
    assert process.option("--config") == "/x"
    assert process.option("--none") == ""


def test_a_process_is_older_than_what_was_written_since(tmp_path: Path) -> None:
    """An engine reads its files but once."""
    words = [sys.executable, "-c", "input()"]
    (tmp_path / "before").touch()
    with subprocess.Popen(words, stdin=subprocess.PIPE) as child:
        time.sleep(1.3)
        (tmp_path / "after").touch()
        process = load_process(child.pid)
        child.communicate(b"\n")

    assert not process.is_older_than(tmp_path / "before")
    assert process.is_older_than(tmp_path / "after")


@pytest.mark.parametrize("arguments", [("d",), ("d", "--config"), ("d", "-c=")])
def test_an_option_without_a_value_is_none(arguments: tuple[str, ...]) -> None:
    assert Process(1, arguments, ()).option("-c", "--config") == ""


def test_an_engine_that_does_not_run_is_absent_and_not_well(tmp_path: Path) -> None:
    """Each time it is asked for, and without waiting a second time."""
    host = settings(tmp_path, "containerd", "docker")
    for engine in host.engines:
        engine.root.mkdir()
    look = RealLook(host, look_at(tmp_path).clock)

    for engine in (*host.engines, *host.engines):
        with pytest.raises(UnseenError) as caught:
            look.process(engine)
        assert caught.value.finding.code is Code.ENGINE_ABSENT


def test_an_engine_without_a_trace_is_not_looked_for(tmp_path: Path) -> None:
    """The default settings list Docker and containerd; few hosts have both."""
    host = settings(tmp_path, "containerd", "docker")
    host.engines[0].root.mkdir()

    kinds = [
        engine.kind for engine in RealLook(host, look_at(tmp_path).clock).engines()
    ]

    assert kinds == ["containerd"]


def test_two_engines_with_one_root_are_named(tmp_path: Path) -> None:
    """Which of them asks, nobody could tell."""
    host = settings(tmp_path, "containerd")
    twin: EngineSettings = replace(host.engines[0], socket=tmp_path / "other.sock")
    host.engines[0].root.mkdir()
    look = RealLook(
        replace(host, engines=(*host.engines, twin)), look_at(tmp_path).clock
    )

    report = examine(look)

    assert Code.ENGINES_WRONG in {finding.code for finding in report.findings}


def test_the_command_ends_with_4_where_the_settings_cannot_be_used(
    tmp_path: Path,
) -> None:
    """Nobody knows where to look then, and nothing may seem well."""
    (tmp_path / "enforcer.yaml").write_text("apiVersion: enforcer/v1\nmoed: enforce\n")
    words = ["--config-dir", str(tmp_path), "doctor", "-o", "json"]

    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *words], capture_output=True, text=True
    )

    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["code"]) == (4, "ENF-2166")
    assert "moed" in finding["what"]
