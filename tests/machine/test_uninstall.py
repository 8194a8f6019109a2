"""Taken off, or broken beyond start: a host comes back as it was, and in time."""

import re
import time

import pytest

from tests.machine import host, manifest
from tests.machine.host import STARTED, refused
from tests.machine.machine import Machine

RECOVERY_SECONDS = 120  # what a host is granted for the whole way back
MAX_COMMANDS = 5
# What provisioning made besides `enforcer install`, and what everything writes.
NOT_INSTALLED = (
    "/root/acme",
    "/usr/lib/enforcer",
    "/usr/local/bin/enforcer",
    "/vagrant",
    "/var/lib/enforcer",  # signatures, and what may only deny: left, and said so
    "/var/log",
    "/var/tmp",
)
SIGNERS = {
    "/etc/enforcer",
    "/etc/enforcer/policy.d",
    "/etc/enforcer/policy.d/10-acme.yaml",
    "/etc/enforcer/trust",
    "/etc/enforcer/trust/x509",
    "/etc/enforcer/trust/x509/ca",
    "/etc/enforcer/trust/x509/ca/acme",
    "/etc/enforcer/trust/x509/ca/acme/acme-ca.crt",
}
# What each tool keeps of the version before its last change.
BACKUPS = {
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/var/lib/dpkg/diversions-old",
}


def test_uninstall_restores_every_byte(
    machine: Machine, before: manifest.Manifest
) -> None:
    """Off without a trace: nobody puts on a host what cannot be taken off again."""
    assert refused(host.docker_run(machine, "unsigned"), "ENF-1001")

    done = machine.run("/usr/libexec/enforcer/uninstall")

    assert "enforcer is off this host\n" in done.stdout
    assert host.docker_run(machine, "unsigned").stdout == "this is unsigned\n"
    assert host.installed_units(machine) == []
    assert machine.reboot() == "running"
    assert host.state_of(machine, "old-unsigned") == (True, "")
    machine.poweroff()
    changes = manifest.differences(before, manifest.take(machine), NOT_INSTALLED)
    assert [line for line in changes if line[2:].partition(": ")[0] not in BACKUPS] == [
        f"+ {path}" for path in sorted(SIGNERS)
    ]


def test_what_was_signed_before_an_installation_counts_after_it(
    machine: Machine,
) -> None:
    """Signatures that root kept while there was no user of ours are that user's."""
    machine.run("/usr/libexec/enforcer/uninstall")
    host.sign(machine, "docker:unsigned:1")

    machine.run("enforcer", "install", "--docker", "--enforce", "--yes")

    assert host.docker_run(machine, "signed").stdout == STARTED
    assert host.docker_run(machine, "unsigned").stdout == "this is unsigned\n"
    assert machine.sh("find /var/lib/enforcer ! -user enforcer").stdout == ""
    assert machine.run("enforcer", "log", "--verify").returncode == 0


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("rm -rf /usr/lib/enforcer", "ENF-1605"),
        ("echo '{' >/etc/enforcer/enforcer.yaml", "ENF-160"),
        ("rm -rf /var/lib/enforcer; echo >/var/lib/enforcer", "ENF-160"),
    ],
    ids=["environment", "settings", "state"],
)
def test_a_host_comes_back_however_enforcer_is_broken(
    machine: Machine, damage: str, code: str
) -> None:
    """The drill: type what the README says, and containers start again in time."""
    machine.sh(f"{damage}; systemctl restart enforcer.service || true")
    machine.reboot()
    assert refused(host.docker_run(machine, "signed"), code)

    began = time.monotonic()
    for command in documented("If enforcer itself is broken", 0):
        machine.sh(command)

    assert host.docker_run(machine, "unsigned").stdout == "this is unsigned\n"
    assert host.state_of(machine, "old-signed") == (True, "")
    assert time.monotonic() - began < RECOVERY_SECONDS


def test_a_host_comes_back_without_any_program_of_enforcers(machine: Machine) -> None:
    """The drill by hand: what uninstall needs may be gone as well."""
    machine.sh("rm -rf /usr/lib/enforcer /usr/libexec/enforcer/uninstall")
    machine.reboot()
    assert host.docker_run(machine, "signed").returncode == host.LATE

    for command in documented("If enforcer itself is broken", 1):
        machine.sh(command)

    assert host.docker_run(machine, "signed").stdout == STARTED
    assert host.state_of(machine, "old-signed") == (True, "")


def documented(heading: str, number: int) -> list[str]:
    """The commands of one block under a heading of the README, comments left out."""
    text = (host.REPOSITORY / "README.md").read_text()
    (section,) = re.findall(rf"(?ms)^### {re.escape(heading)}\n(.*?)^##", text)
    blocks = re.findall(r"(?m)(?:^    .*\n)+", section)
    lines = [line.split("#")[0].strip() for line in blocks[number].splitlines()]
    commands = [line for line in lines if line]
    assert 0 < len(commands) <= MAX_COMMANDS
    return commands
