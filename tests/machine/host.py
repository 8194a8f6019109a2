"""A host with enforcer: a fresh Debian 12 on which vagrant/provision.sh has run."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from tests.engines.images import layout_to_tar, write_layout
from tests.machine.machine import Done, Machine
from tests.machine.nspawn import CACHE

Engine = Literal["docker", "containerd"]

REPOSITORY = Path(__file__).resolve().parents[2]
# What `vagrant up` would copy, as far as the installation needs it.
SOURCE = ("enforcer", "vagrant", "pyproject.toml", "constraints.txt", "README.md",
          "LICENSE")  # fmt: skip
# There is no network in there: pip finds what it needs here.
PIP = ("env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels")
KEY, CHAIN = "/root/acme/acme.key", "/root/acme/acme.crt"
STARTED = "this is signed\n"
LATE = 125  # what `docker run` exits with when the container did not start


def bring(machine: Machine) -> None:
    """Bring the source as Vagrant does, Python packages, and images to play with.

    The images are /root/images/{signed,unsigned}.tar, and nobody signed either yet.
    """
    with tempfile.TemporaryDirectory(prefix="bring-", dir="/tmp") as folder:
        source, images = Path(folder) / "vagrant", Path(folder) / "images"
        _copy_source(source)
        for name in ("signed", "unsigned"):
            write_layout(images / name, text=f"this is {name}", tag=f"{name}:1")
            layout_to_tar(images / name, images / f"{name}.tar")
        machine.copy_in(source, "/vagrant")
        machine.copy_in(images, "/root/images")
    machine.copy_in(CACHE / "wheels", "/wheels")


def _copy_source(target: Path) -> None:
    target.mkdir()
    for name in SOURCE:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, target / name, ignore=ignored)
        else:
            shutil.copy2(REPOSITORY / name, target / name)


def load(machine: Machine, engine: Engine) -> None:
    """Give both images to an engine."""
    take = {"docker": "docker load -q -i", "containerd": "ctr images import"}[engine]
    machine.sh(f"for name in signed unsigned; do {take} /root/images/$name.tar; done")


def provision(
    machine: Machine, engine: Engine, *options: str, check: bool = True
) -> Done:
    """Install enforcer, as a person with Vagrant does."""
    script = ("sh", "/vagrant/vagrant/provision.sh", engine, *options)
    return machine.run(*PIP, *script, check=check)


def sign(machine: Machine, target: str) -> None:
    """Sign an image with the key that provisioning made."""
    machine.run("enforcer", "sign", target, "--key", KEY, "--cert", CHAIN)


def docker_run(machine: Machine, name: str) -> Done:
    """Start an image with Docker and wait for its end."""
    return machine.run("docker", "run", "--rm", f"{name}:1", check=False)


def refused(done: Done, code: str) -> bool:
    """Whether Docker was kept from starting something, and for this reason."""
    return done.returncode == LATE and f"[{code}" in done.stderr


def ctr_run(machine: Machine, name: str) -> Done:
    """Start an image with ctr and wait for its end; what it prints, its shim writes."""
    out = f"/run/{name}.out"
    words = ("ctr", "run", "--rm", f"--log-uri=file://{out}", "--cpu-shares", "0")
    image = f"docker.io/library/{name}:1"
    done = machine.run(*words, image, f"{name}-run", check=False)
    done.stdout += machine.run("cat", out, check=False).stdout
    machine.run("rm", "--force", out)
    return done


def main_pid(machine: Machine, unit: str = "enforcer.service") -> int:
    """The main process of a unit, as the machine numbers it; 0 if it has none."""
    shown = ("systemctl", "show", "--property=MainPID", "--value", unit)
    return int(machine.run(*shown).stdout)


def state_of(machine: Machine, container: str) -> tuple[bool, str]:
    """Whether a container of Docker's runs, and why it did not start."""
    shown = ("docker", "inspect", "--format", "{{json .State}}", container)
    state = json.loads(machine.run(*shown).stdout)
    return bool(state["Running"]), str(state["Error"])


def installed_units(machine: Machine) -> list[str]:
    """Every unit of ours that is on the machine."""
    listed = ("systemctl", "list-unit-files", "--no-legend", "--plain", "enforcer*")
    found = machine.run(*listed, check=False)  # 1 when there is none
    return [line.split()[0] for line in found.stdout.splitlines()]
