"""A registry on this host, for engines that pull."""

import contextlib
import ctypes
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.engines.path import program
from tests.engines.process import Daemon
from tests.engines.tls import Tls

_LISTENS = re.compile(rb'"listening on ([0-9.]+:[0-9]+)[",]')


@contextlib.contextmanager
def running_registry(
    home: Path,
    *,
    address: str = "127.0.0.1:0",
    tls: Tls | None = None,
    users: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run docker-registry with all it keeps below `home`; yield its address.

    `users` are names and passwords; with them, nobody else may do anything. It says
    itself which port it got: one that we look for is somebody else's a moment later.
    """
    (home / "config.yml").write_text(json.dumps(_settings(home, address, tls, users)))
    command = (str(program("docker-registry")), "serve", str(home / "config.yml"))
    daemon = Daemon(command, {}, home / "log")
    old = daemon.log.stat().st_size if daemon.log.exists() else 0

    def listens() -> re.Match[bytes] | None:
        return _LISTENS.search(daemon.log.read_bytes(), old)

    daemon.start(lambda: bool(listens()))
    try:
        found = listens()
        assert found
        yield found[1].decode()
    finally:
        daemon.stop()


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
