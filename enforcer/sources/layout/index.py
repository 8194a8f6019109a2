"""index.json of a layout: its lines, and what tells a layout from another folder."""

from dataclasses import dataclass

from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import MalformedError
from enforcer.core.image import parse_descriptor
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.files import FileError, FileMissingError
from enforcer.sources.layout.files import LayoutFiles

MAX_INDEX_BYTES = 32 * 1024 * 1024  # ten thousand signatures listed take 5 MiB
MAX_ENTRIES = 20_000  # manifests read from one layout

LAYOUT_VERSION = "1.0.0"
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"  # containerd's and Docker's: the full name


class LayoutError(FileError):
    """This is no OCI layout, or it lacks what was asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of index.json: what it names, its tag and its full name, if any."""

    descriptor: Descriptor
    tag: str
    name: str


def load_entries(files: LayoutFiles) -> tuple[Entry, ...]:
    """Read the lines of index.json.

    Raises:
        LayoutError: It is no layout, or lists too much.
        MalformedError: It is malformed.
    """
    what = f"index.json of {files.name}"
    try:
        marker = files.read("oci-layout", max_bytes=4096)
        raw = files.read("index.json", max_bytes=MAX_INDEX_BYTES)
    except FileMissingError as error:
        raise LayoutError(
            f"{files.name} is not an OCI layout: {error.what}",
            remedy="Name a folder or archive with oci-layout and index.json.",
        ) from error
    _require_version(marker, files.name)
    document = parse_json(raw, what=what, max_bytes=MAX_INDEX_BYTES)
    members = require_object(document, what=what, known=("manifests",))
    listed = members.get("manifests")
    if not isinstance(listed, list) or len(listed) > MAX_ENTRIES:
        raise LayoutError(
            f"{what} lists nothing or more than {MAX_ENTRIES}",
            remedy="Make the layout again.",
        )
    return tuple(_entry(value, what) for value in listed)


def _require_version(marker: bytes, name: str) -> None:
    what = f"oci-layout of {name}"
    document = parse_json(marker, what=what, max_bytes=4096)
    members = require_object(document, what=what, known=("imageLayoutVersion",))
    if members.get("imageLayoutVersion") != LAYOUT_VERSION:
        raise MalformedError(
            f"{what} does not say version {LAYOUT_VERSION}",
            remedy="Make the layout again with a current tool.",
        )


def _entry(value: Json, what: str) -> Entry:
    descriptor = parse_descriptor(value, what=f"entry of {what}")
    annotations = value.get("annotations") if isinstance(value, dict) else None
    texts = annotations if isinstance(annotations, dict) else {}
    tag, name = texts.get(REF_NAME), texts.get(IMAGE_NAME)
    return Entry(
        descriptor,
        tag if isinstance(tag, str) else "",
        name if isinstance(name, str) else "",
    )
