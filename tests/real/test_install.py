"""`enforcer install` and `uninstall` on a host of our own with real engines."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.images import layout_to_tar, write_layout
from tests.engines.private_host import PrivateHost
from tests.engines.process import wait_until

_POLICY = """\
apiVersion: enforcer/v1
signers:
  acme: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}
always: acme
statements:
  - {name: everything, scopes: ["*"], require: acme}
"""
RECOVERY_SECONDS = 120  # what a host is granted for the whole way back
UNDO = "/usr/bin/python3 -I -S /usr/libexec/enforcer/uninstall"
OWN_JSON = '{\n    "log-level": "info",\n    "shutdown-timeout": 3\n}'


@pytest.fixture
def host(engines: Path) -> Iterator[PrivateHost]:
    """Run Docker and its containerd, both as services, with settings of their own."""
    with PrivateHost() as host:
        host.write("/etc/docker/daemon.json", OWN_JSON, 0o640)
        host.start_engines()
        _load(host, "app:1")
        yield host


def _load(host: PrivateHost, tag: str) -> None:
    layout = host.home / f"layout-{tag.replace(':', '-')}"
    write_layout(layout, text=f"this is {tag}", tag=tag)
    archive = layout_to_tar(layout, layout.with_suffix(".tar"))
    host.sh(f"docker load -q -i {archive}")


def _runs(host: PrivateHost, image: str = "app:1") -> bool:
    done = host.sh(f"docker run --rm {image}", check=False)
    return done.returncode == 0 and f"this is {image}" in done.stdout


@pytest.mark.parametrize("options", ["--docker", "--docker --authz", "--containerd"])
def test_a_host_is_installed_on_and_comes_back_as_it_was(
    host: PrivateHost, options: str
) -> None:
    """Every byte, and dockerd is the same process all along.

    Also where only containerd was named: Docker's containers meet the same gate.
    """
    before, pid = (
        host.changes(),
        host.sh("systemctl show -p MainPID --value docker.service"),
    )

    host.enforcer("install", *options.split())

    assert _runs(host)  # in monitor mode everything does
    lines = host.sh("cat /var/log/enforcer/audit/audit.jsonl").stdout.splitlines()
    # Of what runs at that moment the sweep says so, too.
    asked = [r for r in map(json.loads, lines) if r["asked_by"] != "sweep"]
    assert (asked[-1]["code"], asked[-1]["asked_by"]) == ("ENF-1201", "gate")
    done = host.enforcer("uninstall")
    assert done.stdout.endswith("enforcer is off this host\n")
    assert host.changes() == before
    assert _runs(host)
    assert (
        host.sh("systemctl show -p MainPID --value docker.service").stdout == pid.stdout
    )


def test_dry_run_shows_everything_and_changes_nothing(host: PrivateHost) -> None:
    """The exact difference of every file, and every command."""
    before = host.changes()

    done = host.enforcer("install", "--docker", "--authz", "--dry-run")
    data = json.loads(
        host.enforcer(
            "install", "--docker", "--authz", "--dry-run", "-o", "json"
        ).stdout
    )

    assert host.changes() == before
    assert (
        "--- /etc/docker/daemon.json\n"
        "+++ /etc/docker/daemon.json\n"
        "@@ -1,4 +1,5 @@\n"
        " {\n"
        '     "log-level": "info",\n'
        '-    "shutdown-timeout": 3\n'
        '+    "shutdown-timeout": 3,\n'
        '+    "authorization-plugins": ["enforcer"]\n'
        " }\n"
        "\\ No newline at end of file\n"
    ) in done.stdout
    assert "--add /usr/sbin/runc" in done.stdout
    assert "systemctl reload docker.service\n" in done.stdout
    assert [step["step"] for step in data["steps"]][-1].startswith("put the gate at")
    assert data["installed"] is False


def test_enforce_refuses_and_says_beforehand_what_would_be(host: PrivateHost) -> None:
    """Nobody's containers are lost by surprise."""
    host.sh("docker run -d --name web app:1 sleep 1000")

    done = host.enforcer("install", "--docker", "--enforce", check=False)

    assert done.returncode == 1
    assert done.stdout.startswith(
        "1 of 1 running images would be denied\n"
        "  policy: there is no policy in /etc/enforcer/policy.d\n"
        "  app:1: there is no policy in /etc/enforcer/policy.d. "
    )
    assert "1 of 1 running images would be denied: app:1. Sign what" in done.stderr
    assert done.stderr.endswith("[ENF-2313]\n")
    host.enforcer("install", "--docker", "--enforce", "--yes")
    assert not _runs(host)
    host.sh(UNDO)
    assert _runs(host)
    assert host.sh("docker inspect -f '{{.State.Running}}' web").stdout == "true\n"


def test_signed_images_run_and_others_do_not(host: PrivateHost) -> None:
    """What all of this is for, and what the preview says of it beforehand."""
    host.sh("mkdir -p /etc/enforcer/policy.d")
    host.write("/etc/enforcer/policy.d/10-acme.yaml", _POLICY)
    enforcer = "cd /run && /usr/lib/enforcer/bin/enforcer"
    host.sh(f"{enforcer} trust generate-test acme --out keys")
    host.sh(f"{enforcer} trust add --type ca --store acme keys/acme-ca.crt")
    sign = "--key keys/acme.key --cert keys/acme.crt"
    host.sh(f"{enforcer} sign docker:app:1 {sign}")
    host.sh("docker run -d app:1 sleep 1000")

    done = host.enforcer("install", "--docker", "--authz", "--enforce")

    assert done.stdout.startswith("0 of 1 running images would be denied\n")
    assert _runs(host)
    host.sh("docker run --name box app:1 true; docker commit box other:1")
    refused = host.sh("docker run --rm other:1", check=False)
    assert refused.returncode == 125
    assert "ENF-1001" in refused.stderr
    host.sh(UNDO)
    host.sh("docker run --rm other:1")


def test_doctor_knows_that_a_reload_is_enough_for_docker_to_ask_or_not(
    host: PrivateHost,
) -> None:
    """`docker info` goes on to list what dockerd was started with."""
    plugin = "ENF-2140"
    host.enforcer("install", "--docker", "--authz")

    assert plugin not in host.enforcer("doctor", check=False).stdout

    host.sh("systemctl restart docker.service; docker version")
    host.write("/etc/docker/daemon.json", OWN_JSON, 0o640)
    host.sh("systemctl reload docker.service")
    assert "enforcer" in host.sh("docker info -f '{{.Plugins.Authorization}}'").stdout
    assert plugin in host.enforcer("doctor", check=False).stdout
    host.enforcer("uninstall")


def test_with_the_daemon_broken_beyond_start_one_command_brings_it_back(
    host: PrivateHost,
) -> None:
    """The recovery drill: no daemon, no virtual environment, nothing starts."""
    before = host.changes()
    host.enforcer("install", "--docker", "--authz", "--enforce", "--yes")
    lost = host.changes()["/usr/lib/enforcer"]
    host.sh("rm /usr/lib/enforcer")
    host.sh("systemctl stop enforcer.service enforcer-authz.service")
    assert not _runs(host)
    started = time.monotonic()

    host.sh(UNDO)

    assert _runs(host)
    assert time.monotonic() - started < RECOVERY_SECONDS
    assert host.changes() == {k: v for k, v in before.items() if v != lost}


def test_with_the_daemon_broken_beyond_start_root_may_stay_in_monitor(
    host: PrivateHost,
) -> None:
    """The other way of the drill: one line, and nothing is refused any more."""
    host.enforcer("install", "--docker", "--enforce", "--yes")
    host.sh("rm /usr/lib/enforcer; systemctl stop enforcer.service")
    assert not _runs(host)

    host.sh("echo mode=monitor > /etc/enforcer/gate.conf")

    assert _runs(host)


@pytest.mark.parametrize(("does", "seen"), [(0, "was not asked"), (9, "no answer")])
def test_an_engine_that_does_not_take_it_has_everything_back(
    host: PrivateHost, does: int, seen: str
) -> None:
    """dockerd does not read what was written, or dies of it: it is back, and runs."""
    before = host.changes()
    services = json.loads(host.sh("cat /run/standin/services.json").stdout)
    services["docker.service"]["reload"] = does
    host.write("/run/standin/services.json", json.dumps(services))

    done = host.enforcer("install", "--docker", "--authz", check=False)

    assert done.returncode == 1
    assert seen in done.stdout
    assert "the installation failed and is undone" in done.stderr
    assert done.stderr.endswith("[ENF-2314]\n")
    assert host.changes() == before
    assert _runs(host)


def test_a_second_installation_is_refused_until_the_first_is_off(
    host: PrivateHost,
) -> None:
    """Two would not know what was there before."""
    host.enforcer("install", "--docker")

    done = host.enforcer("install", "--docker", check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("[ENF-2310]\n")
    host.enforcer("uninstall")
    host.enforcer("install", "--docker")
    host.enforcer("uninstall")
    assert _runs(host)


def test_settings_of_docker_that_changed_since_are_kept(host: PrivateHost) -> None:
    """An operator went on working in the file we had been in."""
    host.enforcer("install", "--docker", "--authz")
    host.sh("sed -i 's/info/warn/' /etc/docker/daemon.json")

    done = host.enforcer("uninstall")

    assert "/etc/docker/daemon.json was changed since" in done.stdout
    text = host.sh("cat /etc/docker/daemon.json").stdout
    assert text == OWN_JSON.replace("info", "warn")
    wait_until(lambda: _runs(host), "docker runs without the plug-in")


@pytest.mark.parametrize(
    ("does", "said"),
    [(0, ""), (999, "`systemctl reload docker.service` ended with 1")],
    ids=["not read", "failed"],
)
def test_a_plugin_that_docker_still_asks_stays_until_it_does_not(
    host: PrivateHost, does: int, said: str
) -> None:
    """Without it Docker would answer nothing, and what it needs to answer is there."""
    before = host.changes()
    services = host.sh("cat /run/standin/services.json").stdout
    host.enforcer("install", "--docker", "--authz")
    deaf = json.loads(services)
    deaf["docker.service"]["reload"] = does
    host.write("/run/standin/services.json", json.dumps(deaf))

    done = host.sh(UNDO, check=False)

    assert done.returncode == 1
    assert said in done.stdout
    assert (
        ": Docker still asks the plug-in. systemctl reload docker (if that does not "
        "help: restart), then run this again. [ENF-2316]\n"
        "an engine may need what came before that, so it stays\n"
        "not everything is undone; "
    ) in done.stdout
    assert _runs(host)
    host.write("/run/standin/services.json", services)
    host.sh("systemctl reload docker.service")
    assert host.sh(UNDO).stdout == "enforcer is off this host\n"
    assert host.changes() == before
    assert _runs(host)


_HOLD = """
import fcntl, os, time
with open("/etc/.pwd.lock", "a") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    with open("/run/held.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("/run/held.new", "/run/held")
    time.sleep(1000)
"""


@contextlib.contextmanager
def _accounts_held(host: PrivateHost) -> Iterator[str]:
    """Yield what is said of the process that holds the lists of accounts."""
    holder = host.spawn("/usr/bin/python3", "-I", "-c", _HOLD)
    held = "test -e /run/held"
    wait_until(lambda: not host.sh(held, check=False).returncode, "it is held")
    pid = host.sh("cat /run/held; rm /run/held").stdout
    try:
        yield f"/etc/.pwd.lock was held for 15 s by python3 (pid {pid}), so no list of "
    finally:
        host.sh(f"kill -KILL {pid}")
        holder.wait()


def test_lists_of_accounts_that_somebody_holds_are_waited_for_but_not_for_ever(
    host: PrivateHost,
) -> None:
    """It is said who, nothing is half done, and the second time it is done."""
    host.sh("touch /etc/.pwd.lock")
    before = host.changes()

    with _accounts_held(host) as held:
        done = host.enforcer("install", "--docker", check=False)

        assert done.returncode == 1
        assert held in done.stdout
        assert "the installation failed and is undone" in done.stderr
        assert host.changes() == before

    host.enforcer("install", "--docker")
    accounts = host.sh("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow").stdout
    with _accounts_held(host) as held:
        done = host.sh(UNDO, check=False)

        assert done.returncode == 1
        assert held in done.stdout
        found = host.sh("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow").stdout
        assert found == accounts
        assert _runs(host)

    assert host.sh(UNDO).stdout.endswith("enforcer is off this host\n")
    assert host.changes() == before


_RUNC = "rm -f {0}/runc; cp /usr/sbin/runc {0}/runc"
_REFUSALS = [
    ("systemctl stop docker.service", "--docker", "ENF-2303"),
    ("rm -r /run/systemd", "--docker", "ENF-2302"),
    ("rm /usr/lib/enforcer", "--docker", "ENF-2309"),
    ("mkdir -p /opt/containerd/bin; " + _RUNC.format("/opt/containerd/bin"),
     "--docker", "ENF-2305"),
    (_RUNC.format("/usr/bin"), "--docker", "ENF-2305"),
    ("mkdir -p /opt/containerd/bin; rm -f /usr/bin/runc; "
        "mv /usr/sbin/runc /opt/containerd/bin/", "--docker", "ENF-2305"),
    ("dpkg-divert --local --no-rename --divert /usr/bin/x --add /usr/sbin/runc",
     "--docker", "ENF-2311"),
    ("mkdir /usr/libexec/enforcer", "--docker", "ENF-2311"),
    ("echo > /etc/systemd/system/enforcer.service", "--docker", "ENF-2311"),
    ('echo \'{"a": 1, // b\n}\' > /etc/docker/daemon.json', "--docker", "ENF-2306"),
    ("chmod 666 /etc/docker/daemon.json", "--docker --authz", "ENF-2306"),
    ("mv /etc/docker/daemon.json /etc/d; ln -s /etc/d /etc/docker/daemon.json",
     "--docker --authz", "ENF-2306"),
    ('echo \'{"authorization-plugins": ["enforcer"]}\' > /etc/docker/daemon.json',
     "--docker --authz", "ENF-2311"),
    ('echo \'{"authorization-plugins": "opa"}\' > /etc/docker/daemon.json',
     "--docker --authz", "ENF-2306"),
    ('sed -i \'s/"ready": ".run.docker.sock"/"Requires": "containerd.service", &/\''
     " /run/standin/services.json", "--docker --containerd", "ENF-2307"),
    ("systemctl stop docker.service; "
     'echo \'{"storage-driver": "vfs"}\' > /etc/docker/daemon.json; '
     "systemctl start docker.service", "--docker", "ENF-2308"),
    ("mkdir /etc/enforcer; printf 'apiVersion: enforcer/v1\\nmode: enforce\\n' "
     "> /etc/enforcer/enforcer.yaml", "--docker", "ENF-2312"),
    ("mkdir /etc/enforcer; printf 'apiVersion: enforcer/v1\\nmode: monitor\\n"
     "engines: []\\n' > /etc/enforcer/enforcer.yaml", "--docker", "ENF-2312"),
]  # fmt: skip


@pytest.mark.parametrize(("sabotage", "options", "code"), _REFUSALS)
def test_what_cannot_end_well_is_refused_at_once(
    host: PrivateHost, sabotage: str, options: str, code: str
) -> None:
    """In words, with a code, and before anything is changed."""
    path = "/work" if "/usr/lib/enforcer" in sabotage else ""
    program = "/usr/lib/enforcer/bin/enforcer"
    if path:
        program = host.sh("readlink /usr/lib/enforcer").stdout.strip() + "/bin/enforcer"
    host.sh(sabotage)
    before = host.changes()

    done = host.sh(f"{program} install {options}", check=False)

    assert done.returncode != 0
    assert done.stderr.strip().endswith(f"[{code}]"), done.stderr
    assert host.changes() == before


def test_a_full_disk_leaves_everything_as_it_was(host: PrivateHost) -> None:
    """What cannot be written down is not done."""
    place = "/var/lib/enforcer-install"
    host.sh(f"mkdir -m 700 {place}; mount -t tmpfs -o size=96k,mode=700 tmpfs {place}")
    before = host.changes()

    done = host.enforcer("install", "--docker", "--authz", check=False)

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.endswith("[ENF-2314]\n")
    assert host.changes() == before
    assert _runs(host)


def test_nobody_listening_does_not_stop_it_half_way(host: PrivateHost) -> None:
    """A closed terminal is no reason for half an installation, or half its end."""
    before = host.changes()

    host.sh("/usr/lib/enforcer/bin/enforcer install --docker | true")
    host.sh(f"{UNDO} | true")

    assert host.changes() == before
    assert _runs(host)
