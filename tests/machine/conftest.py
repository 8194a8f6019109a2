"""Lend the tests of this folder machines, and show their consoles when a test fails."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.machine import host, manifest
from tests.machine.machine import Machine
from tests.machine.nspawn import CACHE


@pytest.fixture(scope="session")
def debian() -> Path:
    """The Debian that machines are made of; skips where none can run at all."""
    if os.geteuid() != 0:
        pytest.skip("a machine needs root")
    if not Path("/etc/debian_version").exists():
        pytest.skip("machines are made of Debian packages, and this is not Debian")
    if not (CACHE / "VERSIONS").exists():
        # Not a skip: on a machine that can run them, silence would look like proof.
        pytest.fail(f"missing: {CACHE / 'VERSIONS'}; run: make machine", pytrace=False)
    return CACHE


@pytest.fixture(scope="session")
def found(debian: Path) -> Iterator[Machine]:
    """A Docker host before enforcer: two images, two containers, and our source.

    Both containers start whenever Docker does. It is off: a base for others.
    """
    with Machine() as machine:
        machine.boot()
        # What Debian does at midnight would be taken for what enforcer left.
        machine.sh("systemctl disable --now apt-daily.timer apt-daily-upgrade.timer "
                   "dpkg-db-backup.timer e2scrub_all.timer fstrim.timer")  # fmt: skip
        host.bring(machine)
        host.load(machine, "docker")
        for name in ("signed", "unsigned"):
            words = f"--detach --restart=always --stop-timeout 1 --name old-{name}"
            machine.sh(f"docker run {words} {name}:1 sleep 9999")
        machine.poweroff()
        yield machine


@pytest.fixture(scope="session")
def before(found: Machine) -> manifest.Manifest:
    """What is on that host's disk."""
    return manifest.take(found)


@pytest.fixture(scope="session")
def installed(found: Machine, before: manifest.Manifest) -> Iterator[Machine]:
    """The same host after `vagrant up docker`, off: a base for others."""
    with Machine(found) as machine:
        machine.boot()
        host.provision(machine, "docker", "--yes")  # old-unsigned would be denied
        host.sign(machine, "docker:signed:1")
        machine.poweroff()
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Iterator[Machine]:
    """That host, booted: enforcer has been through its first reboot."""
    with Machine(installed) as machine:
        machine.boot()
        yield machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles of the machines a failed test was given."""
    report = yield
    if report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Machine):
                report.sections.append((f"console of {value.name}", value.console))
    return report
