"""One image that nobody can have signed: made in memory, and never the same twice."""

import io
import json
import re
import secrets
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.host.prove.program import program

LABEL = "enforcer.prove"  # on all that we make, with the mark
PROGRAM = "/prove"
MARK_FILE = "etc/enforcer-prove"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

MAX_MARK = 64  # bytes
_MARK = re.compile(r"enforcer-prove-[0-9a-f]{16}")
_FOLDERS = ("dev", "etc", "proc", "sys")  # engines mount over these


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with their media type, as a store keeps them."""

    media_type: str
    raw: bytes

    @property
    def digest(self) -> str:
        """What a store knows them by."""
        return str(Digest.of(self.raw))

    @property
    def descriptor(self) -> dict[str, Json]:
        """How a manifest names them (image-spec, "Descriptors")."""
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.raw),
        }


@dataclass(frozen=True, slots=True)
class Specimen:
    """An image of one layer with one program. Its mark is in every part of it."""

    mark: str
    layer: Blob
    config: Blob
    manifest: Blob

    @property
    def name(self) -> str:
        """Its name as Docker has it, under which it counts as a local image."""
        return f"{self.mark}:1"

    @property
    def full_name(self) -> str:
        """The same name as containerd has it."""
        return f"docker.io/library/{self.name}"

    @property
    def blobs(self) -> tuple[Blob, Blob, Blob]:
        """All of it; what is named comes before what names it."""
        return self.layer, self.config, self.manifest

    @property
    def digests(self) -> frozenset[str]:
        """Every digest a decision about this image may name."""
        return frozenset(blob.digest for blob in self.blobs)

    @property
    def chain_id(self) -> str:
        """Its root file system's (image-spec, "Layer ChainID"): one layer's own."""
        return self.layer.digest

    def archive(self) -> bytes:
        """Write it as every `docker load` takes it: OCI's layout, and manifest.json."""
        names = {
            "io.containerd.image.name": self.full_name,
            "org.opencontainers.image.ref.name": "1",
        }
        listed = {**self.manifest.descriptor, "annotations": names}
        for_docker = {
            "Config": _place(self.config),
            "RepoTags": [self.name],
            "Layers": [_place(self.layer)],
        }
        return _tar(
            {
                **{_place(blob): blob.raw for blob in self.blobs},
                "index.json": _json({"schemaVersion": 2, "manifests": [listed]}),
                "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
                "manifest.json": _json([for_docker]),
            }
        )


def make_specimen(architecture: str) -> Specimen:
    """Make an image for a machine, by Go's name for it, that was never made before."""
    mark = f"enforcer-prove-{secrets.token_hex(8)}"
    files = {PROGRAM[1:]: program(architecture), MARK_FILE: mark.encode()}
    layer = Blob(LAYER, _tar(files, folders=_FOLDERS))
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [PROGRAM], "Labels": {LABEL: mark}},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created_by": "enforcer prove"}],
    }
    configured = Blob(CONFIG, _json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": configured.descriptor,
        "layers": [layer.descriptor],
    }
    return Specimen(mark, layer, configured, Blob(MANIFEST, _json(manifest)))


def is_mark(text: str) -> bool:
    """Whether this is the whole of a mark of ours."""
    return bool(_MARK.fullmatch(text))


def mark_in(image_name: str) -> str:
    """Return the mark that an image is named by, or ""."""
    mark = image_name.rpartition("/")[2].removesuffix(":1")
    return mark if is_mark(mark) else ""


def mark_inside(raw: bytes) -> str:
    """Return the mark that a layer or a configuration of ours holds, or ""."""
    try:
        if raw.startswith(b"{"):
            mark = _label(raw)
        else:
            with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
                file = archive.extractfile(MARK_FILE)
                mark = file.read(MAX_MARK).decode() if file else ""
    except (EnforcerError, tarfile.TarError, LookupError, ValueError, OSError):
        return ""
    return mark if is_mark(mark) else ""


def layers_of_marked(mark: str, manifest: bytes, config: bytes) -> tuple[str, ...]:
    """Return the layers of an image that bears this mark itself; () where it does not.

    A name is anybody's to give. What is in the image is not.
    """
    try:
        named = parse_json(manifest, what="a manifest", max_bytes=MAX_MANIFEST_BYTES)
        members = require_object(named, what="a manifest", known=("layers",))
        if _label(config) != mark:
            return ()
    except EnforcerError:
        return ()
    listed = members.get("layers")
    layers = listed if isinstance(listed, list) else []
    return tuple(str(one["digest"]) for one in layers if isinstance(one, dict))


def _label(config: bytes) -> str:
    """Return the mark that an image's configuration bears, or ""."""
    made = parse_json(config, what="a config", max_bytes=MAX_CONFIG_BYTES)
    inner = require_object(made, what="a config", known=("config",))
    ran = require_object(inner.get("config"), what="config", known=("Labels",))
    labels = ran.get("Labels")
    return str(labels.get(LABEL, "")) if isinstance(labels, dict) else ""


def _place(blob: Blob) -> str:
    return "blobs/" + blob.digest.replace(":", "/")


def _tar(files: Mapping[str, bytes], *, folders: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
