"""Write a layout as a folder, or as a tar that is the same for the same contents.

All of it or none: into a file or folder beside the place it goes to, and there by one
rename (see `placing`). Every blob is hashed as it goes by, wherever it comes from.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import sync_folder
from enforcer.sources.layout.contents import Blob, ExportError, LayoutContents
from enforcer.sources.layout.placing import (
    FILE_MODE,
    FOLDER_MODE,
    beside,
    put_folder,
    tidy,
)
from enforcer.sources.layout.tar import Tell
from enforcer.sources.layout.tar_header import BLOCK, END, file_header


def write_archive(
    path: Path,
    contents: LayoutContents,
    *,
    force: bool = False,
    tell: Tell | None = None,
) -> None:
    """Write a tar; what stands at `path` is replaced only with `force`.

    Raises:
        ExportError: It was not written; what was there before still is.
    """
    tidy(path)
    _require_room(path, force=force)
    with writing(path), beside(path) as (temporary, handle):
        with os.fdopen(handle, "wb", closefd=False) as file:
            stream_archive(file, contents, tell=tell)
        os.fsync(handle)
        temporary.rename(path)
        sync_folder(path.parent)


def stream_archive(
    out: IO[bytes], contents: LayoutContents, *, tell: Tell | None = None
) -> None:
    """Write a tar to somewhere; one that breaks off has no end, and nobody takes it.

    Raises:
        ExportError: A blob lacks, or is not what was said.
        OSError: It cannot be written.
    """
    for name, blob in contents.files().items():
        out.write(file_header(name, blob.size))
        for piece in _checked(name, blob, tell):
            out.write(piece)
        out.write(bytes(-blob.size % BLOCK))
    out.write(END)
    out.flush()


def write_folder(
    path: Path,
    contents: LayoutContents,
    *,
    force: bool = False,
    tell: Tell | None = None,
) -> None:
    """Write a folder; a layout that stands at `path` is replaced only with `force`.

    Raises:
        ExportError: It was not written; what was there before still is.
    """
    tidy(path)
    _require_room(path, force=force, folder=True)
    with writing(path), beside(path, folder=True) as (temporary, _):
        for name, blob in contents.files().items():
            _write(temporary / name, name, blob, tell)
        _sync_folders(temporary)
        put_folder(temporary, path, replace=force)


def write_blob(path: Path, name: str, blob: Blob, tell: Tell | None = None) -> None:
    """Write one blob to a new file, checked; raise ExportError or OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
        for piece in _checked(name, blob, tell):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, name: str, blob: Blob, tell: Tell | None) -> None:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    write_blob(path, name, blob, tell)


def _checked(name: str, blob: Blob, tell: Tell | None) -> Iterator[bytes]:
    """Yield a blob's bytes; ExportError in place of what would be too much or other."""
    hashed, left = hashlib.new(blob.digest.algorithm), blob.size
    try:
        for piece in blob.open():
            left -= len(piece)
            if left < 0:
                break
            hashed.update(piece)
            yield piece
            if tell:
                tell(len(piece))
    except EnforcerError as error:
        raise ExportError(
            f"{name} is not to be had: {error.what}",
            remedy=error.remedy,
            code=Code.EXPORT_INCOMPLETE,
        ) from error
    if left or hashed.hexdigest() != blob.digest.hex:
        raise ExportError(
            f"{name} is not what its digest and size say where it comes from",
            remedy="Pull, load or import it again; suspect the disk.",
            code=Code.EXPORT_INCOMPLETE,
        )


def _require_room(path: Path, *, force: bool, folder: bool = False) -> None:
    """Refuse a place where something is that would be lost, or is no layout."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _cannot(path, error) from error
    is_folder = stat.S_ISDIR(status.st_mode)
    if folder and is_folder and not any(path.iterdir()):
        return
    fits = is_folder and (path / "oci-layout").is_file()
    if not (fits if folder else stat.S_ISREG(status.st_mode)):
        what, remedy = "something else than a layout", "Name another place."
    elif not force:
        what, remedy = "something already", "Name another place, or use --force."
    else:
        return
    raise ExportError(f"{path} is {what}", remedy=remedy, code=Code.EXPORT_EXISTS)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate what keeps a layout from being written."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError | ValueError) -> ExportError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ExportError(
        f"{path} cannot be written: {why}",
        remedy="Make room, or name another place.",
    )


def _sync_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        sync_folder(Path(folder))
