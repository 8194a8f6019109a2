"""A host of our own on this machine: its /etc, /usr, /var, /opt and /run are private.

What is changed there goes to a folder below /tmp, and what runs there ends with its
first process. dpkg, the accounts and the engines are real; systemctl is a stand-in that
starts real programs (tests/engines/systemctl.py).
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines.leftovers import leave_namespace, remove_cgroup_tree
from tests.engines.path import ENGINES, Release
from tests.engines.process import EngineError, run, wait_until

OVERLAID = ("etc", "usr", "var", "opt")
PLAIN = ("var/lib/docker", "var/lib/containerd", "var/log/enforcer")  # no overlay on it
BACKUPS = (
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/var/lib/dpkg/diversions-old",
)
VENV = Path(sys.prefix)
# Reaps what loses its parent, as a first process does.
_INIT = """
import os, time
open(os.environ["READY"], "w").close()
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""
_SETUP = """
set -eu
for name in $OVERLAID; do
    mkdir -p "$HOME/up/$name" "$HOME/work/$name"
    mount -t overlay overlay -o \
        "lowerdir=/$name,upperdir=$HOME/up/$name,workdir=$HOME/work/$name" "/$name"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/standin /run/lock
for name in $PLAIN; do
    mkdir -p "$HOME/plain/$name" "/$name"
    mount --bind "$HOME/plain/$name" "/$name"
done
cp "$SYSTEMCTL" /usr/bin/systemctl.new && chmod 755 /usr/bin/systemctl.new
mv /usr/bin/systemctl.new /usr/bin/systemctl
cp "$HOME/services.json" /run/standin/services.json
rm -rf /etc/docker /etc/containerd
mkdir -p /etc/docker /etc/containerd
ln -s "$VENV" /usr/lib/enforcer
exec /usr/bin/python3 -I -c "$INIT"
"""


class PrivateHost:
    """A host with containerd and, if wanted, Docker as services; nothing of ours."""

    def __init__(self, *, release: Release = "forky", docker: bool = True) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="enf-", dir="/tmp"))
        self.release: Release = release
        self._docker = docker
        self._first: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file on the host."""
        self.sh(f"mkdir -p {Path(path).parent}")
        run(
            [*self._inside, "/bin/sh", "-c", f"cat > {path}; chmod {mode:o} {path}"],
            env=self.environment,
            stdin=text,
        )

    def sh(
        self, command: str, *, check: bool = True, timeout_seconds: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the host."""
        return run(
            [*self._inside, "/bin/sh", "-c", command],
            env=self.environment,
            check=check,
            timeout_seconds=timeout_seconds,
        )

    def enforcer(
        self, *words: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as root would there."""
        return self.sh(
            " ".join(("/usr/lib/enforcer/bin/enforcer", *words)), check=check
        )

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program on the host, in a group of its own."""
        return subprocess.Popen(
            [*self._inside, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What root finds there: the engines' clients in PATH."""
        engines = ENGINES / self.release / "usr"
        path = f"{engines}/sbin:{engines}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8"}

    @property
    def services(self) -> tuple[str, ...]:
        """The engines' units, in the order of their start."""
        return ("containerd.service", *(["docker.service"] if self._docker else []))

    def start_engines(self) -> None:
        """Start the engines as services."""
        self.sh(f"systemctl start {' '.join(self.services)}")

    def changes(self) -> dict[str, tuple[object, ...]]:
        """All that is other here than on the machine: kind, mode, owner, content.

        Without what dpkg and sysusers keep of their lists as they were before a change:
        those are their own, and say what is said now.
        """
        found = {}
        for name in OVERLAID:
            upper = self.home / "up" / name
            for folder, folders, files in os.walk(upper):
                for entry in (*folders, *files):
                    path = Path(folder) / entry
                    place = Path("/") / name / path.relative_to(upper)
                    state = _state(path)
                    if state != _state(place) and str(place) not in BACKUPS:
                        found[str(place)] = state
        return found

    def __enter__(self) -> Self:
        try:
            return self._start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all that runs there, and remove it."""
        if self._first:
            self._first.kill()  # --kill-child: the first process of the host dies, too
            self._first.wait()
        if self._pid:
            wait_until(lambda: not Path(f"/proc/{self._pid}").exists(), "it is gone")
        remove_cgroup_tree(self.home.name)
        for namespace in ("default", "k8s.io"):
            leave_namespace(namespace)
        shutil.rmtree(self.home)

    @property
    def _inside(self) -> list[str]:
        return ["/usr/bin/nsenter", "-t", str(self._pid), "-m", "-p", "--"]

    def _start(self) -> Self:
        (self.home / "services.json").write_text(json.dumps(self._services()))
        ready = self.home / "ready"
        environment = self.environment | {
            "HOME": str(self.home),
            "OVERLAID": " ".join(OVERLAID),
            "PLAIN": " ".join(PLAIN),
            "SYSTEMCTL": str(Path(__file__).with_name("systemctl.py")),
            "VENV": str(VENV),
            "INIT": _INIT,
            "READY": str(ready),
        }
        options = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        with (self.home / "log").open("wb") as log:
            self._first = subprocess.Popen(
                ["/usr/bin/unshare", *options, "/bin/sh", "-c", _SETUP],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        first = self._first
        wait_until(lambda: ready.exists() or first.poll() is not None, "it is set up")
        if first.poll() is not None:
            raise EngineError((self.home / "log").read_text())
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text()
        self._pid = int(children.split()[0])
        return self

    def _services(self) -> dict[str, object]:
        engines = ENGINES / self.release / "usr"
        env = {"PATH": self.environment["PATH"], "HOME": "/root"}
        containerd = {
            "argv": [f"{engines}/bin/containerd"],
            "env": env,
            "ready": "/run/containerd/containerd.sock",
        }
        docker = {
            "argv": [
                f"{engines}/sbin/dockerd",
                "--containerd=/run/containerd/containerd.sock",
                f"--cgroup-parent=/{self.home.name}",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--userland-proxy=false",
            ],
            "env": env,
            "ready": "/run/docker.sock",
        }
        return {"containerd.service": containerd, "docker.service": docker}


def _state(path: Path) -> tuple[object, ...]:
    if not os.path.lexists(path):
        return ()
    status = path.lstat()
    mode = status.st_mode
    owner = (stat.S_IFMT(mode), stat.S_IMODE(mode), status.st_uid, status.st_gid)
    if path.is_symlink():
        return (*owner, path.readlink())
    if path.is_file():
        return (*owner, hashlib.sha256(path.read_bytes()).hexdigest())
    return owner
