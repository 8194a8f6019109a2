"""`verify --exec`: what CMD reads is what was signed, or CMD does not run."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines.enforced import EnforcedHost
from tests.engines.registry import running_registry
from tests.real.artifacts import Artifact, Maker, blob_of
from tests.real.stage import Done, said

ROUNDS = 300 if os.environ.get("ENFORCER_SOAK") else 15
NOT_RUN, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
RAN = "this was run"

# Says what a program finds: what it was given, and what it was started with.
_LOOK = """
import fcntl, hashlib, json, os, signal, sys
raw = open(sys.argv[1], "rb").read()
print(json.dumps({
    "digest": hashlib.sha256(raw).hexdigest(),
    "handles": sorted(int(n) for n in os.listdir("/proc/self/fd")),
    "environment": dict(os.environ), "folder": os.getcwd(),
    "groups": os.getgroups(), "umask": os.umask(0), "words": sys.argv[2:],
    "ignored": [l for l in open("/proc/self/status") if l.startswith("SigIgn")],
}))
"""


@pytest.fixture(scope="module")
def host(engines: Path) -> Iterator[EnforcedHost]:
    with EnforcedHost() as host:
        yield host


@pytest.fixture
def maker(host: EnforcedHost, tmp_path: Path) -> Maker:
    return Maker(host, tmp_path)


@pytest.fixture
def firmware(maker: Maker) -> Artifact:
    firmware = maker.firmware()
    maker.sign(firmware)
    return firmware


def command(host: EnforcedHost, *words: str | Path) -> list[str]:
    python = [sys.executable, "-m", "enforcer", *host.folders]
    return [*python, "verify", *map(str, words)]


def execute(host: EnforcedHost, artifact: Artifact, *words: str) -> Done:
    scope = ("--scope", artifact.scope)
    return host.enforcer(
        "verify", artifact.target, *scope, "--exec", *words, check=False
    )


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def test_a_program_gets_the_signed_bytes_and_nothing_else_of_ours(
    host: EnforcedHost, firmware: Artifact, tmp_path: Path
) -> None:
    """It is run as if whoever called us had run it, with one more descriptor.

    As `env` would: same environment, folder, groups, umask and ignored signals.
    """
    program = tmp_path / "look.py"
    program.write_text(_LOOK)
    look = ["/usr/bin/python3", "-ISE", str(program)]
    ours = command(host, firmware.target, "--scope", firmware.scope, "--exec", *look)
    plain = tmp_path / "plain"
    plain.write_bytes(firmware.payload)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), "A": "b=c"}
    found = [
        json.loads(
            subprocess.run(
                words, env=environment, cwd=Path.cwd(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, check=True, timeout=60,
                extra_groups=[4711],
            ).stdout
        )
        for words in ([*ours, "{}", "-o", "x{}"], [*look, str(plain), "-o", "x"])
    ]  # fmt: skip

    given, alone = found
    assert given["digest"] == sha256(firmware.payload)
    (more,) = set(given.pop("handles")) - set(alone.pop("handles"))
    assert given.pop("words") == ["-o", f"x/proc/self/fd/{more}"]
    alone.pop("words")
    assert given == alone


def test_the_target_may_be_the_last_word(
    host: EnforcedHost, firmware: Artifact
) -> None:
    words = ("--scope", firmware.scope, "--exec", "sha256sum", "{}", firmware.target)

    done = host.enforcer("verify", *words)

    assert done.stdout.split()[0] == sha256(firmware.payload)


def test_a_verified_program_can_be_run_itself(host: EnforcedHost, maker: Maker) -> None:
    """An installer that is signed needs no file of its own to be run from."""
    installer = maker.firmware(Path("/bin/echo").read_bytes(), "installer")
    maker.sign(installer)

    assert execute(host, installer, "{}", RAN).stdout == f"{RAN}\n"


def test_the_exit_status_is_the_programs_own(
    host: EnforcedHost, firmware: Artifact
) -> None:
    """And tells apart what ran from what did not, as env and timeout do."""
    own = [execute(host, firmware, "sh", "-c", f"exit {n}", "{}") for n in (0, 1, 7)]
    killed = execute(host, firmware, "sh", "-c", "kill -TERM $$", "{}")
    absent = execute(host, firmware, "/no/such/program", "{}")
    folder = execute(host, firmware, "/tmp", "{}")

    assert [done.returncode for done in own] == [0, 1, 7]
    assert [said(done) for done in own] == ["", "", ""]
    assert killed.returncode == -15
    assert (absent.returncode, folder.returncode) == (NOT_FOUND, NOT_EXECUTABLE)
    assert "/no/such/program cannot be run: No such file" in absent.stderr
    assert "[ENF-2902]" in absent.stderr


def test_a_signal_for_us_is_one_for_the_program(
    host: EnforcedHost, firmware: Artifact
) -> None:
    """There is no process of ours left that could swallow it."""
    words = ("--scope", firmware.scope, "--exec", "sh", "-c", "echo up; read x", "{}")
    with subprocess.Popen(
        command(host, firmware.target, *words),
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        running.terminate()
        assert running.wait(10) == -15


def test_nothing_runs_unless_it_is_allowed(
    host: EnforcedHost, maker: Maker, tmp_path: Path
) -> None:
    """Not signed, by a stranger, changed, missing, or not to be found."""
    ran = tmp_path / "ran"
    words = ("touch", str(ran), "{}")
    firmware = maker.firmware()
    unsigned = execute(host, firmware, *words)
    maker.sign(firmware, host.stranger)
    strange = execute(host, firmware, *words)
    maker.sign(firmware)
    payload = blob_of(firmware, firmware.payload)
    payload.write_bytes(firmware.payload[:-1] + b"!")
    changed = execute(host, firmware, *words)
    payload.unlink()
    missing = execute(host, firmware, *words)
    os.mkfifo(payload)
    pipe = execute(host, firmware, *words)
    manifest = firmware.layout / "blobs" / firmware.digest.replace(":", "/")
    manifest.write_bytes(manifest.read_bytes() + b" ")
    damaged = execute(host, firmware, *words)

    refused = (unsigned, strange, changed, missing, pipe, damaged)
    assert [done.returncode for done in refused] == [NOT_RUN] * len(refused)
    assert [done.stdout for done in refused] == [""] * len(refused)
    codes = ("1001", "1004", "1104", "1105", "1105", "1104")
    for done, code in zip(refused, codes, strict=True):
        assert f"[ENF-{code}]" in done.stderr
    assert not ran.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--exec", "true"], "with {} where the bytes go"),
        (["--exec"], "with {} where the bytes go"),
        (["-o", "json", "--exec", "true", "{}"], "leave out the other options"),
        (["--at", "2026-01-01T00:00:00Z", "--exec", "true", "{}"], "leave out"),
        (["--notation-config", "/tmp", "--exec", "true", "{}"], "leave out"),
        (["--online", "--exec", "true", "{}"], "leave out"),
        (["--layer", "other.bin", "--exec", "true", "{}"], "ecu.bin. [ENF-2903]"),
    ],
)
def test_what_would_not_be_the_hosts_own_judgement_is_refused(
    host: EnforcedHost, firmware: Artifact, words: list[str], why: str
) -> None:
    """A what-if releases nothing (design section 7)."""
    target = (firmware.target, "--scope", firmware.scope)

    done = host.enforcer("verify", *target, *words, check=False)

    assert done.returncode == NOT_RUN
    assert why in done.stderr


def test_one_of_several_layers_has_to_be_named(
    host: EnforcedHost, maker: Maker
) -> None:
    chart = maker.chart()
    maker.sign(chart)
    scope = ("--scope", chart.scope)

    unclear = execute(host, chart, "sha256sum", "{}")
    named = [
        host.enforcer(
            "verify", chart.target, *scope, "--layer", name, "--exec", "sha256sum", "{}"
        )
        for name in (
            "net-monitor-1.2.3.tgz",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            f"sha256:{sha256(chart.payload)}",
        )
    ]

    assert unclear.returncode == NOT_RUN
    assert "there are 2 layers to choose from" in unclear.stderr
    assert "net-monitor-1.2.3.tgz, net-monitor-1.2.3.tgz.prov. [ENF-2903]" in (
        unclear.stderr
    )
    assert {done.stdout.split()[0] for done in named} == {sha256(chart.payload)}


def test_what_is_at_a_registry_is_handed_over_as_well(
    host: EnforcedHost, maker: Maker, firmware: Artifact, tmp_path: Path
) -> None:
    """And what it sends is what was signed, or nothing is run."""
    with running_registry(tmp_path) as registry:
        there = f"{registry}/firmware/ecu:1"
        source = f"{firmware.layout}:{firmware.tag}"
        maker.oras.oras(
            "cp", "-r", "--from-oci-layout", "--to-plain-http", source, there
        )
        words = ("verify", there, "--exec", "sha256sum", "{}")
        good = host.enforcer(*words)
        told = host.enforcer("verify", there)
        (stored,) = tmp_path.glob(f"data/**/{sha256(firmware.payload)}/data")
        stored.write_bytes(firmware.payload[:-1] + b"!")
        changed = host.enforcer(*words, check=False)

    assert good.stdout.split()[0] == sha256(firmware.payload)
    assert "content    not read; --exec does" in told.stdout
    assert (changed.returncode, changed.stdout) == (NOT_RUN, "")
    assert "[ENF-2605]" in changed.stderr


def test_a_file_alone_is_said_how_to_sign(host: EnforcedHost, tmp_path: Path) -> None:
    done = host.enforcer("verify", f"file:{tmp_path}/fw.bin", check=False)

    assert done.returncode == 2
    assert "oras push --oci-layout" in done.stderr


def test_a_copy_without_room_is_refused(host: EnforcedHost, firmware: Artifact) -> None:
    """A full disk, or no memory: nothing is run on half of it."""
    words = command(
        host, firmware.target, "--scope", firmware.scope, "--exec", "echo", RAN, "{}"
    )
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *words]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}

    done = subprocess.run(limited, env=environment, capture_output=True, text=True)

    assert done.returncode == NOT_RUN
    assert "can be kept in memory: File too large" in done.stderr
    assert "[ENF-2901]" in done.stderr
    assert done.stdout == ""


# -- attacks: between check and use, and while it is read -------------------------


def test_a_file_changed_after_the_check_changes_nothing(
    host: EnforcedHost, firmware: Artifact
) -> None:
    """The classic: verified, exchanged, used (T-HK-15's kin)."""
    payload = blob_of(firmware, firmware.payload)
    script = f'echo evil > {payload}; rm -r {firmware.layout}; sha256sum "$1"'

    done = execute(host, firmware, "sh", "-c", script, "sh", "{}")

    assert done.stdout.split()[0] == sha256(firmware.payload)


@pytest.mark.parametrize(
    "attack", ["echo x > {}", "echo x >> {}", "truncate -s 0 {}", "truncate -s 9G {}"]
)
def test_not_even_root_writes_to_what_is_handed_over(
    host: EnforcedHost, firmware: Artifact, attack: str
) -> None:
    """A sealed file says EPERM to everybody (facts: write after seal)."""
    script = f"{attack} && echo {RAN}; sha256sum {{}}"

    done = execute(host, firmware, "sh", "-c", script)

    assert RAN not in done.stdout
    assert "not permitted" in done.stderr or "echo: I/O error" in done.stderr  # dash's
    assert done.stdout.split()[0] == sha256(firmware.payload)


@contextmanager
def _exchanging(payload: Path, good: bytes, evil: bytes) -> Iterator[list[int]]:
    """Overwrite a file in place with one and the other, as fast as it goes."""
    over, turns = threading.Event(), list[int]()

    def overwrite() -> None:
        handle = os.open(payload, os.O_WRONLY)
        while not over.is_set():
            for raw in (evil, good):
                for start in range(0, len(raw), 65536):
                    os.pwrite(handle, raw[start : start + 65536], start)
            turns.append(1)
        os.close(handle)

    attacker = threading.Thread(target=overwrite)
    attacker.start()
    try:
        yield turns
    finally:
        over.set()
        attacker.join()


def test_a_file_that_never_stands_still_is_seen_whole_or_not_at_all(
    host: EnforcedHost, maker: Maker
) -> None:
    """Rewritten while it is read, CMD sees the signed bytes or does not run."""
    good, evil = b"good" * 500_000, b"evil" * 500_000
    firmware = maker.firmware(good)
    maker.sign(firmware)
    payload = blob_of(firmware, good)

    with _exchanging(payload, good, evil) as turns:
        found = [execute(host, firmware, "sha256sum", "{}") for _ in range(ROUNDS)]

    assert len(turns) > ROUNDS
    refused = [done for done in found if done.returncode == NOT_RUN]
    assert refused
    assert all("[ENF-1104]" in done.stderr for done in refused)
    ran = [done for done in found if done.returncode != NOT_RUN]
    assert all(done.stdout.split()[0] == sha256(good) for done in ran)
    assert all(done.stdout == "" for done in refused)
