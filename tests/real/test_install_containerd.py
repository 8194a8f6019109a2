"""`enforcer install --containerd` and `--cri`, on every layout of its configuration."""

import json
from pathlib import Path

import pytest

from tests.engines.images import full_name, layout_to_tar, write_layout
from tests.engines.path import Release
from tests.engines.private_host import PrivateHost

CONFIG = "/etc/containerd/config.toml"
_V1 = """\
disabled_plugins = []
[plugins.cri]
  [plugins.cri.containerd.runtimes.runc]
   runtime_type = "io.containerd.runc.v2" # ours
"""
_V2 = """\
version = 2 # Debian's

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
"""
_IMPORTS = 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
_HANDLERS = """\
version = 3
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "fast"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.fast]
    runtime_type = "io.containerd.runc.v2"
    sandboxer = "podsandbox"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.fast.options]
      SystemdCgroup = false  # cgroupfs
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
    runtime_type = "io.containerd.kata.v2"
    sandboxer = "podsandbox"
"""


def _load(host: PrivateHost, tag: str = "app:1") -> None:
    layout = host.home / "layout"
    write_layout(layout, text=f"this is {tag}", tag=tag)
    archive = layout_to_tar(layout, layout.with_suffix(".tar"))
    host.sh(f"ctr images import {archive}")


def _runs(host: PrivateHost, name: str) -> bool:
    done = host.sh(
        f"ctr run --rm {full_name('app:1')} {host.home.name.replace('_', '0')}-{name}",
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize(
    ("release", "config", "options", "shown"),
    [
        ("forky", None, "--containerd", ["bin_dir"]),
        ("forky", _IMPORTS, "--containerd", ["bin_dir"]),
        ("forky", _V2, "--containerd --cri", ["bin_dir", "BinaryName"]),
        ("forky", _HANDLERS, "--cri", ["BinaryName", "BinaryName"]),
        ("bookworm", _V1, "--cri", ["BinaryName"]),
        ("bookworm", _V2, "--containerd --cri", ["BinaryName"]),
        ("bookworm", _V2, "--containerd", []),
    ],
)
def test_containerd_is_installed_on_and_comes_back_as_it_was(
    engines: Path, release: Release, config: str | None, options: str, shown: list[str]
) -> None:
    """It reads what is meant and nothing else, and a running container goes on."""
    with PrivateHost(release=release, docker=False) as host:
        if config:
            host.write(CONFIG, config)
        host.start_engines()
        _load(host)
        name = f"{host.home.name.replace('_', '0')}-web"
        host.sh(f"ctr run -d {full_name('app:1')} {name} sleep 1000")
        pid = host.sh("ctr task ls -q").stdout
        before = host.changes()

        host.enforcer("install", *options.split())

        dump = host.sh("containerd config dump").stdout
        ours = [
            line.split()[0]
            for line in dump.splitlines()
            if "/opt/enforcer/verifiers" in line or "/usr/sbin/runc" in line
        ]
        assert ours == shown or sorted(ours) == sorted(shown)
        assert _runs(host, "on")
        audit = host.sh("cat /var/log/enforcer/audit/audit.jsonl").stdout.splitlines()
        assert json.loads(audit[-1])["reference"] == full_name("app:1")
        if config == _IMPORTS:
            assert host.sh(f"cat {CONFIG}").stdout == config  # a drop-in alone

        host.sh("/usr/bin/python3 -I -S /usr/libexec/enforcer/uninstall")

        assert host.changes() == before
        assert host.sh("ctr task ls -q").stdout == pid
        assert _runs(host, "off")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("version = 3\n[plugins.", "ENF-2306"),  # never read by a containerd that runs
        (
            'version = 3\n[plugins."io.containerd.image-verifier.v1.bindir"]\n'
            "bin_dir = '/usr/lib/dpkg'\n",
            "ENF-2307",
        ),
        (
            'version = 3\nplugins = {"io.containerd.image-verifier.v1.bindir" = {}}\n',
            "ENF-2306",
        ),
    ],
)
def test_a_configuration_that_is_not_ours_to_change_is_refused(
    engines: Path, config: str, code: str
) -> None:
    """In words, before anything is changed."""
    with PrivateHost(docker=False) as host:
        host.start_engines()
        host.write(CONFIG, config)
        before = host.changes()

        done = host.enforcer("install", "--containerd", check=False)

        assert done.returncode != 0
        assert done.stderr.strip().endswith(f"[{code}]"), done.stderr
        assert host.changes() == before
