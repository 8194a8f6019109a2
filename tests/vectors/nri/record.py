"""Record what a runtime sends to our plug-in, from connecting to a container's start.

usage: python -m tests.vectors.nri.record FILE [FOLDER]    (as root, from the repo)

FOLDER has the programs of another containerd than Debian's. Each line of FILE is what
one read of the socket gave, in hex; this machine's name is written over with x.
"""

import socket
import sys
import tempfile
import threading
from pathlib import Path

from tests.real.nri import NriPlugin, running_node


class Recorder:
    """A socket between plug-in and runtime that keeps what the runtime says."""

    def __init__(self, path: Path, runtime: Path) -> None:
        self.heard: list[bytes] = []
        self._runtime = runtime
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        plugin, _ = self._listener.accept()
        runtime = socket.socket(socket.AF_UNIX)
        runtime.connect(str(self._runtime))
        up = threading.Thread(target=_copy, args=(plugin, runtime), daemon=True)
        up.start()
        _copy(runtime, plugin, self.heard)


def _copy(
    source: socket.socket, sink: socket.socket, heard: list[bytes] | None = None
) -> None:
    while received := source.recv(65536):
        if heard is not None:
            heard.append(received)
        sink.sendall(received)


def main(file: str, folder: str = "") -> None:
    """Run one signed container in a pod, with the recorder in between."""
    build = Path(folder) if folder else None
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        running_node(Path(home), build=build) as node,
    ):
        between = node.stage.host.home / "recorded.sock"
        recorder = Recorder(between, node.stage.containerd.nri_socket)
        plugin = NriPlugin(node.stage.host, between)
        image = node.image("app")
        node.stage.sign(image)
        plugin.serve()
        with node.pod() as pod:
            node.runs(image, pod)
        plugin.stop()
    name = socket.gethostname().encode()
    lines = (piece.replace(name, b"x" * len(name)).hex() for piece in recorder.heard)
    Path(file).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
