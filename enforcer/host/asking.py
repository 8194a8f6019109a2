"""Whether dockerd asks our plug-in: seen by what it does, as it does not say so.

`docker info` lists what dockerd was started with, whatever it has read since (seen with
20.10 and 28.5). But it connects to its plug-ins for every call, and the kernel notes at
a socket's path when somebody did last. Nothing but the standard library: what takes
enforcer off a host needs it, too.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from enforcer import unix_http
from enforcer.host.processes import listening, server_of

PLUGIN_UNIT = "enforcer-authz.socket"
ANSWER_SECONDS = 2.0  # it takes milliseconds; without a plug-in it lists, 30 s
MAX_ANSWER_BYTES = 64 * 1024  # `docker version` has one KiB
MAX_SOCKETS = 4  # its own, and those for metrics, swarm and networks


def asks(pid: int, plugin: Path) -> bool:
    """Whether a dockerd asks who listens at `plugin`, about a call that only reads.

    Raises:
        OSError: That cannot be found out: it does not answer, or only root may look.
    """
    is_served = _is_served(plugin)
    for path in likely_first(listening(pid))[:MAX_SOCKETS]:
        if is_served:
            _forget(plugin)
        if _says_version(path):
            return is_served and _was_called(plugin)
    raise OSError(errno.ETIMEDOUT, "dockerd does not answer")


def likely_first(sockets: Iterable[Path]) -> list[Path]:
    """Order what a dockerd listens on: what its API is usually called first."""
    return sorted(sockets, key=lambda path: (path.name != "docker.sock", path))


def _is_served(plugin: Path) -> bool:
    """Whether somebody listens there; raises OSError where no call is noted."""
    try:
        _forget(plugin)
        server_of(plugin)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    if not _was_called(plugin):
        why = f"no calls are noted there; mount -o remount,relatime {plugin.parent}"
        raise OSError(errno.ENOTSUP, why)
    return True


def _forget(plugin: Path) -> None:
    os.utime(plugin, ns=(0, plugin.stat().st_mtime_ns))


def _was_called(plugin: Path) -> bool:
    return plugin.stat().st_atime_ns != 0


def _says_version(api: Path) -> bool:
    """Whether it is Docker's API: dockerd listens on other sockets, too."""
    until = time.monotonic() + ANSWER_SECONDS
    with contextlib.suppress(OSError):
        status, raw = unix_http.call(
            api, "GET", "/version", until=until, max_bytes=MAX_ANSWER_BYTES
        )
        return status == HTTPStatus.OK and b'"ApiVersion"' in raw
    return False
