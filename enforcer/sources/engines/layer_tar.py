"""A layer's tar, built again from what Docker keeps of it (vbatts/tar-split).

Docker's own store unpacks layers. Beside each it keeps every byte of the tar that is
no file's content, and in which order they come, so that the very same tar can be made
again. Nobody is asked, and nothing is believed: whoever writes it down hashes it, and
its digest is the layer's diff id.
"""

import base64
import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.ports import EngineError

MAX_ENTRIES = 10_000_000  # files in one layer
MAX_LINE_BYTES = 16 * 1024 * 1024  # a segment is some headers, or the zeros at the end
CHUNK_BYTES = 1024 * 1024

_FILE, _SEGMENT = 1, 2
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class _Entry:
    """Bytes of the tar as they are; or how many come from which file."""

    segment: bytes
    size: int
    name: bytes


def tar_size(kept: Path) -> int:
    """Return how many bytes a layer's tar has, by its `tar-split.json.gz`.

    Raises:
        EngineError: It is missing or malformed.
    """
    with _reading(kept):
        return sum(len(entry.segment) + entry.size for entry in _entries(kept))


def layer_tar(kept: Path, files: Path) -> Iterator[bytes]:
    """Yield a layer's tar; `files` is the folder it is unpacked in.

    Raises:
        EngineError: Something is missing, is not what it was, or cannot be read.
    """
    with _reading(kept):
        for entry in _entries(kept):
            if entry.segment:
                yield entry.segment
            elif entry.size:
                yield from _content(files, entry)


def _entries(kept: Path) -> Iterator[_Entry]:
    with gzip.open(kept, "rb") as lines:
        for _ in range(MAX_ENTRIES):
            line = lines.readline(MAX_LINE_BYTES)
            if not line:
                return
            yield _entry(json.loads(line))
    raise ValueError("it has too many entries")


def _entry(said: dict[str, object]) -> _Entry:
    if said["type"] == _SEGMENT:
        return _Entry(base64.b64decode(str(said["payload"]), validate=True), 0, b"")
    if said["type"] != _FILE:
        raise ValueError("it has an entry of a kind nobody knows")
    size = int(str(said.get("size", 0)))
    if size < 0:
        raise ValueError("it has a file of less than nothing")
    raw = said.get("name_raw")  # of a name that is no UTF-8
    name = base64.b64decode(str(raw)) if raw else str(said.get("name", "")).encode()
    return _Entry(b"", size, name)


def _content(files: Path, entry: _Entry) -> Iterator[bytes]:
    """Yield a file's bytes; no link on the way to it is followed."""
    handle, left = _open(files, entry.name), entry.size
    with os.fdopen(handle, "rb", buffering=0) as file:
        while left:
            part = file.read(min(left, CHUNK_BYTES))
            if not part:
                raise ValueError(f"{clip(entry.name.decode(errors='replace'))} is cut")
            left -= len(part)
            yield part


def _open(files: Path, name: bytes) -> int:
    *folders, last = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in (*folders, last):
        raise ValueError("it has a name that leads out of the layer")
    here = os.open(files, _FOLDER_FLAGS)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER_FLAGS, dir_fd=here)
            os.close(here)
            here = below
        return os.open(last, _FILE_FLAGS, dir_fd=here)
    finally:
        with suppress(OSError):
            os.close(here)


@contextmanager
def _reading(kept: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{kept} cannot be read: {clip(str(error))}",
            remedy="Load or build the image again.",
            code=Code.CONTENT_MISSING,
        ) from error
