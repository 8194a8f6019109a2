"""The systemd units, as an installation would lay them out."""

import shutil
import subprocess
from pathlib import Path

import pytest

import enforcer.host
from enforcer.hooks.authz.relay import PLUGIN_SOCKET, SOCKET_NAME

UNITS = Path(enforcer.host.__file__).parent / "systemd"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root folder with the units and the programs they start."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        shutil.copy(unit, units)
    for target in ("sockets.target", "sysinit.target", "shutdown.target"):
        (units / target).write_text("[Unit]\nDescription=a target of systemd's own\n")
    programs = ("enforcerd", "enforcer-authz", "enforcer-cri", "enforcer-nri")
    for program in (*(f"usr/lib/enforcer/bin/{name}" for name in programs), "bin/kill"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_units_pass_systemd_analyze_verify(tree: Path) -> None:
    """A misspelt directive is silently ignored at run time; here it is not."""
    names = [unit.name for unit in (tree / "usr/lib/systemd/system").glob("enforcer*")]

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tree}", *sorted(names)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_socket_has_the_name_the_daemon_looks_for() -> None:
    """systemd hands sockets over by name; a wrong one would be bound twice."""
    named = {}
    for unit in UNITS.glob("*.socket"):
        lines = dict(
            line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line
        )
        named[lines["FileDescriptorName"]] = lines["ListenStream"]

    assert named == {
        name: f"/run/enforcer/{name}"
        for name in ("enforcer.sock", "admin.sock", "ask.sock", "cri.sock")
    } | {SOCKET_NAME: PLUGIN_SOCKET}
