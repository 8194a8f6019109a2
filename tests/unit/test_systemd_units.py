"""The systemd units, as an installation would lay them out."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import enforcer.host
from enforcer.assembly import BOOT_VARIABLE
from enforcer.fetcher import SOCKET as FETCHER_SOCKET
from enforcer.hooks.authz.relay import PLUGIN_SOCKET, SOCKET_NAME
from enforcer.resolver import SOCKET as RESOLVER_SOCKET

UNITS = Path(enforcer.host.__file__).parent / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
DAEMONS = [unit for unit in SERVICES if "Type=oneshot" not in unit.read_text()]
SOCKETS = sorted(UNITS.glob("*.socket"))
TIMERS = sorted(UNITS.glob("*.timer"))
ENGINES = ("containerd.service", "docker.service", "crio.service", "kubelet.service")
# `systemd-analyze security`, 0.0 to 10.0; containerd's own unit has 9.6.
MOST_EXPOSED = {
    "enforcer.service": 0.5,
    "enforcer-resolver.service": 1.5,
    "enforcer-authz.service": 0.6,
    "enforcer-cri.service": 0.6,
    "enforcer-nri.service": 0.6,
    "enforcer-fetcher.service": 1.2,
    "enforcer-sync.service": 0.5,
}

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd here"
)


def directives(unit: Path) -> Iterator[tuple[str, str]]:
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def values(unit: Path, name: str) -> list[str]:
    return [v for n, value in directives(unit) if n == name for v in value.split()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root folder with the units and the programs they start."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in (*SERVICES, *SOCKETS, *TIMERS):
        shutil.copy(unit, units)
    targets = ("sockets", "timers", "time-set", "time-sync", "sysinit", "shutdown")
    for target in (f"{name}.target" for name in targets):
        (units / target).write_text("[Unit]\nDescription=a target of systemd's own\n")
    programs = {values(unit, "ExecStart")[0] for unit in SERVICES}
    for program in (*programs, "/bin/kill"):
        path = tmp_path / program[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def test_every_program_a_unit_starts_is_one_that_an_installation_makes() -> None:
    """A misspelt one would be found at the first boot."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for unit in SERVICES:
        program = Path(values(unit, "ExecStart")[0])
        assert program.parent == Path("/usr/lib/enforcer/bin")
        assert f"\n{program.name} = " in project


@needs_systemd
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
    for unit in SOCKETS:
        lines = dict(directives(unit))
        named[lines["FileDescriptorName"]] = lines["ListenStream"]

    assert named == {
        name: f"/run/enforcer/{name}"
        for name in (
            "enforcer.sock", "admin.sock", "ask.sock", "cri.sock", RESOLVER_SOCKET,
            FETCHER_SOCKET,
        )
    } | {SOCKET_NAME: PLUGIN_SOCKET}  # fmt: skip


# -- how much is left to whoever takes one over --------------------------------------


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_is_exposed_no_more_than_is_said_and_says_why(unit: Path) -> None:
    """A checklist, not a proof; but what is crossed out costs a reason."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--json=short", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    marks = {
        m["name"]: float(m["exposure"])
        for m in json.loads(done.stdout)
        if not m["set"] and m["exposure"]
    }
    whole = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    comments = "".join(
        line for line in unit.read_text().splitlines() if line.startswith("#")
    )

    assert float(whole.split(":")[1].split()[0]) <= MOST_EXPOSED[unit.name], marks
    words = {
        "CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_DAC_READ_SEARCH",
        "DeviceAllow": "char-rtc",
        "AF_(INET|INET6)": "AF_INET",
    }
    for mark in marks:
        last = mark.split("~")[-1].split("/")[0].rstrip("=")
        assert words.get(last, last) in comments, mark


def test_the_judge_may_reach_no_engine_and_no_network() -> None:
    """What it is there for; the tests on real engines show that it holds."""
    unit = UNITS / "enforcer.service"
    found = dict(directives(unit))

    assert (found["User"], found["Group"]) == ("enforcer", "enforcer")
    assert found["CapabilityBoundingSet"] == ""
    assert found["PrivateNetwork"] == "yes"
    assert found["RestrictAddressFamilies"] == "AF_UNIX"
    closed = {path.removeprefix("-") for path in values(unit, "InaccessiblePaths")}
    assert {"/run/containerd", "/run/docker.sock", "/var/lib/docker"} <= closed


def test_the_fetcher_may_reach_networks_and_nothing_of_ours() -> None:
    """Whoever takes it over finds no policy, no cache, no engine and no login there."""
    unit = UNITS / "enforcer-fetcher.service"
    found = dict(directives(unit))

    assert (found["User"], found["Group"]) == ("enforcer-fetch", "enforcer-fetch")
    assert found["CapabilityBoundingSet"] == ""
    assert values(unit, "IPAddressDeny") == ["link-local", "multicast"]
    closed = {path.removeprefix("-") for path in values(unit, "InaccessiblePaths")}
    assert {"/etc/enforcer", "/var/lib/enforcer", "/etc/credstore"} <= closed
    assert {"/run/containerd", "/run/docker.sock", "/var/lib/docker"} <= closed
    assert not {name for name in found if "Directory" in name or "Credential" in name}


def test_what_syncs_reaches_no_network_itself() -> None:
    """It holds logins and writes the cache, so it asks the fetcher and nobody else."""
    unit = UNITS / "enforcer-sync.service"
    found = dict(directives(unit))

    assert found["User"] == "enforcer"
    assert found["PrivateNetwork"] == "yes"
    assert found["RestrictAddressFamilies"] == "AF_UNIX"
    assert found["LoadCredential"] == "registry-auth"  # without a path: it may lack
    assert found["StateDirectory"] == "enforcer"


def test_the_judge_is_told_which_boot_this_is() -> None:
    """Its own /proc does not say; without it broken glass would never count."""
    told = values(UNITS / "enforcer.service", "Environment")

    assert told == [f"{BOOT_VARIABLE}=%b"]


def test_what_root_must_own_is_given_to_nobody() -> None:
    """In a folder of sockets that enforcerd owned it could answer as root."""
    given = {
        n: v for n, v in directives(UNITS / "enforcer.service") if "Directory" in n
    }

    assert given["RuntimeDirectory"] == "enforcer/inner"
    assert given["LogsDirectory"] == "enforcer/audit"
    assert given["StateDirectory"] == "enforcer"
    for unit in SERVICES:
        found = dict(directives(unit))
        if found.get("LogsDirectory") == "enforcer":  # enforcerd has to get through
            assert found["LogsDirectoryMode"] == "0755"
        assert (
            found.get("RuntimeDirectoryMode") != "0700"
            or "/" in found["RuntimeDirectory"]
        )


@pytest.mark.skipif(
    not shutil.which("systemd-sysusers") or os.geteuid() != 0,
    reason="no systemd here, or no root",
)
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    """By systemd itself, in a root folder of its own."""
    for folder, name in (("sysusers.d", "sysusers"), ("tmpfiles.d", "tmpfiles")):
        place = tmp_path / "usr/lib" / folder
        place.mkdir(parents=True)
        shutil.copy(UNITS / f"enforcer.{name}", place / "enforcer.conf")
    for folder in ("etc", "run", "var/lib", "var/log"):
        (tmp_path / folder).mkdir(parents=True)

    for words in (("systemd-sysusers",), ("systemd-tmpfiles", "--create")):
        subprocess.run([*words, f"--root={tmp_path}"], check=True)

    users = (tmp_path / "etc/passwd").read_text().splitlines()
    ids = {user.split(":")[0]: int(user.split(":")[2]) for user in users}
    uid = ids["enforcer"]
    assert ids.keys() == {"enforcer", "enforcer-fetch"}
    assert uid != ids["enforcer-fetch"]
    assert all(user.endswith(":/usr/sbin/nologin") for user in users)
    found = {
        str(path.relative_to(tmp_path)): (
            path.stat().st_uid,
            oct(path.stat().st_mode & 0o777),
        )
        for path in tmp_path.glob("*/**/enforcer*/**/")
    }
    assert found == {
        "run/enforcer": (0, "0o755"),
        "var/lib/enforcer": (uid, "0o700"),
        "var/log/enforcer": (0, "0o755"),
        "var/log/enforcer/audit": (uid, "0o700"),
    }


# -- the law that a boot goes on whatever becomes of us (design section 8, law 10) ----


def test_no_engine_ever_waits_for_a_service_of_ours_or_fails_with_it() -> None:
    """Sockets are there first; that is all an engine's boot has to do with us."""
    for unit in SERVICES:
        found = list(directives(unit))
        assert not [v for n, v in found if n in ("Before", "RequiredBy", "BoundBy")]
        assert not [v for n, v in found if n in ("BindsTo", "PartOf", "Requisite")]
        assert not set(values(unit, "Requires")) & set(ENGINES)
    for unit in DAEMONS:
        found = list(directives(unit))
        assert ("StartLimitIntervalSec", "0") in found  # no fifth crash is the last
        assert ("Restart", "always") in found
    for unit in SOCKETS:
        names = {name for name, _ in directives(unit)}
        before = set(values(unit, "Before"))
        assert before == ({"docker.service"} if "authz" in unit.name else set(ENGINES))
        assert not names & {"RequiredBy", "Requires", "BindsTo", "PartOf"}
        assert values(unit, "WantedBy") == ["sockets.target"]


def test_every_service_has_bounds_and_is_started_anew_when_it_hangs() -> None:
    """A leak of ours must not be the host's, and silence not last."""
    for unit in SERVICES:
        found = dict(directives(unit))
        for name in ("MemoryMax", "TasksMax", "LimitNOFILE"):
            assert found[name]
        assert found["MemorySwapMax"] == "0"
        lasts = unit in DAEMONS
        assert found["Type"] == ("notify" if lasts else "oneshot")
        assert found["WatchdogSec" if lasts else "TimeoutStartSec"]
