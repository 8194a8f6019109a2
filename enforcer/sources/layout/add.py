"""Put a signature into an OCI layout, so that it travels with the image."""

import contextlib
import json
from pathlib import Path

from enforcer.core.collected import SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import OCI_MANIFEST
from enforcer.core.strictjson import parse_json, require_object
from enforcer.files import FileError, locked, make_folder, read_file, write_file

MAX_INDEX_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 20_000  # as many as are read again
EMPTY = b"{}"  # the configuration of a signature manifest (signature-specification.md)


def add_to_layout(root: Path, signature: SignatureFile) -> None:
    """Write blobs, then index.json in one rename: untagged, as notation does.

    Raises:
        FileError: The layout cannot be written; index.json is then as before.
        MalformedError: index.json is malformed.
    """
    blobs = root / "blobs" / "sha256"
    make_folder(blobs, mode=0o755)
    with locked(root, wait=True):  # the folder: index.json itself is replaced
        for raw in (EMPTY, signature.envelope, signature.manifest):
            _write_blob(blobs / Digest.of(raw).hex, raw)
        index = root / "index.json"
        raw = read_file(index, max_bytes=MAX_INDEX_BYTES, follow=False)
        document = parse_json(raw, what=str(index), max_bytes=MAX_INDEX_BYTES)
        members = require_object(document, what=str(index), known=("manifests",))
        listed = members.get("manifests")
        if not isinstance(listed, list) or len(listed) >= MAX_ENTRIES:
            raise FileError(
                f"{index} lists nothing, or {MAX_ENTRIES} manifests already",
                remedy="Make the layout again.",
            )
        manifest = json.loads(signature.manifest)
        listed.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": str(Digest.of(signature.manifest)),
                "size": len(signature.manifest),
                "annotations": manifest["annotations"],
            }
        )
        text = json.dumps(members, separators=(",", ":"))
        write_file(index, text.encode(), mode=0o644)


def _write_blob(path: Path, raw: bytes) -> None:
    """Write a blob unless it is there already, whole."""
    with contextlib.suppress(EnforcerError):
        if read_file(path, max_bytes=len(raw), follow=False) == raw:
            return
    write_file(path, raw, mode=0o644)
