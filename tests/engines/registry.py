"""A registry on this host, for engines that pull."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.engines.path import program
from tests.engines.process import Daemon


@contextlib.contextmanager
def running_registry(home: Path) -> Iterator[str]:
    """Run docker-registry with all it keeps below `home`; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
    address = f"{host}:{port}"
    storage = {
        "filesystem": {"rootdirectory": str(home / "data")},
        "delete": {"enabled": True},
    }
    settings = {"version": "0.1", "storage": storage, "http": {"addr": address}}
    (home / "config.yml").write_text(json.dumps(settings))
    command = (str(program("docker-registry")), "serve", str(home / "config.yml"))
    daemon = Daemon(command, {}, home / "log")

    def is_ready() -> bool:
        with socket.socket() as client:
            return client.connect_ex((host, port)) == 0

    daemon.start(is_ready)
    try:
        yield address
    finally:
        daemon.stop()
