"""Add to an OCI layout that is there: blobs first, then index.json in one rename."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import OCI_MANIFEST
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.files import (
    FileError,
    locked,
    make_folder,
    open_regular,
    read_file,
    sync_folder,
    write_file,
)
from enforcer.sources.layout.contents import (
    Blob,
    LayoutContents,
    described,
    named_entries,
)
from enforcer.sources.layout.files import FolderFiles, parts
from enforcer.sources.layout.index import (
    IMAGE_NAME,
    MAX_ENTRIES,
    MAX_INDEX_BYTES,
    REF_NAME,
)
from enforcer.sources.layout.placing import FOLDER_MODE, MAX_BESIDE
from enforcer.sources.layout.reader import Layout
from enforcer.sources.layout.tar import Tell
from enforcer.sources.layout.writer import write_blob, writing

EMPTY = b"{}"  # the configuration of a signature manifest (signature-specification.md)

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}")  # of ours here and in `files`


def add_to_layout(root: Path, signature: SignatureFile) -> None:
    """Write a signature: untagged, as notation does.

    Raises:
        FileError: The layout cannot be written; index.json is then as before.
        MalformedError: index.json is malformed.
    """
    raws = (EMPTY, signature.envelope, signature.manifest)
    line = described(Descriptor.of(OCI_MANIFEST, signature.manifest))
    line["annotations"] = json.loads(signature.manifest)["annotations"]
    _add(root, {Digest.of(raw): Blob.of(raw) for raw in raws}.values(), [line], None)


def add_to_folder(
    root: Path, contents: LayoutContents, *, tell: Tell | None = None
) -> None:
    """Write what a layout is to hold besides what it holds; a tag moves.

    What is beside the named is listed in index.json itself, as other tools do.

    Raises:
        ExportError: A blob lacks or is another, or it cannot be written; index.json
            is then as before.
        FileError, MalformedError: It is no layout.
    """
    with writing(root):
        Layout(FolderFiles(root))
        lines = [*named_entries(contents.named), *map(described, contents.beside)]
        _add(root, contents.blobs.values(), lines, tell)


def _add(
    root: Path,
    blobs: Iterable[Blob],
    lines: list[dict[str, object]],
    tell: Tell | None,
) -> None:
    with locked(root, wait=True):  # the folder: index.json itself is replaced
        _tidy(root)
        for blob in blobs:
            _write_blob(root, blob, tell)
        _list(root / "index.json", lines)


def _tidy(root: Path) -> None:
    """Remove what was being written when another was killed; nobody else writes now."""
    for folder in (root, *(root / "blobs").glob("sha*")):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in itertools.islice(entries, MAX_BESIDE):
                if _TEMPORARY.fullmatch(entry.name):
                    (folder / entry.name).unlink(missing_ok=True)


def _list(index: Path, lines: list[dict[str, object]]) -> None:
    raw = read_file(index, max_bytes=MAX_INDEX_BYTES, follow=False)
    document = parse_json(raw, what=str(index), max_bytes=MAX_INDEX_BYTES)
    members = require_object(document, what=str(index), known=("manifests",))
    listed = members.get("manifests")
    if not isinstance(listed, list) or len(listed) + len(lines) > MAX_ENTRIES:
        raise FileError(
            f"{index} lists nothing, or {MAX_ENTRIES} manifests already",
            remedy="Make the layout again.",
        )
    kept = [left for old in listed if (left := _left(old, lines)) is not None]
    changed = {**members, "manifests": [*kept, *lines]}
    text = json.dumps(changed, separators=(",", ":"))
    write_file(index, text.encode(), mode=0o644)


def _left(old: Json, lines: list[dict[str, object]]) -> Json:
    """Return a line as it stays beside new ones; None where it goes.

    It goes where its name is given anew, or it is listed again. A bare tag moves, as
    with oras: an image that has a full name as well goes by that from then on, for of
    two lines with one tag skopeo takes the first and oras the last.
    """
    for new in lines:
        (name, tag), (old_name, old_tag) = _names(new), _names(old)
        if name or tag:
            goes = name == old_name if old_name else bool(tag) and tag == old_tag
        else:
            goes = (old_name, old_tag) == ("", "") and _digest(old) == new["digest"]
        if goes:
            return None
        if tag and tag == old_tag:
            old = _under_full_name(old)
    return old


def _under_full_name(line: Json) -> Json:
    said = line.get("annotations") if isinstance(line, dict) else None
    if not isinstance(line, dict) or not isinstance(said, dict):
        return line
    return {**line, "annotations": {**said, REF_NAME: said[IMAGE_NAME]}}


def _names(line: object) -> tuple[str, str]:
    """Return full name and tag of a line of index.json; "" where it has none."""
    said = line.get("annotations") if isinstance(line, dict) else None
    members = said if isinstance(said, dict) else {}
    texts = (members.get(IMAGE_NAME), members.get(REF_NAME))
    name, tag = (text if isinstance(text, str) else "" for text in texts)
    return name, tag


def _digest(line: Json) -> Json:
    return line.get("digest") if isinstance(line, dict) else None


def _write_blob(root: Path, blob: Blob, tell: Tell | None) -> None:
    """Write a blob unless it is there already, whole."""
    folder = root / "blobs" / blob.digest.algorithm
    make_folder(folder, mode=FOLDER_MODE)
    path = folder / blob.digest.hex
    if _is_whole(path, blob):
        return
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        write_blob(temporary, path.name, blob, tell)
        temporary.rename(path)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _is_whole(path: Path, blob: Blob) -> bool:
    hashed = hashlib.new(blob.digest.algorithm)
    try:
        with open_regular(path, follow=False) as handle:
            for part in parts(handle, 0, blob.size, str(path)):
                hashed.update(part)
            size = os.fstat(handle).st_size
    except EnforcerError:
        return False
    return size == blob.size and hashed.hexdigest() == blob.digest.hex
