"""`enforcer cache gc` on hosts whose enforcer.yaml lists no engines, and has to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.images import full_name, layout_to_tar, write_layout
from tests.engines.private_host import PrivateHost
from tests.unit.sources.signed import pems

YAML = "/etc/enforcer/enforcer.yaml"
CONTENT = "/var/lib/containerd/io.containerd.content.v1.content"
OWN = (  # the containerd that a Docker starts by itself
    "engines: [{kind: containerd, socket: /run/docker/containerd/containerd.sock, "
    "root: /var/lib/docker/containerd/daemon, state: /run/docker/containerd/daemon}, "
    "{kind: docker, socket: /run/docker/containerd/containerd.sock, "
    "root: /var/lib/docker, state: /run/docker, api: /run/docker.sock}]"
)


@pytest.fixture
def lone_containerd(engines: Path) -> Iterator[PrivateHost]:
    """A host on which Docker never was, with a signed image and another that went."""
    with PrivateHost(docker=False) as host:
        remove(host, "/var/lib/docker")
        host.sh("rm -r /etc/docker")
        host.start_engines()
        for name in ("kept", "gone"):
            host.sh(f"ctr images import {archive(host, name)}")
            sign(host, f"containerd:{full_name(f'{name}:1')}")
        host.sh(f"ctr images rm --sync {full_name('gone:1')}")
        yield host


@pytest.fixture
def lone_docker(engines: Path) -> Iterator[PrivateHost]:
    """A host with a Docker that starts its own containerd, and keeps images there."""
    with PrivateHost() as host:
        remove(host, "/var/lib/containerd")
        table = json.loads(host.sh("cat /run/standin/services.json").stdout)
        argv = table["docker.service"]["argv"]
        table["docker.service"]["argv"] = [
            word for word in argv if not word.startswith("--containerd=")
        ]
        host.write("/run/standin/services.json", json.dumps(table))
        stored = {"features": {"containerd-snapshotter": True}}
        host.write("/etc/docker/daemon.json", json.dumps(stored))
        host.sh("systemctl start docker.service")
        listed(host, OWN)
        for name in ("kept", "gone"):
            host.sh(f"docker load --input {archive(host, name)}")
            sign(host, f"docker:{name}:1")
        host.sh("docker image rm gone:1")
        yield host


def remove(host: PrivateHost, folder: str) -> None:
    """Take away a folder that the private host has for engines it might have."""
    host.sh(f"umount {folder} && rmdir {folder}")


def archive(host: PrivateHost, name: str) -> Path:
    layout = host.home / name
    write_layout(layout, text=f"this is {name}", tag=f"{name}:1")
    return layout_to_tar(layout, layout.with_suffix(".tar"))


def sign(host: PrivateHost, target: str) -> None:
    key, chain, _ = pems("acme")
    (host.home / "acme.key").write_bytes(key)
    (host.home / "acme.crt").write_bytes(chain)
    keys = ("--key", f"{host.home}/acme.key", "--cert", f"{host.home}/acme.crt")
    host.enforcer("sign", target, *keys)


def listed(host: PrivateHost, engines: str) -> None:
    host.write(YAML, f"apiVersion: enforcer/v1\n{engines}\n")


def signatures(host: PrivateHost) -> int:
    return len(json.loads(host.enforcer("cache", "list", "-o", "json").stdout))


def gc(host: PrivateHost) -> int:
    """Collect what may go, whatever its age; return how many signatures are left."""
    host.enforcer("cache", "gc", "--keep-days", "0")
    return signatures(host)


def refused(host: PrivateHost) -> str:
    """Collect in vain: nothing went. Return what enforcer.yaml should say, if told."""
    before = signatures(host)
    done = host.enforcer("cache", "gc", "--keep-days", "0", check=False)
    assert (done.returncode, "[ENF-1405]" in done.stderr) == (3, True), done.stderr
    assert signatures(host) == before
    (found,) = re.findall(r"`(engines: \[.*\])`", done.stderr)
    return str(found)


def test_containerd_alone_needs_no_settings(lone_containerd: PrivateHost) -> None:
    """What it holds stays, whether it runs or not; the rest goes."""
    assert signatures(lone_containerd) == 2

    assert gc(lone_containerd) == 1

    lone_containerd.sh("systemctl stop containerd.service")
    lone_containerd.sh("rm -r /run/containerd")
    assert gc(lone_containerd) == 1


@pytest.mark.parametrize(
    "trace",
    [
        "mkdir /var/lib/docker",  # the disk is not mounted
        "ln -s /data/docker /var/lib/docker",  # nor here
        "mkdir /run/docker",
        "touch /run/docker.sock",
        "mkdir /etc/docker",  # where it says that its data is elsewhere
        "touch /usr/sbin/dockerd",
        "mkdir -p /etc/systemd/system && touch /etc/systemd/system/docker.service",
    ],
)
def test_where_docker_may_be_and_does_not_say_nothing_goes(
    lone_containerd: PrivateHost, trace: str
) -> None:
    """Until somebody says that it is not: the message has the very line."""
    lone_containerd.sh(trace)

    line = refused(lone_containerd)

    assert "docker" not in line
    listed(lone_containerd, line)
    assert gc(lone_containerd) == 1


def test_a_docker_that_is_listed_is_there(lone_containerd: PrivateHost) -> None:
    """No trace of it is a disk that is not mounted: somebody wrote that it is here."""
    socket = "socket: /run/containerd/containerd.sock"
    where = "root: /var/lib/containerd, state: /run/containerd"
    engine = f"{{kind: containerd, {socket}, {where}}}"
    for root in ("/var/lib/docker", "/data/docker"):
        docker = f"{{kind: docker, {socket}, root: {root}, state: /run/docker}}"
        listed(lone_containerd, f"engines: [{engine}, {docker}]")

        assert refused(lone_containerd) == f"engines: [{engine}]"


@pytest.mark.parametrize("folder", ["/var/lib/containerd", CONTENT])
def test_a_containerd_whose_disk_is_not_mounted_keeps_everything(
    lone_containerd: PrivateHost, folder: str
) -> None:
    """All of it or its content alone: the folder is there, and nothing in it."""
    lone_containerd.sh("systemctl stop containerd.service")
    lone_containerd.sh(f"mount -t tmpfs none {folder}")

    refused(lone_containerd)

    lone_containerd.sh(f"umount {folder}")
    assert gc(lone_containerd) == 1


def test_docker_alone_is_told_where_its_images_are(lone_docker: PrivateHost) -> None:
    """They are in a containerd of its own: without settings none of them is seen."""
    lone_docker.sh(f"rm {YAML}")

    assert refused(lone_docker) == OWN

    listed(lone_docker, OWN)
    assert gc(lone_docker) == 1
    lone_docker.sh("systemctl stop docker.service")
    assert gc(lone_docker) == 1
    lone_docker.sh("mount -t tmpfs none /var/lib/docker")
    refused(lone_docker)


def test_docker_beside_its_containerd_needs_no_settings(engines: Path) -> None:
    """As Debian has it; what Docker's own store has stays, running or not."""
    with PrivateHost() as host:
        host.start_engines()
        for name in ("kept", "gone"):
            host.sh(f"docker load --input {archive(host, name)}")
            sign(host, f"docker:{name}:1")
        host.sh("docker image rm gone:1")

        assert gc(host) == 1

        host.sh("systemctl stop docker.service containerd.service")
        assert gc(host) == 1
