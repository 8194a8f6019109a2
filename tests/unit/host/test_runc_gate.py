"""The gate in runc's place, and back, with a list of diversions of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from enforcer.host.install.runc import (
    HEAD,
    RuncGoneError,
    is_gate,
    owners,
    put_gate,
    remove_gate,
)
from enforcer.host.install.steps import Gate

REAL = b"\x7fELF real"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A runc in a folder of PATH, and an empty list of diversions."""
    admin = tmp_path / "dpkg"
    admin.mkdir()
    monkeypatch.setenv("DPKG_ADMINDIR", str(admin))
    for name in ("sbin", "libexec"):
        (tmp_path / name).mkdir()
    runc = tmp_path / "sbin" / "runc"
    runc.write_bytes(REAL)
    runc.chmod(0o755)
    os.utime(runc, ns=(5, 5))
    return Gate(runc, tmp_path / "libexec" / "runc", HEAD + b"\nexit 1\n")


def _diversions(gate: Gate) -> str:
    folder = gate.path.parents[1] / "dpkg"
    done = subprocess.run(
        ["dpkg-divert", "--admindir", folder, "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _entries(gate: Gate) -> list[str]:
    top = gate.path.parents[1]
    found = [p for name in ("sbin", "libexec") for p in (top / name).iterdir()]
    return sorted(str(path.relative_to(top)) for path in found)


def test_the_real_one_moves_and_comes_back_as_the_very_same_file(gate: Gate) -> None:
    """dpkg finds nothing to complain about, nor does anybody who kept its inode."""
    before = gate.path.stat()

    put_gate(gate)

    assert is_gate(gate.path)
    assert gate.path.stat().st_mode & 0o777 == 0o755
    assert gate.real.read_bytes() == REAL
    assert str(gate.real) in _diversions(gate)
    assert remove_gate(gate) == ""
    after = gate.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert _entries(gate) == ["sbin/runc"]
    assert _diversions(gate) == ""
    assert remove_gate(gate) == ""  # again, as after a kill
    assert gate.path.read_bytes() == REAL


def test_an_upgrade_meanwhile_is_what_comes_back(gate: Gate) -> None:
    """dpkg writes a new runc to where it is diverted to."""
    put_gate(gate)
    gate.real.write_bytes(b"\x7fELF newer")

    remove_gate(gate)

    assert gate.path.read_bytes() == b"\x7fELF newer"


def test_a_gate_that_was_changed_is_kept_aside(gate: Gate) -> None:
    """Somebody's edit is not lost, and nothing depends on it any more."""
    put_gate(gate)
    gate.path.write_bytes(HEAD + b" mine")

    said = remove_gate(gate)

    assert gate.path.read_bytes() == REAL
    aside = gate.real.with_name("runc-gate.changed")
    assert aside.read_bytes() == HEAD + b" mine"
    assert said == f"{gate.path} was changed since: kept as {aside}"


def test_another_program_in_its_place_is_left(gate: Gate) -> None:
    """It is somebody's runc, and runs."""
    put_gate(gate)
    gate.path.write_bytes(b"\x7fELF mine")

    said = remove_gate(gate)

    assert gate.path.read_bytes() == b"\x7fELF mine"
    assert said == f"{gate.path} is another program than ours: left, and {gate.real}"


def test_a_lost_runc_is_said_with_what_brings_it_back(gate: Gate) -> None:
    """Nothing of ours could."""
    put_gate(gate)
    gate.real.unlink()

    with pytest.raises(RuncGoneError, match="apt-get install --reinstall runc"):
        remove_gate(gate)

    assert _diversions(gate) == ""
    gate.path.write_bytes(REAL)  # as apt does
    assert remove_gate(gate) == ""
    assert gate.path.read_bytes() == REAL


def test_a_lost_runc_is_brought_back_by_the_package_that_had_it(gate: Gate) -> None:
    """Docker's own containerd.io has one, and goes when Debian's runc comes."""
    dpkg = gate.path.parents[1] / "dpkg"
    (dpkg / "info").mkdir()
    (dpkg / "updates").mkdir()
    (dpkg / "status").write_text(
        "Package: containerd.io\nStatus: install ok installed\nMaintainer: a <a@b.c>\n"
        "Architecture: amd64\nVersion: 1\nDescription: x\n"
    )
    (dpkg / "info" / "containerd.io.list").write_text(f"{gate.path}\n")
    (dpkg / "info" / "format").write_text("1\n")
    put_gate(gate)
    gate.real.unlink()

    with pytest.raises(RuncGoneError, match=r"--reinstall containerd\.io"):
        remove_gate(gate)


@pytest.mark.parametrize(
    "diverted",
    ["local diversion from: {}", "Lokale Umleitung von: {}", "diversion by a from: {}"],
)
def test_a_package_is_told_from_a_diversion_in_any_language(diverted: str) -> None:
    """dpkg speaks the operator's, and `apt-get install Lokale` helps nobody."""
    runc = Path("/usr/sbin/runc")
    said = f"{diverted.format(runc)}\ncontainerd.io, runc:amd64: {runc}\na: {runc}.d\n"

    assert owners(said, runc) == ["containerd.io", "runc:amd64"]


def test_a_gate_that_never_came_is_not_missed(gate: Gate) -> None:
    """The power went when it was written down and not begun, or half-way."""
    assert remove_gate(gate) == ""
    os.link(gate.path, gate.real)
    assert remove_gate(gate) == ""

    assert _entries(gate) == ["sbin/runc"]
    assert gate.path.read_bytes() == REAL


def test_a_removed_gate_leaves_no_host_without_runc(gate: Gate) -> None:
    """An operator took it away by hand, and forgot the rest."""
    put_gate(gate)
    gate.path.unlink()

    remove_gate(gate)

    assert gate.path.read_bytes() == REAL


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="no other file system")
def test_the_real_one_may_lie_on_another_file_system(gate: Gate) -> None:
    """Then it is copied, with all it has, and copied back."""
    away = Path("/dev/shm") / f"enforcer-test-{os.getpid()}"
    away.mkdir()
    try:
        far = Gate(gate.path, away / "runc", gate.content)

        put_gate(far)

        assert far.real.read_bytes() == REAL
        assert far.real.stat().st_mode & 0o777 == 0o755
        remove_gate(far)
        assert (gate.path.read_bytes(), gate.path.stat().st_mtime_ns) == (REAL, 5)
        assert list(away.iterdir()) == []
    finally:
        away.rmdir()
