"""A private dockerd on a private containerd, and the `docker` command to drive it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.engines.containerd import Containerd, accepts
from tests.engines.leftovers import (
    descendants,
    kill_all,
    remove_cgroup_tree,
    unmount_below,
)
from tests.engines.path import Release, program
from tests.engines.process import Daemon, run

Store = Literal["containerd", "graphdriver"]

PLUGINS = ("docker-buildx", "docker-compose")

# Runs a program in a network of its own that has but loopback, and that is up:
# SIOCSIFFLAGS with IFF_UP (netdevice(7)).
_ALONE = """\
import fcntl, os, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh22x", b"lo", 1))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Dockerd:
    """One dockerd with a containerd of its own; `close` leaves nothing of both.

    Containers have no network but loopback: there is no bridge, and no firewall
    rule of the machine is touched. Give a build with RUN `--network=none`, and a
    container that outlives a restart of dockerd `--stop-signal=KILL`: dockerd
    waits 10 s for a first process that ignores SIGTERM, as `sleep` does.
    Docker 28 does not boot without any `runc` in PATH (BuildKit looks for it).
    `gate` is as for `Containerd`, and serves both daemons. Docker 20.10 has no
    containerd store. A swarm makes a bridge: let it have its network `alone`.
    `before` is a program that starts both daemons for us.
    """

    def __init__(
        self,
        gate: Path | None,
        *,
        release: Release = "forky",
        store: Store = "containerd",
        live_restore: bool = False,
        settings: Mapping[str, object] | None = None,
        alone: bool = False,
        before: Sequence[str] = (),
    ) -> None:
        if (release, store) == ("bookworm", "containerd"):
            raise ValueError("Docker 20.10 has no containerd store")
        self.containerd = Containerd(gate, release=release, before=before)
        self.release: Release = release
        self.home = self.containerd.home
        self.data_root = self.home / "data"
        self.exec_root = self.home / "exec"
        self.socket = self.home / "d.sock"
        self.config = self.home / "daemon.json"
        self.cgroup_parent = f"/{self.home.name}"
        defaults = _settings(release, store, live_restore=live_restore)
        self.config.write_text(json.dumps(defaults | dict(settings or {})))
        self._client_folders()
        command = self._command()
        if alone:
            python = ["/usr/bin/python3", "-I", "-c", _ALONE]
            command = ["/usr/bin/unshare", "--net", *python, *command]
        self._daemon = Daemon(
            [*before, *command], self.containerd.environment, self.home / "dockerd.log"
        )

    @property
    def log(self) -> str:
        """Everything dockerd has logged so far."""
        return self._daemon.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the running dockerd."""
        return self._daemon.pid

    def start(self) -> Self:
        """Start it, again with the same data if it was stopped, until it answers.

        Containers with a restart policy may still be starting when this returns.
        """
        # A killed dockerd leaves its pid file, whose number may be taken by now.
        (self.home / "dockerd.pid").unlink(missing_ok=True)
        self._daemon.start(self._is_ready)
        return self

    def stop(self) -> None:
        """Stop dockerd as a service manager would; it stops its containers."""
        self._daemon.stop()

    def kill(self) -> None:
        """Kill dockerd, as a crash would; its containers go on."""
        self._daemon.kill()

    def restart(self) -> Self:
        """Stop it and start it with the same data."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End both daemons at once and remove all they made."""
        if self._daemon.is_running:
            steps = descendants(self.pid)  # BuildKit runs runc as its own child
            self.kill()
            kill_all(steps)
        unmount_below(self.exec_root)
        self.containerd.close()
        remove_cgroup_tree(self.home.name)

    def docker(
        self,
        *words: str | Path,
        check: bool = True,
        timeout_seconds: float = 120,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker command of the same release, with a clean HOME.

        `env` adds to an environment that holds nothing of the caller's:
        `{"DOCKER_BUILDKIT": "0"}` chooses the legacy builder.
        """
        return run(
            [program("docker", self.release), *words],
            env=self.client_environment | dict(env or {}),
            check=check,
            timeout_seconds=timeout_seconds,
            cwd=self.home,
        )

    @property
    def client_environment(self) -> dict[str, str]:
        """What a docker client needs in its environment to talk to this dockerd."""
        return {
            "PATH": str(self.containerd.programs),
            "HOME": str(self.home / "user"),
            "DOCKER_CONFIG": str(self.home / "client"),
            "DOCKER_HOST": f"unix://{self.socket}",
        }

    def __enter__(self) -> Self:
        try:
            self.containerd.start()
            return self.start()
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

    def _is_ready(self) -> bool:
        return accepts(self.socket) and self.docker("version", check=False).stderr == ""

    def _client_folders(self) -> None:
        plugins = self.home / "client" / "cli-plugins"
        plugins.mkdir(parents=True)
        (self.home / "user").mkdir()
        if self.release == "forky":
            for name in PLUGINS:
                (plugins / name).symlink_to(program(name))

    def _command(self) -> list[str | Path]:
        return [
            program("dockerd", self.release),
            f"--config-file={self.config}",
            f"--containerd={self.containerd.socket}",
            f"--pidfile={self.home / 'dockerd.pid'}",
            f"--data-root={self.data_root}",
            f"--exec-root={self.exec_root}",
            f"--host=unix://{self.socket}",
            f"--cgroup-parent={self.cgroup_parent}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--userland-proxy=false",
        ]


def _settings(
    release: Release, store: Store, *, live_restore: bool
) -> dict[str, object]:
    settings: dict[str, object] = {"live-restore": live_restore}
    if release == "forky":
        settings["features"] = {"containerd-snapshotter": store == "containerd"}
    if store == "graphdriver":
        settings["storage-driver"] = "overlay2"
    return settings
