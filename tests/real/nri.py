"""A node with NRI and our plug-in, and what that wrote about the node's containers."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.enforced import EnforcedHost
from tests.engines.process import Daemon, wait_until
from tests.real.cri import Cri, CriError
from tests.real.stage import Image, Stage, containerd_stage

NAMESPACE = "k8s.io"


class NriPlugin(Daemon):
    """One enforcer-nri on one runtime's socket."""

    def __init__(self, host: EnforcedHost, socket: Path) -> None:
        words = ("--socket", str(socket))
        super().__init__(
            [sys.executable, "-m", "enforcer.hooks.nri", *host.folders, *words],
            {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
            host.home / "enforcer-nri.log",
        )

    def serve(self) -> None:
        """Start it and wait until the runtime has taken it in."""
        before = len(self.said("registered"))
        self.start(lambda: len(self.said("registered")) > before)

    def said(self, event: str, **wanted: str) -> list[dict[str, Any]]:
        """Return the lines of its log about an event."""
        if not self.log.exists():
            return []
        lines = map(_parse, self.log.read_text().splitlines())
        return [
            line
            for line in lines
            if line.get("event") == event and wanted.items() <= line.items()
        ]

    def says(self, event: str, **wanted: str) -> dict[str, Any]:
        """Wait for a line of its log about an event."""
        what = f"enforcer-nri says {event} {wanted}"
        wait_until(lambda: bool(self.said(event, **wanted)), what)
        return self.said(event, **wanted)[-1]


def _parse(line: str) -> dict[str, Any]:
    """A line of the log; a traceback's have no event."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found


@dataclass(frozen=True, slots=True)
class Node:
    """A containerd with NRI, its kubelet, and our plug-in."""

    stage: Stage
    cri: Cri
    plugin: NriPlugin

    def image(
        self, word: str, *, name: str | None = None, index: bool = False
    ) -> Image:
        """Make an image that CRI knows of."""
        cmd = ("/bin/sleep", "600") if name else None
        image = self.stage.image(
            word, name=name, cmd=cmd, index=index, namespace=NAMESPACE
        )
        wait_until(lambda: self.cri.has_image(image.full), "CRI has the image")
        return image

    @contextlib.contextmanager
    def pod(self) -> Iterator[str]:
        """Run a pod, and remove it with all that is in it."""
        pod = self.cri.run_pod(self.stage.name("pod"))
        try:
            yield pod
        finally:
            self.cri.remove_pod(pod)

    def runs(self, image: Image, pod: str) -> tuple[str, str]:
        """Create and start a container; return its id, and why it did not start."""
        name = self.stage.name("app")
        container = self.cri.create(pod, name, image.full, called=image.full)
        try:
            self.cri.start(container)
        except CriError as error:
            return container, str(error)
        wait_until(lambda: image.text in self.cri.output(name), "it has run")
        return container, ""

    def notices(self) -> list[str]:
        """What `enforcer status` says about this host."""
        done = self.stage.host.enforcer("status", "-o", "json")
        notices: list[str] = json.loads(done.stdout)["notices"]
        return notices


@contextlib.contextmanager
def running_node(
    logs: Path, *, extra_config: str = "", build: Path | None = None
) -> Iterator[Node]:
    """Run a node whose pause image is signed; its plug-in is not started yet."""
    with containerd_stage(
        cri=True, nri=True, extra_config=extra_config, build=build
    ) as stage:
        cri = Cri(stage.containerd.socket, logs)
        node = Node(stage, cri, NriPlugin(stage.host, stage.containerd.nri_socket))
        try:
            stage.sign(node.image("pause", name=SANDBOX_IMAGE))
            yield node
        finally:
            node.plugin.stop()
            cri.close()
