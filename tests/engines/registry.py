"""A registry on this host, for engines that pull."""

import contextlib
import ctypes
import json
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.engines.path import program
from tests.engines.process import Daemon
from tests.engines.tls import Tls


@contextlib.contextmanager
def running_registry(
    home: Path,
    *,
    address: str = "127.0.0.1:0",
    tls: Tls | None = None,
    users: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run docker-registry with all it keeps below `home`; yield its address.

    `users` are names and passwords; with them, nobody else may do anything.
    """
    host, _, port = address.partition(":")
    where = (host, int(port) or _free_port(host))
    address = f"{where[0]}:{where[1]}"
    (home / "config.yml").write_text(json.dumps(_settings(home, address, tls, users)))
    command = (str(program("docker-registry")), "serve", str(home / "config.yml"))
    daemon = Daemon(command, {}, home / "log")

    def is_ready() -> bool:
        with socket.socket() as client:
            return client.connect_ex(where) == 0

    daemon.start(is_ready)
    try:
        yield address
    finally:
        daemon.stop()


def _free_port(host: str) -> int:
    """Return one that the kernel gives to nobody meanwhile (ip(7): local ports)."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


def _settings(
    home: Path, address: str, tls: Tls | None, users: Mapping[str, str] | None
) -> dict[str, object]:
    http: dict[str, object] = {"addr": address}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    settings: dict[str, object] = {
        "version": "0.1",
        "storage": {
            "filesystem": {"rootdirectory": str(home / "data")},
            "delete": {"enabled": True},
        },
        "http": http,
    }
    if users:
        path = home / "htpasswd"
        path.write_text("".join(f"{u}:{_bcrypt(p)}\n" for u, p in users.items()))
        settings["auth"] = {"htpasswd": {"realm": "ours", "path": str(path)}}
    return settings


def _bcrypt(password: str) -> str:
    """Hash a password as the registry wants it, by crypt(3): nobody else sees it."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    setting = f"$2b$04${secrets.token_hex(11)}"
    hashed = crypt(password.encode(), setting.encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise OSError("crypt(3) knows no bcrypt")
    return str(hashed.decode())
