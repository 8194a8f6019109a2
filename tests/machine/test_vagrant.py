"""The Vagrantfile holds no logic: all of it is in the script that test_host.py runs.

`vagrant up` itself is not run here: it wants a box and a hypervisor.
"""

import re
import shutil
import subprocess

import pytest

from tests.machine.host import REPOSITORY

VAGRANT = REPOSITORY / "vagrant"


def test_the_vagrantfile_only_starts_the_script_for_each_engine() -> None:
    """What only happens under Vagrant is what no test of ours sees."""
    text = (VAGRANT / "Vagrantfile").read_text()

    provisioned = re.findall(r"\.vm\.provision .*", text)

    assert provisioned == ['.vm.provision :shell, path: "provision.sh", args: [engine]']
    assert set(re.findall(r"provider :(\w+)", text)) == {"libvirt", "virtualbox"}
    (engines,) = re.findall(r"%w\[(.*)\]\.each do \|engine\|", text)
    script = (VAGRANT / "provision.sh").read_text()
    assert engines.split() == re.findall(r"(?m)^(\w+)\) packages=", script)
    if shutil.which("ruby"):
        subprocess.run(["ruby", "-c", VAGRANT / "Vagrantfile"], check=True)


def test_the_script_is_posix_shell_and_knows_no_vagrant_user() -> None:
    """It is for Ansible, cloud-init and people, too, and for any user's machine."""
    script = VAGRANT / "provision.sh"

    parsed = subprocess.run(["dash", "-n", script], capture_output=True, check=False)

    assert parsed.stderr == b""
    assert script.read_text().startswith("#!/bin/sh\n")
    assert "${ENFORCER_SRC:-/vagrant}" in script.read_text()
    assert not re.search(r"/home/|sudo|\bsu\b|SUDO_USER", script.read_text())


@pytest.mark.parametrize("words", [(), ("podman",), ("--docker",)])
def test_without_an_engine_of_ours_it_changes_nothing(words: tuple[str, ...]) -> None:
    """A mistyped word must not leave half an installation."""
    command = ["sh", str(VAGRANT / "provision.sh"), *words]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("usage: provision.sh docker|containerd ")
