"""A layout in a plain tar: read once, whole, before anything in it is believed.

What a signature cache may want is small. It is copied out as it goes by, so the archive
may come through a pipe, and nobody who changes the file meanwhile is read again. Layers
are only passed over, or hashed; out of a file they can be had once more, for an export.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, TooLargeError, clip
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES
from enforcer.files import FileError, FileMissingError, open_regular
from enforcer.sources.layout.files import parts, require_size
from enforcer.sources.layout.tar import Member, Source, Tar, Tell
from enforcer.sources.layout.tar_header import ArchiveError

MAX_KEPT_BYTES = MAX_ENVELOPE_BYTES  # of one file; also what an index.json may have
MAX_SPOOLED_BYTES = 1024 * 1024 * 1024  # of all: what a signature cache may have
SPOOL_FOLDER = Path("/var/tmp")  # noqa: S108 - what is made there has no name
STDIN = "-"

_BLOB = re.compile(r"blobs/(sha256|sha384|sha512)/([0-9a-f]+)")
_SAVED = re.compile(r"([0-9a-f]{64})\.json")  # Docker before 25: a configuration
_LAYER_FILE = re.compile(r"[0-9a-f]{64}(?:/layer)?\.tar")  # the same
_WANTED = ("oci-layout", "index.json", "manifest.json")
_LAYER = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")  # how these begin
_MAGIC = slice(257, 262)  # of a layer that is not compressed


@dataclass(frozen=True, slots=True)
class _Place:
    """Where bytes can be read again: an open file, from where, and how many."""

    handle: int
    start: int
    size: int


class ArchiveFiles:
    """A layout in an uncompressed tar, or what `docker save` wrote before there were.

    Attributes:
        layers: Digest -> size of every layer of such an old one.
    """

    def __init__(self, source: Source, name: str, *, whole: bool = False) -> None:
        """Read the archive to its end; with `whole`, hash layers, too.

        Raises:
            ArchiveError: It is hostile, damaged or no tar.
            FileError: It cannot be read, or what is wanted of it not be kept.
        """
        self.name = name
        self.layers: dict[Digest, int] = {}
        self._source = source
        self._whole = whole
        self._places: dict[str, _Place] = {}
        self._spool = _Spool()
        try:
            tar = Tar(source)
            for member in tar:
                self._take(member, tar)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back what was copied out."""
        self._spool.close()

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._places

    def names(self) -> tuple[str, ...]:
        """Return the names of the files that can be read, in no order."""
        return tuple(self._places)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return one file's bytes, refusing more than `max_bytes`."""
        place = self._place(name)
        if place.size > max_bytes:
            raise TooLargeError(
                f"{name} in {self.name} has more than {max_bytes} bytes",
                remedy="Nothing that large is read.",
            )
        return b"".join(self.chunks(name, size=place.size))

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        """Yield one file in pieces; a layer that came through a pipe is gone."""
        place, shown = self._place(name), f"{name} in {self.name}"
        require_size(shown, place.size, size)
        yield from parts(place.handle, place.start, size, shown)

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            raise FileMissingError(
                f"{self.name} has no {name}", remedy="Make the archive again."
            )
        return place

    def _take(self, member: Member, tar: Tar) -> None:
        digest = _named_digest(member.name)
        if digest is not None or member.name in _WANTED:
            self._take_named(member, digest, tar)
        elif self._whole and _LAYER_FILE.fullmatch(member.name):
            hashed = _hash("sha256", tar.data(member))
            self.layers[Digest("sha256", hashed)] = member.size

    def _take_named(self, member: Member, digest: Digest | None, tar: Tar) -> None:
        """Copy out what is small and no layer; hash what is a blob."""
        start, pieces = self._source.position, tar.data(member)
        first = next(pieces, b"")
        pieces = chain((first,), pieces)
        if member.size <= MAX_KEPT_BYTES and not _is_layer(first):
            self._places[member.name] = self._spool.begin(member.size)
            pieces = self._spool.written(pieces)
        else:
            if self._source.is_file:
                place = _Place(self._source.handle, start, member.size)
                self._places[member.name] = place
            if not self._whole:
                return
        hashed = _hash(digest.algorithm if digest else "sha256", pieces)
        if digest and hashed != digest.hex:
            raise ArchiveError(
                f"has other content in {clip(member.name)} than its name says",
                Code.ARCHIVE_DIGEST,
            )


class _Spool:
    """What was copied out, one after the other in a file that has no name."""

    def __init__(self) -> None:
        self._handle = -1
        self._end = 0

    def begin(self, size: int) -> _Place:
        """Return where the next `size` bytes written will be."""
        if self._end + size > MAX_SPOOLED_BYTES:
            raise ArchiveError(
                f"has more than {MAX_SPOOLED_BYTES} bytes besides layers",
                Code.ARCHIVE_TOO_LARGE,
            )
        if self._handle < 0:
            folder = os.environ.get("TMPDIR", str(SPOOL_FOLDER))
            with _spooling(), tempfile.TemporaryFile(dir=folder) as file:
                self._handle = os.dup(file.fileno())
        return _Place(self._handle, self._end, size)

    def written(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Append each piece, and pass it on."""
        for piece in pieces:
            left = memoryview(piece)
            while left:
                with _spooling():
                    written = os.write(self._handle, left)
                self._end += written
                left = left[written:]
            yield piece

    def close(self) -> None:
        """Forget it all."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


@contextlib.contextmanager
def open_archive(
    path: Path, *, whole: bool = False, tell: Tell | None = None
) -> Iterator[ArchiveFiles]:
    """Read an archive and lend it; `-` is standard input.

    Raises:
        FileError: It is neither a regular file nor standard input, or unreadable.
        ArchiveError: It is no plain tar, hostile, cut short, or ambiguous.
    """
    with contextlib.ExitStack() as stack:
        is_stdin = str(path) == STDIN
        handle = 0 if is_stdin else stack.enter_context(open_regular(path))
        name = "standard input" if is_stdin else str(path)
        try:
            files = ArchiveFiles(Source(handle, tell=tell), name, whole=whole)
        except ArchiveError as error:
            raise error.about(name) from error
        stack.callback(files.close)
        yield files


def _named_digest(name: str) -> Digest | None:
    blob, saved = _BLOB.fullmatch(name), _SAVED.fullmatch(name)
    text = f"{blob[1]}:{blob[2]}" if blob else f"sha256:{saved[1]}" if saved else ""
    with contextlib.suppress(EnforcerError):
        return Digest.parse(text)
    return None


def _hash(algorithm: str, pieces: Iterable[bytes]) -> str:
    hashed = hashlib.new(algorithm)
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest()


def _is_layer(first: bytes) -> bool:
    return first.startswith(_LAYER) or first[_MAGIC] == b"ustar"


@contextlib.contextmanager
def _spooling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            f"what the archive holds cannot be kept for now: {error.strerror}",
            remedy="Make room, or set TMPDIR to a folder with more.",
        ) from error
