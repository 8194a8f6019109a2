"""A whole host, installed as the README says: what it refuses, and what it survives.

vagrant/provision.sh runs once on a fresh Debian 12; every test starts with that disk.
Two containers were there before enforcer was, both with `--restart=always`.
"""

import json
import time

import pytest

from tests.engines.process import wait_until
from tests.machine import host
from tests.machine.host import STARTED, refused
from tests.machine.machine import Machine

BROKEN = "/etc/systemd/system/enforcer.service.d/broken.conf"
NEVER = "[Service]\nExecStart=\nExecStart=/bin/false\n"
WATCHDOG_SECONDS = 120  # the unit's 10, 10 more to abort, and a busy machine


def test_doctor_finds_nothing_and_prove_finds_no_open_door(machine: Machine) -> None:
    """What a fresh installation looks like to those who ask whether it works."""
    doctor = machine.run("enforcer", "doctor")
    prove = machine.run("enforcer", "prove", "--output", "json")

    assert "0 failures" in doctor.stdout
    tried = json.loads(prove.stdout)
    assert tried["open"] == 0
    results = {door["door"]: door["result"] for door in tried["doors"]}
    assert set(results.values()) == {"refused", "skipped"}  # no pause image is here
    assert results["docker-start"] == results["containerd-task"] == "refused"
    assert results["docker-build"] == results["containerd-k8s"] == "refused"


@pytest.mark.alone  # what Docker starts at boot waits four seconds for a first answer
def test_after_a_reboot_unsigned_is_refused_and_signed_runs(machine: Machine) -> None:
    """The promise itself, with nobody logged in when the engines start."""
    unsigned, signed = (host.docker_run(machine, n) for n in ("unsigned", "signed"))

    assert refused(unsigned, "ENF-1001"), unsigned
    assert signed.stdout == STARTED
    assert machine.run("systemctl", "is-active", "enforcer").stdout == "active\n"
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert "mode enforce" in machine.run("enforcer", "status").stdout
    wait_until(lambda: host.state_of(machine, "old-signed")[0], "old-signed is back")
    running, why = host.state_of(machine, "old-unsigned")
    assert not running
    assert "[ENF-1001]" in why
    started = machine.run("docker", "start", "old-unsigned", check=False)
    assert started.returncode == 1
    assert "[ENF-1001]" in started.stderr


def test_the_timers_run_asks_the_fetcher_as_their_units_say(machine: Machine) -> None:
    """Users, sockets, sandbox and the login that may lack are systemd's own here."""
    timer = machine.run("systemctl", "is-active", "enforcer-sync.timer").stdout
    idle = machine.run("systemctl", "start", "enforcer-sync.service")
    sync = 'sync: {every: 1h, list: ["127.0.0.1:1/app:1"]}'
    machine.sh(f"echo '{sync}' >> /etc/enforcer/enforcer.yaml")

    machine.run("systemctl", "start", "enforcer-sync.service", check=False)

    said = machine.run("journalctl", "--unit", "enforcer-sync", "--output=cat").stdout
    user = machine.sh("ps -o user:20= -C enforcer-fetcher").stdout
    assert timer == "active\n"
    assert idle.returncode == 0
    assert "127.0.0.1:1/app:1" in said
    assert "[ENF-2602]" in said  # the fetcher's own answer
    assert user.strip() == "enforcer-fetch"


def test_what_a_second_provisioning_finds_is_left_alone(machine: Machine) -> None:
    """`vagrant provision`, or a person who is not sure, must not undo anything."""
    key = machine.read(host.KEY)
    machine.write("/etc/enforcer/policy.d/20-mine.yaml", "apiVersion: enforcer/v1\n")

    host.provision(machine, "docker")

    assert machine.read(host.KEY) == key
    assert machine.read("/etc/enforcer/policy.d/20-mine.yaml")
    assert host.docker_run(machine, "signed").stdout == STARTED
    assert refused(host.docker_run(machine, "unsigned"), "ENF-1001")


def test_an_installation_that_broke_off_is_not_taken_for_one(machine: Machine) -> None:
    """Its daemon answers, and nothing asks it: the host is open."""
    killer = (
        '#!/bin/sh\ncase "$*" in *--add*) kill -9 $PPID ;; esac\n'
        'exec /usr/bin/dpkg-divert "$@"\n'
    )
    machine.run("enforcer", "uninstall")
    machine.write("/usr/local/sbin/dpkg-divert", killer)
    machine.run("chmod", "755", "/usr/local/sbin/dpkg-divert")
    words = ("install", "--docker", "--enforce", "--yes")
    killed = machine.run("enforcer", *words, check=False)
    machine.run("rm", "/usr/local/sbin/dpkg-divert")
    unsigned = host.docker_run(machine, "unsigned")

    again = host.provision(machine, "docker", check=False)

    assert killed.returncode != 0
    assert unsigned.stdout == "this is unsigned\n"
    assert again.returncode == 1
    assert "broke off" in again.stderr
    assert "Run `enforcer uninstall` first. [ENF-2310]" in again.stderr
    machine.run("enforcer", "uninstall")
    host.provision(machine, "docker", "--yes")
    assert refused(host.docker_run(machine, "unsigned"), "ENF-1001")


@pytest.mark.alone  # the gate waits for four seconds
def test_a_killed_daemon_is_back_before_the_next_start(machine: Machine) -> None:
    """systemd holds the sockets: what asks meanwhile waits for the new one."""
    first = host.main_pid(machine)

    machine.run("kill", "-KILL", str(first))

    assert host.docker_run(machine, "signed").stdout == STARTED
    assert refused(host.docker_run(machine, "unsigned"), "ENF-1001")
    assert host.main_pid(machine) not in (0, first)


def test_a_hung_daemon_refuses_until_the_watchdog_ends_it(machine: Machine) -> None:
    """A process that is there and answers nothing is the worst kind of dead."""
    first = host.main_pid(machine)

    machine.run("kill", "-STOP", str(first))

    assert refused(host.docker_run(machine, "signed"), "ENF-1602")
    wait_until(
        lambda: host.main_pid(machine) not in (0, first),
        "the watchdog has it restarted",
        WATCHDOG_SECONDS,
    )
    assert host.docker_run(machine, "signed").stdout == STARTED


def test_without_enforcer_nothing_starts_and_the_engines_boot(machine: Machine) -> None:
    """Law 10, and law 1: a host without a judge is a host, and starts nothing."""
    units = host.installed_units(machine)

    machine.run("systemctl", "disable", "--now", *units)

    assert refused(host.docker_run(machine, "signed"), "ENF-1601")
    assert machine.reboot() == "running"
    assert refused(host.docker_run(machine, "signed"), "ENF-1601")
    assert not host.state_of(machine, "old-signed")[0]


def test_a_daemon_that_cannot_start_keeps_no_engine_from_booting(
    machine: Machine,
) -> None:
    """Law 10: the engines boot, all that reads is answered, and a mend is enough."""
    machine.write(BROKEN, NEVER)

    machine.reboot()

    assert machine.run("docker", "ps", "--all", "--quiet").stdout.count("\n") == 2
    asked = time.monotonic()
    done = host.docker_run(machine, "signed")
    assert done.returncode == host.LATE
    assert "[ENF-16" in done.stderr
    assert time.monotonic() - asked < 10
    machine.sh(f"rm {BROKEN}; systemctl daemon-reload; systemctl restart enforcer")
    assert host.docker_run(machine, "signed").stdout == STARTED


def test_with_the_plug_in_listed_docker_boots_whatever_state_enforcer_is_in(
    found: Machine,
) -> None:
    """dockerd does not boot without a plug-in it lists: systemd's socket is first."""
    with Machine(found) as machine:
        machine.boot()
        host.provision(machine, "docker", "--authz", "--yes")
        host.sign(machine, "docker:signed:1")

        assert machine.reboot() == "running"

        made = machine.run("docker", "create", "unsigned:1", check=False)
        assert "denied by plugin enforcer" in made.stderr
        assert "[ENF-1001]" in made.stderr
        assert host.docker_run(machine, "signed").stdout == STARTED
        machine.write(BROKEN, NEVER)
        machine.reboot()
        assert machine.run("docker", "ps", "--all", "--quiet").stdout.count("\n") == 2
        made = machine.run("docker", "create", "signed:1", check=False)
        assert "denied by plugin enforcer" in made.stderr
        machine.run("/usr/libexec/enforcer/uninstall")
        assert host.docker_run(machine, "unsigned").stdout == "this is unsigned\n"
        assert machine.reboot() == "running"


def test_a_host_with_containerd_alone_keeps_the_same_promises(debian: object) -> None:
    """The other machine of the Vagrantfile: no Docker, and ctr as the way in."""
    with Machine() as machine:
        machine.boot()
        machine.run("systemctl", "disable", "--now", "docker.socket", "docker.service")
        host.bring(machine)
        host.load(machine, "containerd")
        host.provision(machine, "containerd")
        host.sign(machine, "containerd:docker.io/library/signed:1")

        for rebooted in (False, True):
            if rebooted:
                assert machine.reboot() == "running"
            unsigned = host.ctr_run(machine, "unsigned")
            assert unsigned.returncode == 1
            assert "[ENF-1001]" in unsigned.stderr
            assert host.ctr_run(machine, "signed").returncode == 0
