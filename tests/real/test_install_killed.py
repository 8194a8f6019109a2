"""Install and uninstall killed half-way: one more uninstall, and all is as before."""

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.images import layout_to_tar, write_layout
from tests.engines.private_host import PrivateHost
from tests.engines.process import wait_until

SOAK = bool(os.environ.get("ENFORCER_SOAK"))
ROUNDS = 200 if SOAK else 20
CALLS = "write,fsync,rename,unlink,link,mkdir,rmdir,symlink,ftruncate,chmod,fchown"
INSTALL = "/usr/lib/enforcer/bin/enforcer install --docker --authz --containerd"
UNDO = "/usr/bin/python3 -I -S /usr/libexec/enforcer/uninstall"
# The program, or where it is not there yet, or no more, the verb.
ANY_UNDO = (
    f"if [ -e /usr/libexec/enforcer/uninstall ]; then {UNDO}; "
    "else /usr/lib/enforcer/bin/enforcer uninstall; fi"
)
_DAEMON_JSON = '{\n  "log-level": "info" \n}\n'
_CONFIG = "version = 3 # mine\n[debug]\n  level = 'info'\n"


@pytest.fixture(scope="module")
def host(engines: Path) -> Iterator[PrivateHost]:
    """Run both engines on a host that all rounds share, as each leaves no trace."""
    with PrivateHost() as host:
        host.write("/etc/docker/daemon.json", _DAEMON_JSON, 0o640)
        host.write("/etc/containerd/config.toml", _CONFIG)
        host.start_engines()
        layout = host.home / "layout"
        write_layout(layout, text="it runs", tag="app:1")
        archive = layout_to_tar(layout, layout.with_suffix(".tar"))
        host.sh(f"docker load -q -i {archive}")
        yield host


@pytest.fixture(scope="module")
def before(host: PrivateHost) -> dict[str, tuple[object, ...]]:
    """What the host is like without us, after a first time that was not disturbed."""
    untouched = host.changes()
    host.sh(INSTALL)
    host.sh(UNDO)
    assert host.changes() == untouched
    return untouched


def _recovered(host: PrivateHost, before: object) -> None:
    busy = "pgrep 'systemd-sysuse|dpkg-divert|systemctl'"  # to their end, whoever died
    wait_until(lambda: host.sh(busy, check=False).returncode == 1, "they have ended")
    done = host.sh(ANY_UNDO)
    assert host.changes() == before, done.stdout
    for service in host.services:
        host.sh(f"systemctl is-active {service}")
    assert host.sh("docker run --rm app:1").stdout == "it runs\n"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_any_time(
    host: PrivateHost, before: dict[str, tuple[object, ...]], number: int
) -> None:
    """Every byte is back, and the engines start containers."""
    chance = random.Random(number)  # noqa: S311 - the same moments in every run
    seconds = f"{chance.uniform(0.4, 3.0):.3f}"
    if number % 2:
        host.sh(INSTALL)
        seconds = f"{chance.uniform(0.02, 1.2):.3f}"
    command = UNDO if number % 2 else INSTALL

    host.sh(f"timeout -s KILL {seconds} {command}", check=False)

    _recovered(host, before)


def _calls(host: PrivateHost, command: str) -> list[tuple[str, int]]:
    """Every call that changes a disk, by name and number, in a run of a command."""
    host.sh(f"strace -qq -e trace={CALLS} -o /tmp/{host.home.name}.calls {command}")
    path = Path(f"/tmp/{host.home.name}.calls")
    names = re.findall(r"^(\w+)\(", path.read_text(), re.MULTILINE)
    path.unlink()
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append((name, seen[name]))
    return found


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_killed_at_any_call_that_changes_something(
    host: PrivateHost, before: dict[str, tuple[object, ...]], verb: str
) -> None:
    """Between any two of them the power could go; in CI at some, in the soak at all."""
    if verb == "install":
        command = INSTALL
        calls = _calls(host, INSTALL)
        host.sh(UNDO)
    else:
        command = UNDO
        host.sh(INSTALL)
        calls = _calls(host, UNDO)
    assert len(calls) > 40
    chosen = calls if SOAK else random.Random(verb).sample(calls, 8)  # noqa: S311

    for name, number in chosen:
        if verb == "uninstall":
            host.sh(INSTALL)
        inject = f"-e inject={name}:signal=KILL:when={number}"
        host.sh(
            f"strace -qq -o /dev/null -e trace={name} {inject} {command}", check=False
        )
        _recovered(host, before)
