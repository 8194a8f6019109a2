"""The daemon's sockets: taken from systemd or made here, with the peer's uid known.

grpcio takes neither an inherited socket nor tells who calls, and quietly takes a
live socket from another server. So we accept ourselves, ask the kernel who it is,
and pass the bytes on to grpcio's own socket in a folder nobody else can enter.
"""

import asyncio
import contextlib
import errno
import grp
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from enforcer.files import make_folder, require_trusted_folder
from enforcer.peer import Peer, peer_of

MAX_CONNECTIONS = 256  # on one socket
MAX_PER_UID = 64  # of those, for one user that is not root
FIRST_BYTE_SECONDS = 5.0  # a client that never speaks does not keep its place
ACCEPT_AGAIN_SECONDS = 0.05  # after a failure that may last
CHUNK_BYTES = 64 * 1024
BACKLOG = 128

NOTIFY_SECONDS = 0.2  # systemd listens at once; one that does not holds up no start


Handler = Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Door:
    """One listening socket that lets in known peers, so many at a time."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        owner_only: bool,
        also: Collection[int] = (),
    ) -> None:
        """Take a socket that listens already; `also` are uids besides the owner's."""
        self._listener = listener
        self._handler = handler
        self._owner_only = owner_only
        self._also = frozenset(also)
        self._open: Counter[int] = Counter()
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)  # noqa: FBT003 - its only form
        self._accepting = asyncio.create_task(self._accept_all())

    def stop(self) -> None:
        """Accept no more. The socket's path stays: systemd's, or the next daemon's."""
        if self._accepting:
            self._accepting.cancel()

    async def _accept_all(self) -> None:
        """Accept, without listen(2): that would make us, who are not root, the peer.

        A caller's SO_PEERCRED is whoever called it last, and asyncio's own servers do.
        """
        loop = asyncio.get_running_loop()
        with self._listener:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError:  # no descriptors, or whoever called is gone
                    await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                    continue
                task = asyncio.create_task(self._serve(connection))
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=connection, limit=CHUNK_BYTES
            )
        except OSError:
            connection.close()
            return
        peer = _peer(writer)
        try:
            if self._may_enter(peer):
                self._open[peer.uid] += 1
                try:
                    await self._handler(peer, reader, writer)
                finally:
                    self._open[peer.uid] -= 1
        except (OSError, EOFError, TimeoutError):
            pass  # the peer is gone or never spoke, and was told nothing
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _may_enter(self, peer: Peer) -> bool:
        owner = peer.uid in (0, os.geteuid())
        if self._owner_only and not owner and peer.uid not in self._also:
            return False
        if self._open.total() >= MAX_CONNECTIONS:
            return False
        return owner or self._open[peer.uid] < MAX_PER_UID


def splice_to(path: Path) -> Handler:
    """Return a handler that passes bytes to and from the server at `path`."""

    async def handle(
        _: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first = await asyncio.wait_for(reader.read(CHUNK_BYTES), FIRST_BYTE_SECONDS)
        if not first:
            return
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        inner_writer.write(first)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, inner_writer))
                tasks.create_task(_copy(inner_reader, writer))
        except* (OSError, EOFError):
            pass
        finally:
            inner_writer.close()

    return handle


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side ends, then end the other."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.close()


def inner_folder(run_dir: Path, name: str = "inner") -> Path:
    """Return a folder that nobody else can enter, for grpcio's own sockets.

    `run_dir` is root's; where we are not, somebody else has made the folder for us.

    Raises:
        EnforcerError: Somebody else could put theirs there, or in place of ours.
    """
    require_trusted_folder(run_dir)
    inner = run_dir / name
    make_folder(inner)
    require_trusted_folder(inner)
    inner.chmod(0o700)
    return inner


def inherited_sockets() -> dict[str, socket.socket]:
    """Return systemd's sockets by FileDescriptorName (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    found = {}
    for number, name in zip(range(3, 3 + count), names, strict=False):
        found[name] = socket.socket(fileno=number)
        found[name].set_inheritable(False)
    return found


def notify(*lines: str) -> None:
    """Tell systemd, if it wants to know (sd_notify(3)); never fail over it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        channel.settimeout(NOTIFY_SECONDS)
        channel.connect(address.replace("@", "\0", 1))
        channel.send("\n".join(lines).encode())


def accepts(path: Path) -> bool:
    """Whether somebody listens at this path."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def bind_socket(path: Path, *, mode: int, group: str | None = None) -> socket.socket:
    """Make a listening socket at `path`; the caller holds the daemon's lock.

    Raises:
        OSError: The path cannot be bound, or something else than a socket is there.
    """
    if path.is_symlink() or (path.exists() and not path.is_socket()):
        raise FileExistsError(errno.EEXIST, f"{path} is not a socket")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)  # nobody gets in between bind and chmod
    try:
        listener.bind(str(path))
    finally:
        os.umask(old)
    if group:
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    path.chmod(mode)
    listener.listen(BACKLOG)
    return listener


def _peer(writer: asyncio.StreamWriter) -> Peer:
    return peer_of(writer.get_extra_info("socket"))
