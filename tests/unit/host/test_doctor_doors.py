"""The opt-in doors, and a mask before one: it matters where an engine comes through."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer.hooks.nri.state import NriState, save_state
from enforcer.host.doctor import Look, authz, runtimes, units
from enforcer.host.doctor.doors import NRI
from tests.unit.host.looks import codes, look_at

WANTED = {"enable": True, "required_plugins": ["enforcer"]}


def _unit(root: Path, name: str, folder: str = "etc/systemd/system") -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def _mask(root: Path, name: str) -> None:
    path = _unit(root, name)
    path.unlink()
    path.symlink_to(os.devnull)


OPT_IN = ("enforcer-authz.socket", "enforcer-cri.socket", "enforcer-nri.service")


def test_a_masked_unit_of_a_door_that_no_engine_uses_is_only_told(
    tmp_path: Path,
) -> None:
    """Who does not want a door may shut it for good."""
    for name in OPT_IN:
        _mask(tmp_path, name)
    _unit(tmp_path, "kubelet.service").write_text(
        "ExecStart=kubelet --container-runtime-endpoint=/run/containerd.sock"
    )
    seen = list(units.check(look_at(tmp_path, "docker", "containerd")))

    assert seen[:-1] == [f"{n} is masked, and no engine uses that door" for n in OPT_IN]


@contextlib.contextmanager
def _kubelet(look: Look, option: str) -> Iterator[None]:
    """Run a process that was told so."""
    command = [sys.executable, "-c", "input()", option.format(look.settings.run_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        time.sleep(0.2)  # until it is that program, and no copy of ours
        yield
        process.communicate(b"\n")


@pytest.mark.parametrize(
    "file",
    [
        "var/lib/kubelet/config.yaml",
        "var/lib/kubelet/kubeadm-flags.env",
        "etc/default/kubelet",
        "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
        "",
    ],
)
def test_a_masked_proxy_that_kubelet_is_told_of_fails(
    tmp_path: Path, file: str
) -> None:
    """It does not run then, so what it is told by is looked at, too."""
    _mask(tmp_path, "enforcer-cri.socket")
    look = look_at(tmp_path, "containerd")
    option = "--container-runtime-endpoint=unix://{}/cri.sock"
    with contextlib.ExitStack() as stack:
        if file:
            path = _unit(tmp_path, Path(file).name, str(Path(file).parent))
            path.write_text(f"X {option.format(look.settings.run_dir)} Y")
        else:
            stack.enter_context(_kubelet(look, option))

        assert codes(units.check, look) == ["ENF-2164"]

    if not file:
        assert codes(units.check, look) == []


def test_a_masked_nri_plugin_that_containerd_demands_or_that_runs_fails(
    tmp_path: Path,
) -> None:
    """containerd creates nothing without what it demands."""
    _mask(tmp_path, "enforcer-nri.service")
    tree = {"plugins": {NRI: {"disable": False, "default_validator": WANTED}}}
    look = look_at(tmp_path, "containerd")

    assert codes(units.check, look_at(tmp_path, "containerd", tree=tree)) == [
        "ENF-2164"
    ]
    assert codes(units.check, look) == []
    save_state(tmp_path / "run", NriState(int(look.clock.now().timestamp())))
    assert codes(units.check, look) == ["ENF-2164"]


def test_a_masked_plugin_of_a_docker_that_cannot_be_asked_fails(tmp_path: Path) -> None:
    """It may be hung because it waits for that very plug-in."""
    _mask(tmp_path, "enforcer-authz.socket")

    assert codes(units.check, look_at(tmp_path, "docker", asked=None)) == ["ENF-2164"]


def test_a_plugin_is_used_where_dockerd_asks_it_and_not_where_it_says_so(
    tmp_path: Path,
) -> None:
    """What `docker info` lists is of dockerd's start, and a reload changes it."""
    says = {"Plugins": {"Authorization": ["enforcer"]}, "DefaultRuntime": "runc"}
    runtimes_of = {"Runtimes": {"runc": {"path": "runc"}, "free": {"path": "/free"}}}
    (tmp_path / "enforcer.sock").touch()
    told = look_at(tmp_path, "docker", info={**says, **runtimes_of})
    asked = look_at(tmp_path, "docker", info={**runtimes_of}, asked=True)

    assert codes(authz.check, told) == ["ENF-2140"]
    assert "ENF-2122" in codes(runtimes.check, told)
    assert "ENF-2140" not in codes(authz.check, asked)
    assert "ENF-2122" not in codes(runtimes.check, asked)
