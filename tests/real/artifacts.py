"""Artifacts that are no image, as real tools make, push and sign them."""

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.image import OCI_CONFIG
from tests.engines.enforced import EnforcedHost
from tests.engines.notation import Signer
from tests.engines.oras import (
    FIRMWARE,
    HELM_CHART,
    HELM_CONFIG,
    HELM_PROVENANCE,
    LAYOUT,
    SIF_LAYER,
    Oras,
)

REPOSITORY = "registry.acme-rockets.com/artifacts"
CHART_METADATA = {"apiVersion": "v2", "name": "net-monitor", "version": "1.2.3"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact in a layout: what it is made of, and how enforcer calls it."""

    kind: str
    layout: Path
    tag: str
    digest: str
    payload: bytes

    @property
    def target(self) -> str:
        return f"oci-layout:{self.layout}:{self.tag}"

    @property
    def scope(self) -> str:
        return f"{REPOSITORY}/{self.tag}"


class Maker:
    """Puts artifacts into one layout, and has them signed."""

    def __init__(self, host: EnforcedHost, home: Path) -> None:
        self._host = host
        self.oras = Oras(home / "oras")
        self.layout = home / "layout"

    def chart(self, tag: str = "chart", *, provenance: bool = True) -> Artifact:
        """Make what `helm push` makes (Helm's documentation, "OCI Support")."""
        metadata = json.dumps(CHART_METADATA).encode()
        raw = _chart(metadata)
        name = f"{CHART_METADATA['name']}-{CHART_METADATA['version']}.tgz"
        files = {name: (raw, HELM_CHART)}
        if provenance:
            files[f"{name}.prov"] = (_PROVENANCE, HELM_PROVENANCE)
        config = (metadata, HELM_CONFIG)
        digest = self.oras.push(f"{self.layout}:{tag}", files, LAYOUT, config=config)
        return Artifact("Helm chart", self.layout, tag, digest, raw)

    def sif(self, tag: str = "sif") -> Artifact:
        """Make what `singularity push oras://` makes, around a file of SIF's shape."""
        raw = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + bytes(4096)
        files = {"image.sif": (raw, SIF_LAYER)}
        digest = self.oras.push(f"{self.layout}:{tag}", files, LAYOUT)
        return Artifact("Singularity image", self.layout, tag, digest, raw)

    def firmware(self, raw: bytes = b"\x7fFW" * 3000, tag: str = "ecu") -> Artifact:
        """Make an artifact of a type nobody has heard of."""
        files = {"ecu.bin": (raw, "application/octet-stream")}
        words = (LAYOUT, "--artifact-type", FIRMWARE)
        digest = self.oras.push(f"{self.layout}:{tag}", files, *words)
        return Artifact("", self.layout, tag, digest, raw)

    def bundle(self, tag: str = "bundle") -> Artifact:
        """Make an Operator bundle: an image that only carries files, with labels."""
        raw = gzip.compress(b"manifests/", mtime=0)
        labels = {"operators.operatorframework.io.bundle.mediatype.v1": "registry+v1"}
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
        }
        layer = (raw, "application/vnd.oci.image.layer.v1.tar+gzip")
        digest = self.oras.push(
            f"{self.layout}:{tag}",
            {"bundle.tar.gz": layer},
            LAYOUT,
            config=(json.dumps(config).encode(), OCI_CONFIG),
        )
        return Artifact("image", self.layout, tag, digest, raw)

    def sign(self, artifact: Artifact, signer: Signer | None = None) -> None:
        """Have notation sign an artifact."""
        key = (signer or self._host.acme).name
        self._host.notation.sign_layout(artifact.layout, artifact.digest, key=key)


def blob_of(artifact: Artifact, raw: bytes) -> Path:
    """Return where the layout keeps these bytes."""
    for path in (artifact.layout / "blobs" / "sha256").iterdir():
        if path.read_bytes() == raw:
            return path
    raise AssertionError("the layout has no such blob")


def _chart(metadata: bytes) -> bytes:
    """A packed chart: Chart.yaml (JSON is YAML) below a folder of its name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(f"{CHART_METADATA['name']}/Chart.yaml")
        entry.size = len(metadata)
        archive.addfile(entry, io.BytesIO(metadata))
    return gzip.compress(buffer.getvalue(), mtime=0)


_PROVENANCE = b"-----BEGIN PGP SIGNED MESSAGE-----\nname: net-monitor\n"
