"""A private containerd: folders, socket and PATH of its own, and `ctr` to drive it."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines.leftovers import (
    leave_namespace,
    reap_shims,
    remove_shim_sockets,
    unmount_below,
)
from tests.engines.path import Release, engine_path, link_programs
from tests.engines.process import Daemon, run

NAMESPACES = ("default", "k8s.io")  # each a control group and a folder of runc's
SANDBOX_IMAGE = "docker.io/library/pause:1"
_numbers = itertools.count(1)

# `opt` is moved because containerd puts /opt/containerd/bin in front of PATH, so a
# runc in there would run instead of the gate.
_COMMON = """\
version = {version}
root = "{root}"
state = "{state}"
disabled_plugins = [{disabled}]

[grpc]
  address = "{socket}"

[ttrpc]
  address = "{socket}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
"""
# A pod's own oom_score_adj is below ours, which takes CAP_SYS_RESOURCE: not every
# virtual machine for tests has that.
_CRI_2 = """
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  sandbox_image = "{sandbox}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{home}/cni/bin"
    conf_dir = "{home}/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
_CRI_3 = """
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{sandbox}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{home}/cni/bin"]
  conf_dir = "{home}/cni/conf"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
_NRI = "io.containerd.nri.v1.nri"
_NRI_CONFIG = """
[plugins."io.containerd.nri.v1.nri"]
  disable = false
  socket_path = "{home}/nri.sock"
  plugin_path = "{home}/nri/plugins"
  plugin_config_path = "{home}/nri/conf.d"
"""
_CRI_PLUGINS = {
    "bookworm": ("io.containerd.grpc.v1.cri",),
    "forky": (
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "io.containerd.cri.v1.runtime",
    ),
}


class Containerd:
    """One containerd below a short folder in /tmp; `close` leaves nothing of it.

    `gate` is the folder that holds the only `runc` it can find (`path.ungated`
    makes one that lets everything pass); with None there is no runc at all. The
    folder is read at every start of a container, so a test may change it.
    `build` is a folder with another build's programs, to run instead of Debian's.
    `before` is a program that starts it for us.

    ctr keeps runc's state in /run/containerd/runc/NAMESPACE, which all containerds
    of a machine share: name containers with `container_id`.
    """

    def __init__(
        self,
        gate: Path | None,
        *,
        release: Release = "forky",
        cri: bool = False,
        nri: bool = False,
        extra_config: str = "",
        build: Path | None = None,
        before: Sequence[str] = (),
    ) -> None:
        # Unix socket paths are limited to 108 bytes: pytest's folders are too long.
        self.home = Path(tempfile.mkdtemp(prefix="enf-", dir="/tmp"))
        self.release: Release = release
        self.root = self.home / "root"
        self.state = self.home / "state"
        self.socket = self.home / "c.sock"
        self.nri_socket = self.home / "nri.sock"
        self.config = self.home / "containerd.toml"
        self.programs = link_programs(self.home / "path", release)
        for path in build.iterdir() if build else ():
            (self.programs / path.name).unlink(missing_ok=True)
            (self.programs / path.name).symlink_to(path)
        self.environment = {"PATH": engine_path(gate, self.programs)}
        text = _configuration(self, cri=cri, nri=nri) + extra_config
        self.config.write_text(text)
        command = [str(self.programs / "containerd"), "--config", str(self.config)]
        self._daemon = Daemon(
            [*before, *command], self.environment, self.home / "containerd.log"
        )

    @property
    def log(self) -> str:
        """Everything it has logged so far."""
        return self._daemon.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the running containerd."""
        return self._daemon.pid

    def start(self) -> Self:
        """Start it, again if it was stopped, and wait until it answers."""
        self._daemon.start(self._is_ready)
        return self

    def stop(self) -> None:
        """Stop the daemon alone; containers go on under their shims."""
        self._daemon.stop()

    def kill(self) -> None:
        """Kill the daemon alone, as a crash would."""
        self._daemon.kill()

    def close(self) -> None:
        """Stop it and remove containers, mounts, control groups and folders."""
        self.stop()
        reap_shims(self.socket)
        remove_shim_sockets(self.state / "io.containerd.runtime.v2.task")
        unmount_below(self.home)
        for namespace in NAMESPACES:
            leave_namespace(namespace)
        shutil.rmtree(self.home)

    def ctr(
        self,
        *words: str | Path,
        namespace: str = "default",
        check: bool = True,
        timeout_seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run `ctr` against it; with `check`, failure is an EngineError."""
        options = ["--address", str(self.socket), "--namespace", namespace]
        return run(
            [self.programs / "ctr", *options, *words],
            env={"PATH": str(self.programs)},
            check=check,
            timeout_seconds=timeout_seconds,
        )

    def run(
        self, *words: str, namespace: str = "default", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `ctr run --rm`; what the container prints is all in `stdout`.

        Its shim writes that to a file, both streams to one, and has done so when it is
        gone. ctr itself may end before it has opened the pipe that it would copy from.
        """
        printed = self.home / f"printed-{next(_numbers)}"
        command = ("run", "--rm", f"--log-uri=file://{printed}", *words)
        done = self.ctr(*command, namespace=namespace, check=check)
        with contextlib.suppress(FileNotFoundError):
            done.stdout += printed.read_text()
            printed.unlink()
        return done

    def container_id(self, name: str) -> str:
        """A container id that no other private containerd uses."""
        # mkdtemp may end a name in "_", and two separators in a row are no id.
        return f"{self.home.name.replace('_', '0')}-{name}"

    def __enter__(self) -> Self:
        try:
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
        return accepts(self.socket) and self.ctr("version", check=False).returncode == 0


def accepts(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(path)) == 0


def _configuration(engine: Containerd, *, cri: bool, nri: bool) -> str:
    is_old = engine.release == "bookworm"
    template = _COMMON + ((_CRI_2 if is_old else _CRI_3) if cri else "")
    template += _NRI_CONFIG if nri else ""
    # containerd 1.6 has no NRI plugin, and does not mind being told.
    disabled = [] if nri else [_NRI]
    disabled += () if cri else _CRI_PLUGINS[engine.release]
    return template.format(
        version=2 if is_old else 3,
        home=engine.home,
        root=engine.root,
        state=engine.state,
        socket=engine.socket,
        disabled=", ".join(f'"{name}"' for name in disabled),
        sandbox=SANDBOX_IMAGE,
    )
