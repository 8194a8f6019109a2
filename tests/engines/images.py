"""Tiny images out of busybox: no network, no engine, the same bytes every time."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUSYBOX = Path("/usr/bin/busybox")  # Debian's busybox-static
APPLETS = ("cat", "echo", "env", "id", "ls", "mount", "sh", "sleep", "test", "true")
MESSAGE_PATH = "message"

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Every digest of an image in a layout; `top` is what its tag names."""

    top: str
    manifest: str
    config: str
    diff_ids: tuple[str, ...]

    @property
    def chain_id(self) -> str:
        """The root file system's chain id (image-spec, "Layer ChainID")."""
        chain = self.diff_ids[0]
        for diff_id in self.diff_ids[1:]:
            chain = _digest(f"{chain} {diff_id}".encode())
        return chain


def write_layout(
    directory: Path,
    *,
    text: str,
    tag: str,
    index: bool = False,
    cmd: Sequence[str] | None = None,
    split: bool = False,
) -> str:
    """Write an OCI layout of one image which prints `text`; return its top digest.

    `tag` is a reference such as `hello-world:1`; the layout records the full
    name for containerd and Docker, and the bare tag for OCI tools. With `index`
    the tag names an image index that lists the one linux/amd64 manifest. With
    `split` the message has a layer of its own, so the chain id is a real chain.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    archives = _layer_archives(text, split=split)
    layers = [_store(blobs, _LAYER, gzip.compress(raw, 6, mtime=0)) for raw in archives]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": list(cmd or default_cmd(text)), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(raw) for raw in archives]},
        "history": [{"created_by": "tests/engines"} for _ in archives],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _store(blobs, _CONFIG, _json(config)),
        "layers": layers,
    }
    top = _store(blobs, _MANIFEST, _json(manifest))
    if index:
        entry = top | {"platform": {"architecture": "amd64", "os": "linux"}}
        listing = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
        top = _store(blobs, _INDEX, _json(listing))
    name, version = full_name(tag), tag.rpartition(":")[2]
    names = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": version,
    }
    tagged = {"schemaVersion": 2, "manifests": [top | {"annotations": names}]}
    (directory / "index.json").write_bytes(_json(tagged))
    (directory / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return str(top["digest"])


def default_cmd(text: str) -> tuple[str, ...]:
    """What an image of ours runs when nobody says otherwise."""
    return ("/bin/echo", text)


def full_name(tag: str) -> str:
    """Spell out what Docker means by a short name: `docker.io/library/NAME:TAG`."""
    host, slash, _ = tag.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return tag
    return f"docker.io/{tag}" if slash else f"docker.io/library/{tag}"


def describe(directory: Path) -> ImageFacts:
    """Read back the digests of the one image in a layout."""
    top = _tagged(directory)
    descriptor = top
    if descriptor["mediaType"] == _INDEX:
        descriptor = read_blob(directory, descriptor["digest"])["manifests"][0]
    config = read_blob(directory, descriptor["digest"])["config"]["digest"]
    diff_ids = read_blob(directory, config)["rootfs"]["diff_ids"]
    return ImageFacts(top["digest"], descriptor["digest"], config, tuple(diff_ids))


def _tagged(directory: Path) -> dict[str, Any]:
    """The entry of our image; signing adds entries of its own to index.json."""
    listed = json.loads((directory / "index.json").read_text())["manifests"]
    named = [
        entry
        for entry in listed
        if "io.containerd.image.name" in entry.get("annotations", {})
    ]
    (entry,) = named
    return dict(entry)


def read_blob(directory: Path, digest: str) -> Any:
    """Parse a JSON blob of a layout, whatever its shape."""
    return json.loads((directory / blob_path(digest)).read_bytes())


def blob_path(digest: str) -> str:
    """Where a layout keeps a blob, relative to the layout."""
    return "blobs/" + digest.replace(":", "/")


def layout_to_tar(directory: Path, file: Path) -> Path:
    """Pack a layout so that `ctr images import` and every `docker load` take it.

    It is a plain OCI archive with one addition: `manifest.json`, the only thing
    Docker's graph drivers (20.10, and 28 with overlay2) look at.
    """
    facts = describe(directory)
    name = _tagged(directory)["annotations"]["io.containerd.image.name"]
    layers = read_blob(directory, facts.manifest)["layers"]
    for_docker = {
        "Config": blob_path(facts.config),
        "RepoTags": [name.removeprefix("docker.io/").removeprefix("library/")],
        "Layers": [blob_path(layer["digest"]) for layer in layers],
    }
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    members = {str(path.relative_to(directory)): path.read_bytes() for path in found}
    members["manifest.json"] = _json([for_docker])
    file.write_bytes(_tar([(name, data, 0o644) for name, data in members.items()]))
    return file


def dockerfile_context(
    directory: Path, text: str, *, extra: Sequence[str] = ()
) -> Path:
    """Write a build context whose image prints `text`, for any builder.

    It needs no network and, unless `extra` lines say so, starts no container:
    there is no RUN. `extra` goes between ADD and CMD.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (archive,) = _layer_archives(text, split=False)
    (directory / "rootfs.tar").write_bytes(archive)
    steps = ["FROM scratch", "ADD rootfs.tar /", "ENV PATH=/bin", *extra]
    cmd = f"CMD {json.dumps(default_cmd(text))}"
    (directory / "Dockerfile").write_text("\n".join([*steps, cmd]) + "\n")
    return directory


def _layer_archives(text: str, *, split: bool) -> tuple[bytes, ...]:
    system: list[_Member] = [
        ("bin", None, 0o755),
        ("bin/busybox", _busybox(), 0o755),
        *((f"bin/{applet}", "busybox", 0o777) for applet in APPLETS),
        ("etc", None, 0o755),
        ("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n", 0o644),
        ("tmp", None, 0o1777),
    ]
    message: list[_Member] = [(MESSAGE_PATH, f"{text}\n".encode(), 0o644)]
    return (_tar(system), _tar(message)) if split else (_tar([*system, *message]),)


def _busybox() -> bytes:
    """The program; nothing where it is missing, for images that are never run."""
    return BUSYBOX.read_bytes() if BUSYBOX.exists() else b""


# Name, content (None: a folder; str: the target of a symlink), permissions.
_Member = tuple[str, bytes | str | None, int]


def _tar(members: Sequence[_Member]) -> bytes:
    """An archive without clock, user or host in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, permissions in members:
            entry = tarfile.TarInfo(name)
            entry.mode = permissions
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            data = io.BytesIO(content) if isinstance(content, bytes) else None
            archive.addfile(entry, data)
    return buffer.getvalue()


def _store(blobs: Path, media_type: str, data: bytes) -> dict[str, Any]:
    digest = _digest(data)
    (blobs / digest.partition(":")[2]).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
