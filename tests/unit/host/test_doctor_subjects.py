"""What each check of doctor finds, where no engine is needed to see it."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enforcer.assembly import evidence_store
from enforcer.core.digest import Digest
from enforcer.core.evidence import Floor, Item, Memory, Slot
from enforcer.files import FileMissingError, FileNotTrustedError, require_trusted
from enforcer.gate.render import render_gate
from enforcer.hooks.nri.state import NriState, save_state
from enforcer.host.doctor import (
    dates,
    enforcerd,
    gate,
    nri,
    permissions,
    room,
    runtimes,
    units,
    verifier,
)
from enforcer.host.doctor.finding import Severity
from enforcer.host.doctor.gate import found_in
from enforcer.settings import SyncSettings
from enforcer.sources.revocation.floors import Floors
from tests.pki import NOW, ca_template, issue
from tests.revoker import make_crl, revoking_ca
from tests.unit.host.looks import ToldLook, codes, found, look_at, settings

DAY = timedelta(days=1)
PYTHON = Path("/usr/bin/python3")


# --- the gate -------------------------------------------------------------------------


def _gate(root: Path, place: Path) -> Path:
    """Write a gate for the host in `root`, with a real runc."""
    host = settings(root)
    runc = root / "hidden" / "runc"
    runc.parent.mkdir(exist_ok=True)
    runc.write_text("#!/bin/sh\n")
    runc.chmod(0o755)
    text = render_gate(
        runc=runc,
        python=PYTHON,
        run_dir=host.run_dir,
        config_dir=host.config_dir,
        log_dir=host.log_dir,
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


def _dpkg(root: Path, package: str, place: Path) -> Path:
    """Write a list of packages: one, with one file."""
    dpkg = root / "dpkg"
    (dpkg / "info").mkdir(parents=True)
    (dpkg / "updates").mkdir()
    (dpkg / "status").write_text(
        f"Package: {package}\nStatus: install ok installed\nMaintainer: a <a@b.c>\n"
        "Architecture: amd64\nVersion: 1\nDescription: x\n"
    )
    (dpkg / "info" / f"{package}.list").write_text(f"{place}\n")
    (dpkg / "info" / "format").write_text("1\n")
    return dpkg


def _look(root: Path, *folders: str) -> ToldLook:
    return look_at(root, "docker", folders=tuple(str(root / f) for f in folders))


def test_the_gate_alone_in_path_is_well(tmp_path: Path) -> None:
    _gate(tmp_path, tmp_path / "sbin" / "runc")

    assert codes(gate.check, _look(tmp_path, "sbin", "bin")) == []


def test_one_folder_by_two_names_holds_one_runc(tmp_path: Path) -> None:
    """/sbin is a link to /usr/sbin on Debian, and both are in PATH."""
    _gate(tmp_path, tmp_path / "usr" / "runc")
    (tmp_path / "sbin").symlink_to("usr")

    assert codes(gate.check, _look(tmp_path, "sbin", "usr")) == []
    folders = [str(tmp_path / name) for name in ("sbin", "usr", "none")]
    assert len(found_in(folders, Path("/"))) == 1


def test_a_gate_that_is_its_own_runc_is_named(tmp_path: Path) -> None:
    """It would ask for ever, and never start anything."""
    place = _gate(tmp_path, tmp_path / "sbin" / "runc")
    hidden = tmp_path / "hidden" / "runc"
    hidden.unlink()
    hidden.symlink_to(place)

    assert "ENF-2115" in codes(gate.check, _look(tmp_path, "sbin"))


def test_a_gate_in_a_folder_of_somebody_else_is_named(tmp_path: Path) -> None:
    """Who may rename in a folder may exchange the gate, whatever its own mode."""
    place = _gate(tmp_path, tmp_path / "sbin" / "runc")
    place.parent.chmod(0o777)

    (finding,) = found(gate.check, _look(tmp_path, "sbin"))

    assert finding.code == "ENF-2160"
    assert "can be written by group or others" in finding.what


@pytest.mark.parametrize("diverted", ["diverted", ""])
def test_a_gate_in_a_packages_place_has_to_be_diverted(
    diverted: str, tmp_path: Path
) -> None:
    """Else the next upgrade of runc writes over it, and nobody is asked any more."""
    place = _gate(tmp_path, tmp_path / "sbin" / "runc")
    dpkg = _dpkg(tmp_path, "runc", place)
    if diverted:
        (dpkg / "diversions").write_text(f"{place}\n{tmp_path}/hidden/runc\n:\n")

    assert codes(gate.check, _look(tmp_path, "sbin")) == (
        [] if diverted else ["ENF-2116"]
    )


def test_what_brings_runc_back_is_the_package_that_had_it(tmp_path: Path) -> None:
    """Docker's own containerd.io has one, and goes when Debian's runc comes."""
    place = _gate(tmp_path, tmp_path / "bin" / "runc")
    dpkg = _dpkg(tmp_path, "containerd.io", place)
    (dpkg / "diversions").write_text(f"{place}\n{tmp_path}/hidden/runc\n:\n")
    (tmp_path / "hidden" / "runc").unlink()

    (finding,) = found(gate.check, _look(tmp_path, "bin"))

    assert finding.code == "ENF-2115"
    assert finding.remedy.startswith("apt-get install --reinstall containerd.io; ")


def test_a_gate_that_is_gone_belongs_where_it_was_diverted(tmp_path: Path) -> None:
    """Anywhere else it would outlive `uninstall`, with no runc behind it."""
    dpkg = _dpkg(tmp_path, "containerd.io", Path("/usr/bin/runc"))
    diverted = f"/usr/bin/runc\n{gate.HIDDEN}\n:\n"

    debians = found(gate.check, _look(tmp_path, "bin"))
    (dpkg / "diversions").write_text(diverted)
    dockers = found(gate.check, _look(tmp_path, "bin"))
    look = look_at(tmp_path, "containerd", cri_says=_handlers({"runtimeType": RUNC}))
    named = found(runtimes.check, look)

    assert [one.remedy.rpartition(" ")[2] for one in (*debians, *dockers)] == [
        "/usr/sbin/runc",
        "/usr/bin/runc",
    ]
    assert 'BinaryName = "/usr/bin/runc" (the gate)' in named[-1].remedy


def test_a_trusted_file_is_judged_by_where_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o644)
    (tmp_path / "link").symlink_to("file")
    require_trusted(tmp_path / "link")

    (tmp_path / "file").chmod(0o666)
    with pytest.raises(FileNotTrustedError, match="link can be written"):
        require_trusted(tmp_path / "link")
    with pytest.raises(FileMissingError):
        require_trusted(tmp_path / "none")


# --- what containerd says -------------------------------------------------------------

RUNC = "io.containerd.runc.v2"


def _handlers(*handlers: Mapping[str, Any]) -> dict[str, Any]:
    return {"containerd": {"runtimes": {str(n): h for n, h in enumerate(handlers)}}}


@pytest.mark.parametrize(
    "handler",
    [
        {"runtimeType": "io.containerd.kata.v2"},
        {"runtimeType": RUNC, "runtimePath": "/opt/shim"},
        {
            "runtimeType": RUNC,
            "options": {"BinaryName": "/bin/true"},
        },
        {"runtimeType": RUNC, "options": {"BinaryName": "crun"}},
        {"runtimeType": RUNC, "options": None},
        {"runtimeType": 7, "options": []},
        None,
    ],
)
def test_a_handler_that_does_not_end_in_the_gate_is_named(
    handler: Mapping[str, Any], tmp_path: Path
) -> None:
    """Whatever shape an engine's answer has."""
    look = look_at(tmp_path, "containerd", cri_says=_handlers(handler))

    assert "ENF-2120" in codes(runtimes.check, look)


@pytest.mark.parametrize("answer", [{}, {"containerd": []}, _handlers()])
def test_a_cri_that_names_no_handlers_is_not_well(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    look = look_at(tmp_path, "containerd", cri_says=answer)

    assert codes(runtimes.check, look) == ["ENF-2101"]


@pytest.mark.parametrize("info", [{}, {"Runtimes": None}, {"Runtimes": [1]}])
def test_a_dockerd_that_names_no_runtimes_is_not_well(
    info: dict[str, Any], tmp_path: Path
) -> None:
    assert codes(runtimes.check, look_at(tmp_path, "docker", info=info)) == ["ENF-2101"]


BINDIR = "io.containerd.image-verifier.v1.bindir"


def test_a_disabled_verifier_plugin_is_named(tmp_path: Path) -> None:
    tree = {
        "plugins": {BINDIR: {"bin_dir": str(tmp_path)}},
        "disabled_plugins": [BINDIR],
    }

    assert "ENF-2130" in codes(
        verifier.check, look_at(tmp_path, "containerd", tree=tree)
    )


def test_cri_before_containerd_2_1_pulls_by_itself(tmp_path: Path) -> None:
    """It has no settings to look at, and asks nobody."""
    plugins = {BINDIR: {"bin_dir": str(tmp_path)}, "io.containerd.grpc.v1.cri": {}}
    look = look_at(tmp_path, "containerd", tree={"plugins": plugins})

    assert "ENF-2134" in codes(verifier.check, look)


NRI = "io.containerd.nri.v1.nri"
WANTED = {"enable": True, "required_plugins": ["enforcer"]}


@pytest.mark.parametrize(
    ("section", "state", "expected"),
    [
        ({"disable": False, "default_validator": WANTED}, (True, True), []),
        ({"disable": False, "default_validator": WANTED}, (False, True), ["ENF-2142"]),
        ({"disable": False, "default_validator": WANTED}, None, ["ENF-2142"]),
        ({"disable": False}, (True, True), ["ENF-2143"]),
        ({"disable": False}, (True, False), ["ENF-2144"]),
        ({"disable": True}, (True, True), ["ENF-2142"]),
        (
            {
                "disable": False,
                "default_validator": WANTED
                | {"tolerate_missing_plugins_annotation": "let.me/in"},
            },
            (True, True),
            ["ENF-2143"],
        ),
        ({"disable": False}, None, []),
        (None, None, []),
    ],
)
def test_what_nri_can_refuse_is_said(
    section: dict[str, Any] | None,
    state: tuple[bool, bool] | None,
    expected: list[str],
    tmp_path: Path,
) -> None:
    """It is closed in one configuration alone, and then only while we are there."""
    look = look_at(tmp_path, "containerd", tree={"plugins": {NRI: section}})
    if state:
        at = int(look.clock.now().timestamp())
        save_state(tmp_path / "run", NriState(at, "containerd 2.4", *state))

    assert codes(nri.check, look) == expected


def test_an_nri_plugin_that_went_silent_is_absent(tmp_path: Path) -> None:
    tree = {"plugins": {NRI: {"disable": False, "default_validator": WANTED}}}
    look = look_at(tmp_path, "containerd", tree=tree)
    at = int(look.clock.now().timestamp()) - 3600
    save_state(tmp_path / "run", NriState(at, "containerd", True, True))  # noqa: FBT003

    assert codes(nri.check, look) == ["ENF-2142"]


# --- the host -------------------------------------------------------------------------


def _unit(root: Path, name: str, folder: str = "etc/systemd/system") -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[Socket]\n")
    return path


def test_units_that_are_masked_or_not_enabled_are_named(tmp_path: Path) -> None:
    """A mask anywhere before the unit wins, also one that ends at the next boot."""
    for name in ("enforcer-ask.socket", "enforcer.socket", "enforcer-authz.socket"):
        _unit(tmp_path, name)
    wants = tmp_path / "etc/systemd/system/sockets.target.wants"
    wants.mkdir()
    (wants / "enforcer-ask.socket").symlink_to("../enforcer-ask.socket")
    _unit(tmp_path, "enforcer-authz.socket", "run/systemd/system.control").write_text(
        ""
    )
    masked = ("enforcer-fetcher.socket", "enforcer-sync.timer")  # no network wanted
    for name in (*masked, "enforcer-resolver.socket"):
        (wants.parent / name).symlink_to(os.devnull)
    look = look_at(tmp_path, "docker", asked=True)

    seen = {(str(f.code), f.subject) for f in found(units.check, look)}

    assert seen == {
        ("ENF-2164", "enforcer-authz.socket"),
        ("ENF-2164", "enforcer-resolver.socket"),
        ("ENF-2165", "enforcer.socket"),
    }


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("etc", lambda path: path.chmod(0o777)),
        ("etc/policy.d", lambda path: path.chmod(0o775)),
        ("etc/policy.d/10.yaml", lambda path: path.chmod(0o646)),
        ("etc/trust/x509/ca/acme/ca.crt", lambda path: path.chmod(0o666)),
        ("var/floors.db", lambda path: path.chmod(0o666)),
        ("run/ask.sock", lambda path: path.chmod(0o660)),
        ("run/enforcer.sock", lambda path: path.chmod(0o666)),
        ("log", lambda path: path.chmod(0o777)),
    ],
)
def test_what_others_may_write_is_named(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """sshd would not start with such files either."""
    look = look_at(tmp_path)
    modes = {"run/ask.sock": 0o600, "run/enforcer.sock": 0o660}
    for file in (
        "etc/policy.d/10.yaml",
        "etc/trust/x509/ca/acme/ca.crt",
        "var/floors.db",
        *modes,
    ):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=modes.get(file, 0o644))
        path.chmod(modes.get(file, 0o644))
    healthy = codes(permissions.check, look)

    damage(tmp_path / name)

    assert healthy == []
    damaged = found(permissions.check, look)
    assert {str(finding.code) for finding in damaged} == {"ENF-2160"}
    assert str(tmp_path / name) in {finding.subject for finding in damaged}


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_what_belongs_to_others_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gate.conf").touch()
    os.chown(tmp_path / "etc" / "gate.conf", 1000, 1000)

    (finding,) = found(permissions.check, look_at(tmp_path))

    assert finding.what == "it belongs to uid 1000"
    assert finding.remedy == f"chown root:root {tmp_path}/etc/gate.conf"


def test_an_audit_log_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "log" / "audit" / "audit.jsonl").mkdir(parents=True)

    assert "ENF-2163" in codes(room.check, look_at(tmp_path))


def test_an_audit_log_that_is_a_pipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "log" / "audit").mkdir(parents=True)
    os.mkfifo(tmp_path / "log" / "audit" / "audit.jsonl")

    assert "ENF-2163" in codes(room.check, look_at(tmp_path))


def _a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o644)


def _garbled(path: Path) -> None:
    path.write_bytes(b"\xff" * 100_000)


def _open_to_all(path: Path) -> None:
    path.write_text("mode=monitor\n")
    path.chmod(0o666)


def _a_link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("make", [_a_pipe, _garbled, _open_to_all, _a_link])
def test_a_gate_conf_that_is_not_roots_clear_word_is_named(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    """The gate enforces then; but somebody wanted something else."""
    look = look_at(tmp_path)
    make(tmp_path / "etc" / "gate.conf")

    assert codes(enforcerd.check_gate_conf, look) == ["ENF-2155"]


@pytest.mark.parametrize("words", ["mode=enforce\n", ""])
def test_a_gate_conf_that_enforces_is_well(words: str, tmp_path: Path) -> None:
    look = look_at(tmp_path)
    (tmp_path / "etc" / "gate.conf").write_text(words)

    assert codes(enforcerd.check_gate_conf, look) == []


def test_a_resolver_that_nobody_serves_is_named(tmp_path: Path) -> None:
    """Its socket is gone, or left where it was killed: nothing starts."""
    look = look_at(tmp_path)
    without = codes(enforcerd.check, look)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "resolver.sock"))

    assert "ENF-2157" in without
    assert "ENF-2157" in codes(enforcerd.check, look)


def test_a_fetcher_that_nobody_serves_is_a_warning(tmp_path: Path) -> None:
    """No start depends on it; without its socket it is none until something is due."""
    look = look_at(tmp_path)
    without = codes(enforcerd.check, look)
    due = replace(look.settings, sync=SyncSettings(every_seconds=3600))
    wanted = found(enforcerd.check, replace(look, settings=due))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "fetcher.sock"))
    dead = codes(enforcerd.check, look)

    assert "ENF-2701" not in without
    assert "ENF-2701" in dead
    (finding,) = (one for one in wanted if one.code == "ENF-2701")
    assert finding.severity is Severity.WARNING


# --- time -----------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1970, 2020, 2025, 2060])
def test_a_clock_that_cannot_be_right_is_named(year: int, tmp_path: Path) -> None:
    """1970 is what a board without a battery says at boot."""
    look = look_at(tmp_path, at=datetime(year, 1, 1, tzinfo=UTC))

    (finding,) = found(dates.check_clock, look)

    assert finding.code == "ENF-2170"
    assert f"it says {year}-01-01T00:00:00Z" in finding.what


def test_a_clock_behind_what_an_issuer_has_vouched_for_is_named(tmp_path: Path) -> None:
    look = look_at(tmp_path)
    now = look.clock.now()
    (tmp_path / "var" / "cache" / "evidence").mkdir(parents=True)
    floors = Floors(
        tmp_path / "var" / "floors.db",
        tmp_path / "var" / "cache" / "evidence" / "memory",
    )
    slot = Slot.crl(Digest.of(b"key"), "http://crl.example/")
    floors.remember(Memory(floors={slot: Floor(now - DAY)}))
    before = codes(dates.check_clock, look)
    floors.remember(Memory(floors={slot: Floor(now + DAY)}))

    assert before == []
    assert codes(dates.check_clock, look) == ["ENF-2170"]


POLICY = """
apiVersion: enforcer/v1
signers: {{acme: {{x509: {{trustStores: ["ca:acme"], identities: ["*"]}}}}}}
always: acme
statements: [{{name: all, scopes: ["*"], require: acme}}]
exempt:
  - {{digest: "sha256:{0}", role: sandbox, reason: "pause", until: {1}}}
"""


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (-1, "ended "), (3, "ends within 7 days"), (20, "ends within 30 days"),
        (59, "ends within 60 days"), (61, ""),
    ],
)  # fmt: skip
def test_what_ends_soon_is_named_weeks_ahead(
    days: int, words: str, tmp_path: Path
) -> None:
    """A CA takes its time to issue the next certificate."""
    until = NOW + days * DAY
    root = issue(replace(ca_template(), starts=NOW - 90 * DAY, ends=until))
    look = look_at(tmp_path, at=NOW)
    (tmp_path / "etc" / "policy.d").mkdir()
    text = POLICY.format("b" * 64, f"{until:%Y-%m-%dT%H:%M:%SZ}")
    (tmp_path / "etc" / "policy.d" / "1.yaml").write_text(text)
    store = tmp_path / "etc" / "trust" / "x509" / "ca" / "acme"
    store.mkdir(parents=True)
    (store / "ca.crt").write_bytes(root.pem)

    findings = found(dates.check_trust, look)

    expected = ["ENF-2171", "ENF-2172"] if words else []
    assert [str(finding.code) for finding in findings] == expected
    assert all(words in finding.what for finding in findings)


@pytest.mark.parametrize(
    ("hours", "expected"), [(-1, ["ENF-2173"]), (2, ["ENF-2173"]), (48, [])]
)
def test_evidence_that_is_outdated_soon_is_named(
    hours: int, expected: list[str], tmp_path: Path
) -> None:
    """It denies from then on; `cache sync` has to run before."""
    look = look_at(tmp_path, at=NOW)
    store = evidence_store(look.settings)
    for folder in (store._blobs, store._index):
        folder.mkdir(parents=True)
    crl = make_crl(issue(revoking_ca()), next_update=NOW + timedelta(hours=hours))
    slot = Slot.crl(Digest.of(b"key"), "http://crl.example/\x1b[2J")
    store._keep(Item(slot, slot.about, NOW, crl))
    (store._index / ("0" * 64)).write_text("{")

    assert codes(dates.check_evidence, look) == expected
