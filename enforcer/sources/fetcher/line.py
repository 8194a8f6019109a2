"""The way to a fetcher: the host's service, or a child of ours where there is none.

The child is the same program at the end of a pair of sockets. It gives up root before
it reads from them, and ends with us. Nothing secret is in its arguments or environment.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.peer import peer_of

START_SECONDS = 15.0  # for a child to load, on a small board; not the question's time
END_SECONDS = 2.0  # for a child to end when we hang up


class FetcherError(EnforcerError):
    """The fetcher gave no answer that can be used."""

    default_code = Code.FETCHER_UNREACHABLE


class Line:
    """Connections to a fetcher, one for each call. For one thread, if it has a child.

    With `child` the host's service is used only where its socket is there and ours to
    use; otherwise a child is started, once.
    """

    def __init__(self, path: Path, *, child: bool) -> None:
        self._path = path
        self._may_start = child
        self._child: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    @contextlib.contextmanager
    def connected(self, end: float) -> Iterator[tuple[socket.socket, float]]:
        """Lend a connection, and say until when: later if a child is started first.

        One that was left by an exception is not used again.

        Raises:
            FetcherError: Nobody who may be trusted with a credential is there.
            OSError: It cannot be connected to, TimeoutError included.
        """
        service = None if self._child else self._service(end)
        if service is not None:
            with service:
                yield service, end
            return
        try:
            if self._child is None:
                end += START_SECONDS
            yield self._started(), end
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is None:
            return
        process, connection = self._child
        self._child = None
        connection.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _service(self, end: float) -> socket.socket | None:
        """Connect to the service; None where a child is to be started instead."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(left(end))
            connection.connect(str(self._path))
            self._require_ours(connection)
        except (FileNotFoundError, PermissionError) as error:
            connection.close()
            if self._may_start:
                return None
            raise FetcherError(
                f"enforcer-fetcher cannot be reached on {self._path}: {error.strerror}",
                remedy="systemctl enable --now enforcer-fetcher.socket",
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_ours(self, connection: socket.socket) -> None:
        uid = peer_of(connection).uid
        if uid not in (0, os.geteuid()):
            raise FetcherError(
                f"{self._path} is not root's but uid {uid}'s, so nobody is asked there",
                remedy="systemctl restart enforcer-fetcher.socket",
                code=Code.FETCHER_UNTRUSTED,
            )

    def _started(self) -> socket.socket:
        if self._child is None:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    process = subprocess.Popen(
                        (sys.executable, "-I", "-m", "enforcer.fetcher", "--stdio"),
                        stdin=theirs.fileno(),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        cwd="/",
                        env={"PATH": "/usr/bin:/bin"},
                    )
                except BaseException:
                    ours.close()
                    raise
            self._child = (process, ours)
        return self._child[1]


def left(end: float) -> float:
    """Return the seconds until a time.monotonic(), or raise TimeoutError."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
