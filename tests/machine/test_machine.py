"""The machine itself: what other tests of this folder rely on."""

from pathlib import Path

import pytest

from tests.engines.images import layout_to_tar, write_layout
from tests.engines.leftovers import CGROUPS
from tests.engines.process import EngineError
from tests.machine.machine import Machine


def test_a_machine_boots_runs_containers_reboots_and_leaves_nothing(
    debian: Path, tmp_path: Path
) -> None:
    """Every other test here says something about a host; this says it is one."""
    layout = tmp_path / "layout"
    write_layout(layout, text="hello from a machine", tag="hello:1")
    archive = layout_to_tar(layout, tmp_path / "hello.tar")
    with Machine() as machine:
        assert machine.boot() == "running"
        machine.copy_in(archive, "/root/hello.tar")
        machine.run("docker", "load", "--input", "/root/hello.tar")
        machine.run("ctr", "images", "import", "/root/hello.tar")
        name = "docker.io/library/hello:1"

        ran = machine.run("docker", "run", "--rm", "hello:1")
        bare = machine.run("ctr", "run", "--rm", "--cpu-shares", "0", name, "c1")

        assert ran.stdout == "hello from a machine\n"
        assert bare.returncode == 0
        machine.sh("touch /run/gone /etc/kept")
        assert machine.reboot() == "running"
        assert machine.sh("ls /run/gone", check=False).returncode == 2
        assert machine.run("docker", "run", "--rm", "hello:1").stdout == ran.stdout
        machine.kill()
        assert machine.read("/etc/kept") == ""
        home = machine._home
    assert not home.exists()
    assert home.name not in Path("/proc/self/mounts").read_text()
    assert not [*CGROUPS.glob(f"*/{machine.name}"), *CGROUPS.glob(machine.name)]


def test_two_machines_are_two(debian: Path) -> None:
    """Tests run side by side: what one does to its host is not seen by another."""
    with Machine() as one, Machine() as other:
        one.boot()
        other.boot()

        one.sh("echo one > /etc/whose; systemctl stop docker.service")

        assert other.sh("cat /etc/whose", check=False).returncode == 1
        assert (
            other.run("systemctl", "is-active", "docker.service").stdout == "active\n"
        )
        one.kill()
        assert other.run("docker", "ps", "--quiet").stdout == ""


def test_what_fails_in_there_says_what_it_printed(debian: Path) -> None:
    """The machine is gone a second later: a test that fails must explain itself."""
    with Machine() as machine, pytest.raises(EngineError) as caught:
        machine.sh("echo on the way; exit 3")

    assert "exits 3" in str(caught.value)
    assert "on the way" in str(caught.value)
    assert machine._home.name not in Path("/proc/self/mounts").read_text()


def test_a_machine_can_start_with_the_disk_of_another(debian: Path) -> None:
    """What is long to set up is set up once; no test sees what another did to it."""
    with Machine() as base:
        base.boot()
        base.sh("echo base > /etc/whose; echo kept > /var/lib/docker/kept")
        base.poweroff()
        with Machine(base) as one, Machine(base) as other:
            one.sh("echo one > /etc/whose; rm /var/lib/docker/kept /etc/hostname")

            assert other.read("/etc/whose") == "base\n"
            assert other.read("/var/lib/docker/kept") == "kept\n"
            assert other.boot() == "running"
